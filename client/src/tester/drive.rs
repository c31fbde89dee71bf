//! The run itself: one thread that sends what is due and reads what comes back.
//!
//! Where packets are sent more often than a sleep can be kept exact, the thread looks at clock and
//! sockets every [`TICK`] and does not sleep; so it needs a core of its own, and arrivals are seen
//! at most a tick late. Where packets are rare it sleeps in between and wakes for each arrival.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use phix_engine::units::{Span, Time};
use phix_io::MonotonicClock;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::thread::CpuSet;
use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use rustix::time::{clock_gettime, timerfd_create, timerfd_settime};

use super::book::{Arrival, Book, Counts};
pub use super::failure::RunError;
use super::measure::Distributions;
use super::noise::{NoiseFault, Speech};
use super::receiving::Home;
use super::sending::{self, Desk, Outbound};

/// Time between two looks at the sockets while packets are dense.
pub const TICK: Span = Span::from_micros(50);

/// Times shorter than this are waited for by looking at the clock.
const SPIN: Span = Span::from_micros(100);

/// Time between connecting and the first packet.
const HEAD_START: Span = Span::from_millis(50);

/// Longest wait for the handshakes of all connections.
const GREETING_MAX: Span = Span::from_millis(3_000);

/// How long the tester listens for second copies when every packet is back.
const LINGER: Span = Span::from_millis(100);

/// Longest sleep, so that a stop is noticed.
const NAP_MAX: Span = Span::from_millis(100);

const SECOND: Span = Span::from_millis(1000);

/// Events taken from the kernel at once.
const EVENTS: usize = 64;

const LISTENER: u64 = 0;
const TIMER: u64 = 1;
/// The first of the numbers of connections out.
const OUTBOUND: u64 = 2;
/// Added to the number of a connection in.
const INBOUND: u64 = 1 << 32;

/// A load, ready to be run.
#[derive(Debug)]
pub struct Load<'a> {
    /// All frames, in the order of the book.
    pub frames: &'a mut [u8],
    /// Bytes that each of them takes.
    pub stride: usize,
    /// What has to come back, and when what is to be sent.
    pub book: Book,
    /// Where the packets are sent.
    pub first_hops: &'a [SocketAddr],
    /// How the first hop is spoken to; plainly, if nothing is said. Frames have room for records
    /// around them then.
    pub speech: Option<&'a Speech>,
}

/// How a load is run.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Connections to each first hop.
    pub connections: usize,
    /// The core that the thread stays on.
    pub cpu: Option<usize>,
    /// Packets planned for less than this after the start are sent and counted, not measured.
    pub warm_up: Span,
    /// How long nothing may move, beyond the longest delay, before the rest is given up.
    pub drain: Span,
}

/// What one second of a run looked like from the tester.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Seconds since the start.
    pub at: f64,
    /// Packets that were to be sent until then.
    pub planned: u64,
    /// Packets that were.
    pub sent: u64,
    /// Packets that had come back intact.
    pub intact: u64,
    /// Packets that should have been back a second ago, and were not.
    pub overdue: u64,
    /// Median of the delay errors in this second, in nanoseconds.
    pub p50: u64,
    /// Their 99th percentile.
    pub p99: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What became of the packets.
    pub counts: Counts,
    /// How long it took them.
    pub measured: Distributions,
    /// The run by seconds.
    pub seconds: Vec<Second>,
    /// From the start to the last packet sent.
    pub sending: Span,
    /// From the first packet back to the last.
    pub returning: Span,
    /// Processor time of the tester's thread, and the time that it ran.
    pub busy: Span,
    /// See [`Outcome::busy`].
    pub running: Span,
    /// Connections that came in.
    pub accepted: u64,
    /// Connections in that were closed because they did not carry frames.
    pub malformed: u64,
    /// Why connections out ended early.
    pub failures: Vec<String>,
    /// Whether the run was told to stop.
    pub stopped: bool,
}

/// Runs a load whose packets come back to `home` on a thread of its own, and waits for its end.
/// `watch` hears of each second, on that thread.
///
/// # Errors
/// If a first hop cannot be reached, or the system refuses what is needed.
///
/// # Panics
/// If `manner` asks for no connection.
pub fn run(
    load: Load<'_>,
    manner: Manner,
    home: &mut Home,
    stop: &AtomicBool,
    watch: impl FnMut(&Second) + Send,
) -> Result<Outcome, RunError> {
    assert!(manner.connections > 0, "a load needs a connection");
    let go = move || {
        if let Some(core) = manner.cpu {
            pin(core)?;
        }
        let speech = load.speech;
        let outbounds = sending::connect(load.first_hops, manner.connections, load.book.rows())
            .map_err(|(address, error)| RunError::Connect(address, error))?;
        let mut drive = Drive::new(load, manner, outbounds, home)?;
        if let Some(speech) = speech {
            drive.greet(speech)?;
        }
        drive.run(stop, watch)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("phix-load".into()).spawn_scoped(scope, go);
        thread.map_err(RunError::System)?.join().expect("the tester's thread does not panic")
    })
}

/// Whether this program may run on a core.
///
/// # Errors
/// If it may not.
pub fn check_core(core: usize) -> Result<(), RunError> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    if core < CpuSet::MAX_CPU && allowed.is_set(core) { Ok(()) } else { Err(RunError::Core(core)) }
}

fn pin(core: usize) -> Result<(), RunError> {
    check_core(core)?;
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

struct Drive<'a> {
    frames: &'a mut [u8],
    stride: usize,
    book: Book,
    outbounds: Vec<Outbound>,
    home: &'a mut Home,
    measured: Distributions,
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
    start: Time,
    /// How long nothing may move.
    patience: Span,
    longest_delay: Span,
    /// Whether packets are so dense that the thread looks and does not sleep.
    dense: bool,
    /// When a byte last went or a packet last came.
    moved: Time,
    last_sent: Time,
    first_back: Option<Time>,
    last_back: Time,
    seconds: Vec<Second>,
    /// Packets before this were due back more than a second before the last second's end.
    settled: usize,
    missing: u64,
}

impl<'a> Drive<'a> {
    fn new(
        load: Load<'a>,
        manner: Manner,
        outbounds: Vec<Outbound>,
        home: &'a mut Home,
    ) -> Result<Self, RunError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        watch_fd(&epoll, home.listener(), LISTENER, EventFlags::IN)?;
        for (place, stream) in home.open() {
            watch_fd(&epoll, stream, INBOUND + place as u64, EventFlags::IN)?;
        }
        watch_fd(&epoll, &timer, TIMER, EventFlags::IN | EventFlags::ET)?;
        // A node answers to a handshake and to nothing else.
        let answers = if load.speech.is_some() { EventFlags::IN } else { EventFlags::empty() };
        let out = EventFlags::OUT | EventFlags::ET | answers;
        for (outbound, number) in outbounds.iter().zip(OUTBOUND..) {
            watch_fd(&epoll, &outbound.stream, number, out)?;
        }
        let rows = load.book.rows();
        let longest_delay = rows.iter().map(|row| row.delays).max().unwrap_or(Span::ZERO);
        let length = rows.last().map_or(0, |row| row.offset.as_nanos());
        let start = MonotonicClock.now().after(HEAD_START);
        Ok(Self {
            frames: load.frames,
            stride: load.stride,
            dense: length < SPIN.as_nanos().saturating_mul(rows.len() as u64),
            book: load.book,
            outbounds,
            home,
            measured: Distributions::new(manner.warm_up, Span::from_nanos(length)),
            epoll,
            timer,
            events: Vec::with_capacity(EVENTS),
            start,
            patience: Span::from_nanos(manner.drain.as_nanos() + longest_delay.as_nanos()),
            longest_delay,
            moved: start,
            last_sent: start,
            first_back: None,
            last_back: start,
            seconds: Vec::new(),
            settled: 0,
            missing: 0,
        })
    }

    /// Gets to know the node on all connections, makes the records, and sets the start anew. The
    /// node may be the tester itself, which answers meanwhile.
    fn greet(&mut self, speech: &Speech) -> Result<(), RunError> {
        for outbound in &mut self.outbounds {
            let address = outbound.address();
            outbound.call(speech).map_err(|fault| RunError::Noise(address, fault))?;
        }
        let ends = MonotonicClock.now().after(GREETING_MAX);
        while let Some(address) = self.unknown()? {
            let now = MonotonicClock.now();
            if now > ends {
                return Err(RunError::Noise(address, NoiseFault::Silent));
            }
            self.poll(Some(ends.since(now)))?;
        }
        for outbound in &mut self.outbounds {
            outbound.seal(self.frames, self.stride);
        }
        self.start = MonotonicClock.now().after(HEAD_START);
        (self.moved, self.last_sent, self.last_back) = (self.start, self.start, self.start);
        Ok(())
    }

    /// Takes what has come of the handshakes; gives a node that has more to say.
    fn unknown(&mut self) -> Result<Option<SocketAddr>, RunError> {
        let mut unknown = None;
        for outbound in &mut self.outbounds {
            let address = outbound.address();
            if outbound.greet().map_err(|fault| RunError::Noise(address, fault))? {
                unknown = Some(address);
            }
        }
        Ok(unknown)
    }

    fn run(
        mut self,
        stop: &AtomicBool,
        mut watch: impl FnMut(&Second),
    ) -> Result<Outcome, RunError> {
        let processor = thread_time();
        let stopped = loop {
            let now = MonotonicClock.now();
            self.send(now);
            self.poll(Some(Span::ZERO))?;
            if let Some(second) = self.second(now) {
                watch(&second);
            }
            if self.is_over(now) {
                break false;
            }
            if stop.load(Ordering::Relaxed) {
                break true;
            }
            self.pause(now)?;
        };
        let running = MonotonicClock.now().since(self.start);
        let busy = Span::from_nanos(thread_time().saturating_sub(processor));
        Ok(self.outcome(stopped, busy, running))
    }

    fn send(&mut self, now: Time) {
        let mut desk = Desk {
            frames: self.frames,
            stride: self.stride,
            start: self.start,
            book: &mut self.book,
            measured: &mut self.measured,
        };
        for outbound in &mut self.outbounds {
            if outbound.pump(&mut desk, now) {
                self.moved = now;
                self.last_sent = now;
            }
        }
    }

    /// Waits, for as long as `limit` at most, and takes in what there is.
    fn poll(&mut self, limit: Option<Span>) -> Result<(), RunError> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        if let Some(limit) = limit.filter(|limit| *limit > Span::ZERO) {
            let once = Itimerspec { it_interval: none, it_value: timespec(limit) };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let at_once = (limit == Some(Span::ZERO)).then_some(none);
        self.events.clear();
        let into = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, into, at_once.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = std::mem::take(&mut self.events);
        events.iter().try_for_each(|event| self.handle(event.data.u64()))?;
        events.clear();
        self.events = events;
        Ok(())
    }

    fn handle(&mut self, number: u64) -> Result<(), RunError> {
        match number {
            LISTENER => {
                while let Some((place, stream)) = self.home.accept()? {
                    watch_fd(&self.epoll, stream, INBOUND + place as u64, EventFlags::IN)?;
                }
            }
            TIMER => {}
            INBOUND.. => self.read((number - INBOUND) as usize),
            OUTBOUND.. => {
                self.outbounds[(number - OUTBOUND) as usize].unblock(MonotonicClock.now());
            }
        }
        Ok(())
    }

    fn read(&mut self, place: usize) {
        let Self { home, book, measured, start, .. } = self;
        let mut newest = None;
        home.read(place, |batch| {
            let now = MonotonicClock.now();
            newest = Some(now);
            batch.each(|packet| {
                if let Arrival::Intact { offset, delays } = book.record(packet) {
                    measured.returned(*start, offset, delays, now);
                }
            });
        });
        if let Some(now) = newest {
            self.first_back.get_or_insert(now);
            self.last_back = now;
            self.moved = now;
        }
    }

    /// Waits until there may be something to do.
    fn pause(&mut self, now: Time) -> Result<(), RunError> {
        let due = sending::next_due(&self.outbounds, self.start, &self.book);
        let limit = now.after(NAP_MAX);
        let until = due.map_or(limit, |due| due.min(limit));
        if !self.dense && until.since(now) > SPIN {
            return self.poll(Some(until.since(now)));
        }
        let soonest = now.after(if self.dense { TICK } else { Span::ZERO });
        if until > soonest.after(SPIN) {
            spin(soonest);
            return self.poll(Some(until.since(MonotonicClock.now()).max(Span::from_nanos(1))));
        }
        spin(until.max(soonest));
        Ok(())
    }

    fn is_over(&self, now: Time) -> bool {
        let still = now.since(self.moved);
        if self.outbounds.iter().all(Outbound::is_done) && self.book.is_complete() {
            return still > LINGER;
        }
        // The clock says when there is more to send; nothing is wrong before that.
        let planned = sending::next_due(&self.outbounds, self.start, &self.book);
        planned.is_none() && now > self.start && still > self.patience
    }

    /// What the second that has just ended looked like.
    fn second(&mut self, now: Time) -> Option<Second> {
        let ended = SECOND.as_nanos() * (self.seconds.len() as u64 + 1);
        let elapsed = now.since(self.start);
        if elapsed.as_nanos() < ended {
            return None;
        }
        let back =
            elapsed.as_nanos().saturating_sub((SECOND.as_nanos()) + self.longest_delay.as_nanos());
        let settled = self.book.planned_before(Span::from_nanos(back));
        self.missing += self.book.missing(self.settled..settled);
        self.settled = settled;
        let counts = self.book.counts();
        let (p50, p99) = self.measured.interval();
        let second = Second {
            at: elapsed.as_nanos() as f64 / 1e9,
            planned: self.book.planned_before(elapsed) as u64,
            sent: counts.sent,
            intact: counts.intact,
            overdue: self.missing,
            p50,
            p99,
        };
        self.seconds.push(second);
        Some(second)
    }

    fn outcome(self, stopped: bool, busy: Span, running: Span) -> Outcome {
        Outcome {
            counts: self.book.counts(),
            measured: self.measured,
            seconds: self.seconds,
            sending: self.last_sent.since(self.start),
            returning: self.first_back.map_or(Span::ZERO, |first| self.last_back.since(first)),
            busy,
            running,
            accepted: self.home.accepted,
            malformed: self.home.malformed,
            failures: self.outbounds.iter().filter_map(Outbound::failure).collect(),
            stopped,
        }
    }
}

fn watch_fd(
    epoll: &OwnedFd,
    fd: impl AsFd,
    number: u64,
    flags: EventFlags,
) -> rustix::io::Result<()> {
    epoll::add(epoll, fd, EventData::new_u64(number), flags)
}

fn spin(until: Time) {
    while MonotonicClock.now() < until {
        std::hint::spin_loop();
    }
}

const fn timespec(span: Span) -> Timespec {
    let nanos = span.as_nanos();
    Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
}

/// Processor time that this thread has used, in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
