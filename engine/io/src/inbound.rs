//! What connections in have in common, whatever link reads them.

use std::io;

use phix_engine::intake::{Assembler, Intake};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;

use crate::allowance::Allowance;
use crate::handed::{Unfinished, UnfinishedNoise};
use crate::noise::{
    Answer, Begin, Either, Gathering, Greeting, Heard, Message, Noise, Reader, RecordError,
};
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
    /// Its handshake failed.
    Ungreeted,
    /// A record of its is not what the other end sealed.
    Forged,
    /// There is no memory for a record that comes in parts.
    Crowded,
    /// This node stops.
    Stopping,
}

/// What is between the bytes of a connection in and its frames.
#[derive(Debug)]
enum Hearing {
    Plain,
    /// Nothing yet; its first byte tells.
    Either(Box<Either>),
    /// A handshake comes first.
    Greeting(Box<Greeting>),
    /// Frames come in records.
    Noise(Box<Reader>),
}

/// What one connection in has brought of its present packet, and how it gets on.
#[derive(Debug)]
pub(crate) struct Stream {
    assembler: Assembler,
    progress: Progress,
    /// Counts the connection for its source for as long as the stream lives.
    pass: Pass,
    allowance: Allowance,
    hearing: Hearing,
    reply: Option<Message>,
}

impl Stream {
    pub(crate) const fn progress(&self) -> Progress {
        self.progress
    }

    /// What must be sent back now, on a connection that begins with a handshake.
    pub(crate) const fn reply(&mut self) -> Option<Message> {
        self.reply.take()
    }

    /// Until when nothing more is to be read, because its source has brought more than it may.
    pub(crate) fn rests(&self, now: Time) -> Option<Time> {
        self.allowance.rests(now)
    }

    /// Whether bytes that were used wait for room in the inbox all the same. They are to be fed
    /// again, with no others.
    pub(crate) fn waits(&self) -> bool {
        matches!(&self.hearing, Hearing::Noise(reader) if reader.waits())
    }

    /// Whether another process could go on with it now: not in the middle of a handshake, and not
    /// while plaintext waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        !matches!(self.hearing, Hearing::Greeting(_)) && !self.waits()
    }

    /// Whether its handshake is not over.
    pub(crate) const fn is_greeting(&self) -> bool {
        matches!(self.hearing, Hearing::Greeting(_))
    }

    /// How many bytes can be read so that all of them can be fed at once to an inbox with room for
    /// `room` packets.
    pub(crate) fn readable(&self, room: usize) -> usize {
        match &self.hearing {
            Hearing::Noise(reader) => reader.allowance(readable(room)),
            Hearing::Plain | Hearing::Either(_) | Hearing::Greeting(_) => readable(room),
        }
    }

    /// Decides how the connection begins, with its first byte.
    fn choose(&mut self, bytes: &[u8], now: Time) {
        if let (Hearing::Either(either), Some(&first)) = (&self.hearing, bytes.first()) {
            self.hearing = match either.told_by(first) {
                None => Hearing::Plain,
                Some(greeting) => {
                    self.progress = Progress::greeting(now);
                    Hearing::Greeting(greeting)
                }
            };
        }
    }

    /// Slots that it holds.
    const fn held(&self) -> usize {
        self.assembler.held()
    }

    /// Whether a packet has begun, or a record.
    fn holds(&self) -> bool {
        self.held() > 0 || matches!(&self.hearing, Hearing::Noise(reader) if reader.is_inside())
    }
}

/// The streams of all connections in, as a whole.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    held: usize,
    gathering: Gathering,
    pub(crate) patience: Patience,
}

impl Streams {
    /// Slots that half-received packets hold.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// The stream of a new connection; nothing if it is to be closed at once.
    pub(crate) fn open(&mut self, pass: Pass, noise: &Noise, now: Time) -> Option<Stream> {
        let (hearing, progress) = match noise.accepted(pass.address()) {
            Begin::Plain => (Hearing::Plain, Progress::new(now)),
            Begin::Noise(Answer::Either(either)) => (Hearing::Either(either), Progress::new(now)),
            Begin::Noise(Answer::Greeting(greeting)) => {
                (Hearing::Greeting(greeting), Progress::greeting(now))
            }
            Begin::Refused => return None,
        };
        self.patience.watch(&progress);
        let assembler = Assembler::default();
        let allowance = Allowance::new(pass.rate(), now);
        Some(Stream { assembler, progress, hearing, reply: None, pass, allowance })
    }

    /// Feeds a stream; says how many bytes it is done with. Bytes in Noise are decrypted in place.
    /// Afterwards [`Stream::reply`] may have something to send.
    pub(crate) fn push(
        &mut self,
        stream: &mut Stream,
        bytes: &mut [u8],
        intake: &mut Intake<'_>,
        now: Time,
    ) -> Result<usize, End> {
        let received = intake.counters.received;
        self.held -= stream.held();
        stream.choose(bytes, now);
        let used = self.feed(stream, bytes, intake);
        self.held += stream.held();
        let holds = stream.holds();
        let packets = intake.counters.received - received;
        stream.allowance.note(packets, stream.pass.fellows(), now);
        stream.progress.note(packets > 0, holds, now);
        self.patience.watch(&stream.progress);
        used
    }

    fn feed(
        &mut self,
        stream: &mut Stream,
        bytes: &mut [u8],
        intake: &mut Intake<'_>,
    ) -> Result<usize, End> {
        let greeted = greet(stream, bytes, intake)?;
        let bytes = &mut bytes[greeted..];
        let Stream { assembler, hearing, .. } = stream;
        let used = match hearing {
            Hearing::Plain => assembler.push(bytes, intake).map_err(|_| End::Malformed),
            Hearing::Either(_) | Hearing::Greeting(_) => Ok(0),
            Hearing::Noise(reader) => {
                let take = |text: &[u8]| assembler.push(text, intake);
                reader.push(bytes, &mut self.gathering, take).map_err(|error| match error {
                    RecordError::Forged => End::Forged,
                    RecordError::Crowded => End::Crowded,
                    RecordError::Inside(_) => End::Malformed,
                })
            }
        };
        used.map(|used| greeted + used)
    }

    /// Takes a stream that is at rest apart, for someone else to go on with.
    pub(crate) fn release(&mut self, stream: &mut Stream, intake: &mut Intake<'_>) -> Unfinished {
        debug_assert!(stream.is_at_rest(), "a stream is handed on at rest");
        let frame = stream.assembler.begun(intake.pool);
        self.held -= stream.held();
        stream.assembler.finish(intake.pool);
        let noise = match &mut stream.hearing {
            Hearing::Plain | Hearing::Either(_) | Hearing::Greeting(_) => None,
            Hearing::Noise(reader) => {
                let begun = reader.begun();
                reader.finish(&mut self.gathering);
                begun.map(|(key, record)| UnfinishedNoise { key, record })
            }
        };
        Unfinished { frame, noise }
    }

    /// The stream of a connection that someone else has begun, or that has not begun. Where plain
    /// peers are refused now and were not before, it goes on only if it is in Noise or can begin
    /// with a handshake.
    pub(crate) fn adopt(
        &mut self,
        pass: Pass,
        unfinished: Unfinished,
        noise: &Noise,
        intake: &mut Intake<'_>,
        now: Time,
    ) -> Result<Stream, End> {
        let Unfinished { frame, noise: begun } = unfinished;
        let mut progress = Progress::new(now);
        let (hearing, mut record) = match (begun, noise.accepted(pass.address())) {
            (Some(UnfinishedNoise { key, record }), _) => {
                (Hearing::Noise(Box::new(Reader::resume(key))), record)
            }
            // Where a frame ends, the next byte tells as well as the first.
            (None, Begin::Noise(Answer::Either(either))) if frame.is_empty() => {
                (Hearing::Either(either), Vec::new())
            }
            (None, Begin::Noise(Answer::Greeting(greeting))) if frame.is_empty() => {
                progress = Progress::greeting(now);
                (Hearing::Greeting(greeting), Vec::new())
            }
            (None, Begin::Plain | Begin::Noise(Answer::Either(_))) => (Hearing::Plain, Vec::new()),
            (None, Begin::Refused | Begin::Noise(Answer::Greeting(_))) => {
                intake.counters.plain_refused += 1;
                return Err(End::Ungreeted);
            }
        };
        let assembler = Assembler::default();
        let allowance = Allowance::new(pass.rate(), now);
        let mut stream = Stream { assembler, progress, hearing, reply: None, pass, allowance };
        let begun = stream.assembler.push(&frame, intake).map_err(|_| End::Malformed);
        self.held += stream.held();
        match begun.and_then(|_| self.push(&mut stream, &mut record, intake, now)) {
            Ok(_) => Ok(stream),
            Err(end) => {
                self.finish(&mut stream, end, intake);
                Err(end)
            }
        }
    }

    /// Ends a stream and counts how it ended.
    pub(crate) fn finish(&mut self, stream: &mut Stream, end: End, intake: &mut Intake<'_>) {
        self.held -= stream.held();
        let mut inside = stream.assembler.finish(intake.pool);
        let mut greeting = false;
        match &mut stream.hearing {
            Hearing::Plain | Hearing::Either(_) => {}
            Hearing::Greeting(_) => greeting = true,
            Hearing::Noise(reader) => {
                inside |= reader.is_inside();
                reader.finish(&mut self.gathering);
            }
        }
        match end {
            End::Malformed => intake.counters.malformed += 1,
            End::Forged => intake.counters.forged += 1,
            End::Crowded => intake.counters.refused += 1,
            End::Ungreeted => intake.counters.noise_failed += 1,
            End::Theirs | End::Overdue if greeting => intake.counters.noise_failed += 1,
            End::Theirs | End::Overdue if inside => intake.counters.truncated += 1,
            End::Theirs | End::Overdue | End::Stopping => {}
        }
    }
}

/// Takes the bytes that belong to a handshake, if one is under way; says how many those are.
fn greet(stream: &mut Stream, bytes: &[u8], intake: &mut Intake<'_>) -> Result<usize, End> {
    let mut rest = bytes;
    while !rest.is_empty()
        && let Hearing::Greeting(greeting) = &mut stream.hearing
    {
        match greeting.hear(&mut rest).map_err(|_| End::Ungreeted)? {
            Heard::Part => {}
            Heard::Reply(message) => stream.reply = Some(message),
            Heard::Done(message, session) => {
                intake.counters.noise_handshakes += 1;
                stream.reply = message;
                stream.progress.greeted();
                stream.hearing = Hearing::Noise(Box::new(Reader::new(session.opener)));
            }
        }
    }
    Ok(bytes.len() - rest.len())
}

/// How many bytes can be read of one connection so that the inbox, which has room for `room`
/// packets, holds whatever is in them. The first packet may end with the first byte.
const fn readable(room: usize) -> usize {
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
