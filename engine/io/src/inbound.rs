//! What connections in have in common, whatever link reads them.

use std::io;

use phix_engine::intake::{Assembler, Intake};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::{FrameError, FrameVersion};
use phix_engine::wire::geometry::PacketSize;

/// Bytes of the shortest frame.
const FRAME_MIN: usize = FrameVersion::Legacy.header_len() + PacketSize::Ack.packet_len();

/// How long accepting rests when the machine has no descriptor or memory for a connection.
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Why a connection in ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side closed or reset it.
    Theirs,
    /// Its bytes are not frames.
    Malformed,
    /// This node stops.
    Stopping,
}

/// Slots that half-received packets of all connections hold.
#[derive(Debug, Default)]
pub(crate) struct Assembling(usize);

impl Assembling {
    pub(crate) const fn count(&self) -> usize {
        self.0
    }

    /// Feeds a connection's assembler; says how many bytes it used.
    pub(crate) fn push(
        &mut self,
        assembler: &mut Assembler,
        bytes: &[u8],
        intake: &mut Intake<'_>,
    ) -> Result<usize, FrameError> {
        self.0 -= assembler.held();
        let used = assembler.push(bytes, intake);
        self.0 += assembler.held();
        used
    }

    /// Ends a connection's assembler and counts how it ended.
    pub(crate) fn finish(&mut self, assembler: &mut Assembler, end: End, intake: &mut Intake<'_>) {
        self.0 -= assembler.held();
        let inside = assembler.finish(intake.pool);
        match end {
            End::Malformed => intake.counters.malformed += 1,
            End::Theirs if inside => intake.counters.truncated += 1,
            End::Theirs | End::Stopping => {}
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
    /// Takes note of a failed accept. True if the machine lacks something, and accepting must rest
    /// until [`Gate::opens`]; false if that one connection was broken.
    pub(crate) fn failed(&mut self, error: &io::Error, now: Time) -> bool {
        let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        let rest = error.raw_os_error().is_some_and(|code| lacks.contains(&code));
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
    fn accepting_rests_when_descriptors_run_out() {
        let mut gate = Gate::default();
        assert!(!gate.failed(&io::Error::from_raw_os_error(libc::ECONNABORTED), Time::ZERO));
        assert!(gate.failed(&io::Error::from_raw_os_error(libc::EMFILE), Time::ZERO));
        let opens = gate.opens().unwrap();
        assert!(!gate.reopen(Time::ZERO));
        assert!(gate.reopen(opens));
        assert_eq!(gate.opens(), None);
    }
}
