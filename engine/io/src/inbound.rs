//! What connections in have in common, whatever link reads them.

use std::io;

use phix_engine::intake::{Assembler, Intake};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::{FrameError, FrameVersion};
use phix_engine::wire::geometry::PacketSize;

use crate::patience::{Patience, Progress};
use crate::sources::Pass;

/// Bytes of the shortest frame.
const FRAME_MIN: usize = FrameVersion::Legacy.header_len() + PacketSize::Ack.packet_len();

/// How long accepting rests after a failure that trying again at once would only repeat.
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Failures of accept that are one connection's own, which is gone with them, and those that are
/// none (accept(2), "Error handling"). That the network is down is not among them: it lasts.
const PASSING: [i32; 11] = [
    libc::ECONNABORTED,
    libc::ECONNRESET,
    libc::EPROTO,
    libc::ENOPROTOOPT,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
    libc::ENONET,
    libc::ETIMEDOUT,
    libc::EINTR,
    libc::EAGAIN,
];

/// Why a connection in ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side closed or reset it.
    Theirs,
    /// It took too long over a packet, or over bringing one.
    Overdue,
    /// Its bytes are not frames.
    Malformed,
    /// This node stops.
    Stopping,
}

/// What one connection in has brought of its present packet, and how it gets on.
#[derive(Debug)]
pub(crate) struct Stream {
    assembler: Assembler,
    progress: Progress,
    /// Counts the connection for its source for as long as the stream lives.
    _pass: Pass,
}

impl Stream {
    pub(crate) const fn progress(&self) -> Progress {
        self.progress
    }
}

/// The streams of all connections in, as a whole.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    held: usize,
    pub(crate) patience: Patience,
}

impl Streams {
    /// Slots that half-received packets hold.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// The stream of a new connection.
    pub(crate) fn open(&mut self, pass: Pass, now: Time) -> Stream {
        let (assembler, progress) = (Assembler::default(), Progress::new(now));
        let stream = Stream { assembler, progress, _pass: pass };
        self.patience.watch(&stream.progress);
        stream
    }

    /// Feeds a stream; says how many bytes it took.
    pub(crate) fn push(
        &mut self,
        stream: &mut Stream,
        bytes: &[u8],
        intake: &mut Intake<'_>,
        now: Time,
    ) -> Result<usize, FrameError> {
        let Stream { assembler, progress, .. } = stream;
        let received = intake.counters.received;
        self.held -= assembler.held();
        let used = assembler.push(bytes, intake);
        self.held += assembler.held();
        progress.note(intake.counters.received > received, assembler.held() > 0, now);
        self.patience.watch(progress);
        used
    }

    /// Ends a stream and counts how it ended.
    pub(crate) fn finish(&mut self, stream: &mut Stream, end: End, intake: &mut Intake<'_>) {
        self.held -= stream.assembler.held();
        let inside = stream.assembler.finish(intake.pool);
        match end {
            End::Malformed => intake.counters.malformed += 1,
            End::Theirs | End::Overdue if inside => intake.counters.truncated += 1,
            End::Theirs | End::Overdue | End::Stopping => {}
        }
    }
}

/// How many bytes can be read of one connection so that the inbox, which has room for `room`
/// packets, holds whatever is in them. The first packet may end with the first byte.
pub(crate) const fn readable(room: usize) -> usize {
    room.saturating_sub(1) * FRAME_MIN
}

/// When a listener may accept.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut_until: Option<Time>,
}

impl Gate {
    /// Takes note of a failed accept. True if accepting must rest until [`Gate::opens`], because
    /// the failure lasts or is unknown; false if that one connection was broken.
    pub(crate) fn failed(&mut self, error: &io::Error, now: Time) -> bool {
        let rest = error.raw_os_error().is_none_or(|code| !PASSING.contains(&code));
        if rest {
            self.shut_until = Some(now.after(ACCEPT_PAUSE));
        }
        rest
    }

    pub(crate) const fn opens(&self) -> Option<Time> {
        self.shut_until
    }

    /// Whether the rest ends now.
    pub(crate) fn reopen(&mut self, now: Time) -> bool {
        let over = self.shut_until.is_some_and(|until| until <= now);
        if over {
            self.shut_until = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_fits_the_inbox() {
        assert_eq!((readable(0), readable(1), readable(2)), (0, 0, FRAME_MIN));
        // One byte ends a packet; the others hold whole packets.
        for room in 2..100 {
            let packets = 1 + (readable(room) - 1) / FRAME_MIN;
            assert!(packets < room);
        }
    }

    #[test]
    fn accepting_rests_unless_only_one_connection_was_broken() {
        let mut gate = Gate::default();
        for passing in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EAGAIN] {
            assert!(!gate.failed(&io::Error::from_raw_os_error(passing), Time::ZERO));
        }
        assert_eq!(gate.opens(), None);
        for lasting in [libc::EMFILE, libc::ENOMEM, libc::EPERM, libc::ENETDOWN, libc::EINVAL] {
            let mut gate = Gate::default();
            assert!(gate.failed(&io::Error::from_raw_os_error(lasting), Time::ZERO));
            assert!(gate.opens().is_some());
        }
        assert!(gate.failed(&io::Error::other("of no known kind"), Time::ZERO));
        let opens = gate.opens().unwrap();
        assert!(!gate.reopen(Time::ZERO));
        assert!(gate.reopen(opens));
        assert_eq!(gate.opens(), None);
    }
}
