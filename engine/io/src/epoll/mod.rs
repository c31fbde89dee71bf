//! The link over epoll: for kernels and containers where io_uring is switched off.
//!
//! Connections are watched edge-triggered. Those with bytes to read wait in a round; each gets one
//! read per turn, and no read takes in more packets than the inbox has room for, so that what does
//! not fit stays in the socket and slows its sender down.

mod inbound;
mod outbound;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use phix_engine::egress::PeerId;
use phix_engine::intake::Intake;
use phix_engine::limits::{PEERS_MAX, SEND_MAX};
use phix_engine::pool::Pool;
use phix_engine::shard::{Completion, Link, Outgoing, Wait};
use phix_engine::units::{Span, Time};
use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use rustix::time::{timerfd_create, timerfd_settime};

use crate::allowance::Resting;
use crate::clock::MonotonicClock;
use crate::handed::Handed;
use crate::inbound::{End, Gate, Streams};
use crate::line::{Close, Connections, Line, Parts, Timers, span};
use crate::noise::NoisePeers;
use crate::pace::{Hold, Pace, sleep};
use crate::peers::{Ask, Peers};
use crate::slab::{Key, Slab};
use crate::sockets::reset_on_close;
use crate::sources::Sources;
use crate::voice::Voices;
use crate::waker::Waker;

use inbound::Inbound;
use outbound::Outbound;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Bytes that one connection may deliver per turn, and that one read takes at most.
const READ: usize = 256 * 1024;

/// What an event is about, as the tag of a packed key.
const LISTENER: u8 = 0;
const WAKER: u8 = 1;
const INBOUND: u8 = 2;
const OUTBOUND: u8 = 3;
const TIMER: u8 = 4;

/// Connections in and out, for one shard, over epoll.
pub(crate) struct EpollLink {
    epoll: OwnedFd,
    listener: Option<OwnedFd>,
    /// Whether connections in are not read, save where plaintext waits.
    at_rest: bool,
    wakers: Arc<[Waker]>,
    shard: usize,
    /// Ends a wait to the nanosecond. The time limit of epoll itself is in milliseconds, except in
    /// a later call that old kernels and some sandboxes refuse.
    timer: OwnedFd,
    source: Option<IpAddr>,
    sources: Sources,
    inbound: Slab<Inbound>,
    /// Connections that may have bytes to read, in the order of their turns.
    round: VecDeque<Key>,
    resting: Resting,
    outbound: Slab<Outbound>,
    peers: Peers,
    voices: Voices,
    streams: Streams,
    gate: Gate,
    timers: Timers,
    pace: Pace,
    events: Vec<Event>,
    buffer: Box<[u8]>,
    now: Time,
}

impl EpollLink {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        watch(&epoll, &parts.wakers[parts.shard], WAKER, Key::NONE, EventFlags::IN)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        watch(&epoll, &timer, TIMER, Key::NONE, EventFlags::IN | EventFlags::ET)?;
        let mut link = Self {
            epoll,
            listener: None,
            at_rest: false,
            wakers: parts.wakers,
            shard: parts.shard,
            timer,
            source: parts.source,
            sources: parts.sources,
            inbound: Slab::new(parts.connections_max),
            round: VecDeque::with_capacity(parts.connections_max),
            resting: Resting::default(),
            outbound: Slab::new(PEERS_MAX),
            peers: Peers::new(parts.seed),
            voices: Voices::new(parts.noise),
            streams: Streams::default(),
            gate: Gate::default(),
            timers: Timers::default(),
            pace: Pace::new(MonotonicClock.now()),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ].into(),
            now: MonotonicClock.now(),
        };
        if let Some(listener) = parts.listener {
            link.listen(listener)?;
        }
        Ok(link)
    }

    /// Waits and takes in events. False if it is better not to look for any yet.
    fn wait(&mut self, wait: Wait, room: usize) -> io::Result<bool> {
        // With room for one packet no stream is read: its first byte may end one.
        let wait = if self.round.is_empty() || room < 2 { wait } else { Wait::No };
        let patience = self.streams.patience.ends();
        let resting = self.resting.ends();
        let others = [self.peers.next_limit(), self.gate.opens(), patience, resting];
        let wait = self.timers.wait(wait, others);
        match self.pace.hold(wait, self.now) {
            Hold::None => {}
            Hold::Until(time) => sleep(time.since(self.now)),
            Hold::Skip => return Ok(false),
        }
        let wait = span(wait, MonotonicClock.now());
        let at_once = (wait == Some(Span::ZERO)).then(|| timespec(Span::ZERO));
        if let Some(wait) = wait.filter(|_| at_once.is_none()) {
            let once = Itimerspec { it_interval: timespec(Span::ZERO), it_value: timespec(wait) };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        self.events.clear();
        let into = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, into, at_once.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn handle(&mut self, event: Event, intake: &mut Intake<'_>) {
        let (tag, key) = Key::unpack(event.data.u64());
        let flags = event.flags;
        match tag {
            LISTENER => self.accept(intake),
            WAKER => self.wakers[self.shard].clear(),
            // The wait is over, and that was all.
            TIMER => {}
            INBOUND => self.readable(key, flags),
            _ => self.outbound_event(key, flags, intake.pool),
        }
    }

    fn expire(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        self.close_overdue(intake);
        for key in self.peers.expired(self.now) {
            self.give_up(key);
        }
        if self.gate.reopen(self.now)
            && let Some(listener) = &self.listener
        {
            let data = EventData::new_u64(Key::NONE.pack(LISTENER));
            epoll::modify(&self.epoll, listener, data, EventFlags::IN)?;
        }
        Ok(())
    }
}

impl Link for EpollLink {
    type Error = io::Error;

    fn receive(&mut self, mut intake: Intake<'_>, wait: Wait) -> io::Result<()> {
        self.now = MonotonicClock.now();
        if !self.wait(wait, intake.inbox.room())? {
            return Ok(());
        }
        self.now = MonotonicClock.now();
        let received = intake.counters.received;
        for index in 0..self.events.len() {
            self.handle(self.events[index], &mut intake);
        }
        self.resting.rested(self.now, |key| self.round.push_back(key));
        self.read_round(&mut intake);
        self.pace.woken(intake.counters.received - received, self.now);
        self.voices.settle(intake.counters);
        self.expire(&mut intake)
    }

    fn room(&mut self, peer: PeerId, address: SocketAddr, now: Time) -> usize {
        self.now = now;
        match self.peers.ask(peer, address, now) {
            Ask::Ready(_) => return SEND_MAX,
            Ask::Busy => {}
            Ask::Connect => self.connect(peer, address),
            Ask::Replace(old) => {
                self.close_outbound(old);
                self.connect(peer, address);
            }
        }
        0
    }

    fn send(&mut self, peer: PeerId, packets: Outgoing, front: usize, pool: &mut Pool) {
        self.start_sending(peer, packets, front, pool);
    }

    fn completed(&mut self) -> Option<Completion> {
        self.timers.completed.pop_front()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn assembling(&self) -> usize {
        self.streams.held()
    }

    fn wake(&mut self, shard: usize) {
        self.wakers[shard].wake();
    }
}

impl Line for EpollLink {
    fn connections(&self) -> Connections {
        Connections { inbound: self.inbound.len(), outbound: self.outbound.len() }
    }

    fn alarm(&mut self, at: Option<Time>) {
        self.timers.alarm = at;
    }

    fn set_noise_peers(&mut self, peers: Arc<NoisePeers>) {
        self.voices.set_peers(peers);
    }

    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        watch(&self.epoll, &listener, LISTENER, Key::NONE, EventFlags::IN)?;
        self.listener = Some(listener);
        self.gate = Gate::default();
        Ok(())
    }

    /// What others have as well would be watched on if it were only closed.
    fn unlisten(&mut self) -> io::Result<()> {
        self.listener.take().map_or(Ok(()), |listener| Ok(epoll::delete(&self.epoll, listener)?))
    }

    fn is_settled(&self) -> bool {
        !self.inbound.iter().any(Inbound::is_greeting)
    }

    /// Nothing is read outside of a turn. Plaintext that waits is taken in from now on whatever its
    /// source may bring, as nothing more comes of it.
    fn rest(&mut self) -> io::Result<()> {
        self.at_rest = true;
        self.resting.all_rested(|key| self.round.push_back(key));
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        self.inbound.iter().all(Inbound::is_at_rest)
    }

    fn release(&mut self, mut intake: Intake<'_>) -> Vec<Handed> {
        self.at_rest = false;
        self.round.clear();
        let keys = self.inbound.keys();
        keys.into_iter().filter_map(|key| self.release_one(key, &mut intake)).collect()
    }

    fn adopt(&mut self, handed: Handed, mut intake: Intake<'_>) -> io::Result<()> {
        self.now = MonotonicClock.now();
        self.adopt_one(handed, &mut intake);
        Ok(())
    }

    fn close_inbound(&mut self, mut intake: Intake<'_>) -> io::Result<()> {
        self.unlisten()?;
        for key in self.inbound.keys() {
            self.close_one(key, End::Stopping, &mut intake);
        }
        self.round.clear();
        Ok(())
    }

    fn close_all(&mut self, how: Close, intake: Intake<'_>) -> io::Result<()> {
        if how == Close::Reset {
            self.inbound.iter().for_each(|inbound| reset_on_close(&inbound.fd));
            self.outbound.iter().for_each(|outbound| reset_on_close(&outbound.fd));
        }
        self.close_inbound(intake)?;
        for key in self.outbound.keys() {
            self.close_outbound(key);
        }
        Ok(())
    }

    /// The kernel uses our memory during calls only.
    fn let_go(&mut self) -> bool {
        true
    }
}

fn watch(
    epoll: &OwnedFd,
    fd: impl AsFd,
    tag: u8,
    key: Key,
    flags: EventFlags,
) -> rustix::io::Result<()> {
    epoll::add(epoll, fd, EventData::new_u64(key.pack(tag)), flags)
}

fn timespec(span: Span) -> Timespec {
    let nanos = span.as_nanos();
    let seconds = nanos / 1_000_000_000;
    Timespec { tv_sec: seconds as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
}
