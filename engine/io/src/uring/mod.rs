//! The link over io_uring: one ring per shard, operations that stay armed, no call per packet.
//!
//! Accepts and receives are multishot; receives fill buffers that the kernel picks from a ring.
//! Filled buffers wait in the order in which they came, across all connections, until the inbox
//! has room; while they wait the kernel has fewer, and in the end senders slow down. Sends are
//! vectors over the slots, one under way per next hop.
//!
//! Invariant: a connection stays in its place until the kernel has no operation on it any more.
//! Invariant: packets being sent belong to the ring, or to the connection's message, until the
//! kernel has said what became of them.

mod buffers;
mod closing;
mod inbound;
mod lending;
mod message;
mod outbound;
mod probe;
mod ring;

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

use crate::allowance::Resting;
use crate::clock::MonotonicClock;
use crate::handed::Handed;
use crate::inbound::{End, Gate, Stream, Streams};
use crate::line::{Close, Connections, Line, Parts, Timers, span};
use crate::noise::NoisePeers;
use crate::pace::{Hold, Pace};
use crate::peers::{Ask, Peers};
use crate::plan::ZeroCopy;
use crate::slab::{Key, Slab};
use crate::sockets::reset_on_close;
use crate::sources::Sources;
use crate::voice::{Voice, Voices};
use crate::waker::Waker;

use inbound::Pending;
use lending::{FLIGHTS, Flight, Lending};
use message::Message;
use ring::{END_LIMIT, Event, Op, Ring};

pub(crate) use probe::{Failure, self_test, zero_copy};

/// Receives are armed again when the kernel has at least this many buffers.
const BUFFERS_LOW: usize = buffers::COUNT as usize / 4;
/// How long the end of a link waits for packets that the kernel still reads.
const LENDING_LIMIT: Span = Span::from_millis(1_000);
/// Connections in that may be closing while others have taken their turn already.
const LEAVING_MAX: usize = 64;

#[derive(Debug)]
enum Role {
    In {
        stream: Box<Stream>,
    },
    Out {
        peer: PeerId,
        address: IpAddr,
        voice: Voice,
        message: Option<Box<Message>>,
        discarded: usize,
        lending: Lending,
    },
}

/// A connection, in or out, and the operations that the kernel has on it.
#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    role: Role,
    receiving: bool,
    /// Whether the present receive has brought anything.
    fed: bool,
    /// A connect or a send.
    lent: Option<Op>,
    closing: bool,
}

impl Connection {
    const fn new(fd: OwnedFd, role: Role) -> Self {
        Self { fd, role, receiving: false, fed: false, lent: None, closing: false }
    }

    /// Its stream, if it is one in that is not being closed.
    const fn stream(&self) -> Option<&Stream> {
        match &self.role {
            Role::In { stream } if !self.closing => Some(stream),
            Role::In { .. } | Role::Out { .. } => None,
        }
    }

    /// Until when nothing is to be received, if that is so.
    fn rests(&self, now: Time) -> Option<Time> {
        match &self.role {
            Role::In { stream } => stream.rests(now),
            Role::Out { .. } => None,
        }
    }
}

/// Connections in and out, for one shard, over io_uring.
#[derive(Debug)]
pub(crate) struct UringLink {
    ring: Ring,
    listener: Option<OwnedFd>,
    accepting: bool,
    /// Whether accepting is to end; the listener goes with the last event of it.
    leaving_listener: bool,
    /// Whether connections in are not read any more.
    at_rest: bool,
    wakers: Arc<[Waker]>,
    shard: usize,
    watching: bool,
    source: Option<IpAddr>,
    sources: Sources,
    connections: Slab<Connection>,
    /// Connections in that are open.
    inbound: usize,
    /// Connections in that are being closed.
    leaving: usize,
    inbound_max: usize,
    /// Connections whose receive has ended for want of buffers, or by itself, in the order of
    /// their turns: first those that had nothing since they were armed last. Whoever is armed
    /// first may take all buffers, so without this order one heavy connection would always win.
    hungry: VecDeque<Key>,
    starved: VecDeque<Key>,
    resting: Resting,
    pending: VecDeque<Pending>,
    zero_copy: ZeroCopy,
    /// Sends whose packets the kernel may still read.
    flights: Slab<Flight>,
    /// Sends without a copy that are not counted yet, and how many were copied after all.
    lent_sends: u64,
    copied_sends: u64,
    peers: Peers,
    voices: Voices,
    streams: Streams,
    gate: Gate,
    timers: Timers,
    pace: Pace,
    broken: Option<io::Error>,
    now: Time,
}

impl UringLink {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        // A connection that is being closed keeps its place for a moment beside the new one.
        let places = parts.connections_max + LEAVING_MAX + 2 * PEERS_MAX;
        let mut link = Self {
            ring: Ring::new(places, probe::bundles())?,
            listener: None,
            accepting: false,
            leaving_listener: false,
            at_rest: false,
            wakers: parts.wakers,
            shard: parts.shard,
            watching: false,
            source: parts.source,
            sources: parts.sources,
            connections: Slab::new(places),
            inbound: 0,
            leaving: 0,
            inbound_max: parts.connections_max,
            hungry: VecDeque::with_capacity(places),
            starved: VecDeque::with_capacity(places),
            resting: Resting::default(),
            pending: VecDeque::with_capacity(places),
            zero_copy: parts.zero_copy,
            flights: Slab::new(if parts.zero_copy == ZeroCopy::Off { 0 } else { FLIGHTS }),
            lent_sends: 0,
            copied_sends: 0,
            peers: Peers::new(parts.seed),
            voices: Voices::new(parts.noise),
            streams: Streams::default(),
            gate: Gate::default(),
            timers: Timers::default(),
            pace: Pace::new(MonotonicClock.now()),
            broken: None,
            now: MonotonicClock.now(),
        };
        if let Some(listener) = parts.listener {
            link.listen(listener)?;
        }
        Ok(link)
    }

    /// Starts again what has ended and should go on.
    fn arm(&mut self) -> io::Result<()> {
        if !self.watching {
            self.ring.watch(&self.wakers[self.shard])?;
            self.watching = true;
        }
        if let Some(listener) = &self.listener
            && !self.accepting
            && !self.leaving_listener
            && self.gate.opens().is_none()
        {
            self.ring.accept(listener.as_fd())?;
            self.accepting = true;
        }
        self.resting.rested(self.now, |key| self.hungry.push_back(key));
        if self.ring.buffers().offered() < BUFFERS_LOW || self.at_rest {
            return Ok(());
        }
        self.hungry.append(&mut self.starved);
        while let Some(key) = self.hungry.pop_front() {
            if let Some(connection) = self.connections.get_mut(key)
                && !connection.closing
                && !connection.receiving
            {
                if let Some(until) = connection.rests(self.now) {
                    self.resting.add(key, until);
                    continue;
                }
                self.ring.receive(key, connection.fd.as_fd(), self.sources.rate().is_some())?;
                (connection.receiving, connection.fed) = (true, false);
            }
        }
        Ok(())
    }

    /// Takes events in as long as there is something to wait for; false if that takes too long.
    fn end_by(
        &mut self,
        limit: Span,
        intake: &mut Intake<'_>,
        wanted: impl Fn(&Self) -> bool,
    ) -> io::Result<bool> {
        let end = MonotonicClock.now().after(limit);
        while wanted(self) {
            let now = MonotonicClock.now();
            if now >= end {
                return Ok(false);
            }
            self.ring.enter(Some(end.since(now)))?;
            self.handle_all(intake)?;
        }
        Ok(true)
    }

    fn open_streams(&self) -> impl Iterator<Item = (&Connection, &Stream)> {
        self.connections.iter().filter_map(|connection| Some((connection, connection.stream()?)))
    }

    /// Hands operations over, waits, and takes in events. False if it is better not to look for
    /// any yet.
    fn enter(&mut self, wait: Wait, room: usize) -> io::Result<bool> {
        let wait = if self.pending.is_empty() || room == 0 { wait } else { Wait::No };
        let (patience, resting) = (self.streams.patience.ends(), self.resting.ends());
        let others = [self.peers.next_limit(), self.gate.opens(), patience, resting];
        let wait = self.timers.wait(wait, others);
        match self.pace.hold(wait, self.now) {
            Hold::None => self.ring.enter(span(wait, self.now))?,
            Hold::Until(time) => {
                self.ring.enter_held(time.since(self.now), span(wait, self.now))?;
            }
            Hold::Skip => return self.ring.hand_over().map(|()| false),
        }
        Ok(true)
    }

    fn handle(&mut self, event: Event, intake: &mut Intake<'_>) -> io::Result<()> {
        match event.op {
            Op::Accept => self.accepted(event, intake),
            Op::Wake => {
                self.wakers[self.shard].clear();
                self.watching = event.more;
                Ok(())
            }
            Op::Receive => self.received(event),
            Op::Connect => self.connected(event),
            Op::Send => self.sent(event, intake.pool),
            Op::Lend => self.lent(event, intake.pool),
            Op::Cancel => Ok(()),
        }
    }

    fn handle_all(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        while let Some(event) = self.ring.next() {
            self.handle(event, intake)?;
        }
        self.feed(intake)
    }

    fn expire(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        self.end_overdue(intake)?;
        for key in self.peers.expired(self.now) {
            self.give_up(key)?;
        }
        self.gate.reopen(self.now);
        Ok(())
    }

    fn keep_error(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.broken.get_or_insert(error);
        }
    }
}

impl Link for UringLink {
    type Error = io::Error;

    fn receive(&mut self, mut intake: Intake<'_>, wait: Wait) -> io::Result<()> {
        self.now = MonotonicClock.now();
        self.arm()?;
        if !self.enter(wait, intake.inbox.room())? {
            return self.handle_all(&mut intake);
        }
        self.now = MonotonicClock.now();
        let received = intake.counters.received;
        self.handle_all(&mut intake)?;
        self.pace.woken(intake.counters.received - received, self.now);
        self.voices.settle(intake.counters);
        intake.counters.lent_sends += std::mem::take(&mut self.lent_sends);
        intake.counters.copied_sends += std::mem::take(&mut self.copied_sends);
        self.expire(&mut intake)
    }

    fn room(&mut self, peer: PeerId, address: SocketAddr, now: Time) -> usize {
        self.now = now;
        match self.peers.ask(peer, address, now) {
            Ask::Ready(_) => return SEND_MAX,
            Ask::Busy => {}
            Ask::Connect => {
                let result = self.connect(peer, address);
                self.keep_error(result);
            }
            Ask::Replace(old) => {
                let result = self.close(old).and_then(|()| self.connect(peer, address));
                self.keep_error(result);
            }
        }
        0
    }

    fn send(&mut self, peer: PeerId, packets: Outgoing, front: usize, pool: &mut Pool) {
        let result = self.start_sending(peer, packets, front, pool);
        self.keep_error(result);
    }

    fn completed(&mut self) -> Option<Completion> {
        self.timers.completed.pop_front()
    }

    /// Only says whether the link is broken: what is to be sent goes to the kernel with the call
    /// that waits, which comes next.
    fn flush(&mut self) -> io::Result<()> {
        self.broken.take().map_or(Ok(()), Err)
    }

    fn assembling(&self) -> usize {
        self.streams.held()
    }

    fn wake(&mut self, shard: usize) {
        self.wakers[shard].wake();
    }
}

impl Line for UringLink {
    fn connections(&self) -> Connections {
        let inbound = self.inbound;
        Connections { inbound, outbound: self.connections.len() - inbound - self.leaving }
    }

    fn alarm(&mut self, at: Option<Time>) {
        self.timers.alarm = at;
    }

    fn set_noise_peers(&mut self, peers: Arc<NoisePeers>) {
        self.voices.set_peers(peers);
    }

    /// A descriptor that does not block would have the kernel give up where it should wait; and
    /// the epoll link of another process may have had this one before.
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&listener, false)?;
        self.listener = Some(listener);
        self.leaving_listener = false;
        Ok(())
    }

    fn unlisten(&mut self) -> io::Result<()> {
        if self.accepting {
            self.leaving_listener = true;
            return self.ring.cancel(Op::Accept, Key::NONE);
        }
        self.listener = None;
        Ok(())
    }

    fn is_settled(&self) -> bool {
        !self.accepting && !self.open_streams().any(|(_, stream)| stream.is_greeting())
    }

    fn rest(&mut self) -> io::Result<()> {
        self.at_rest = true;
        let receiving: Vec<Key> = self
            .connections
            .entries()
            .filter(|(_, connection)| connection.receiving && connection.stream().is_some())
            .map(|(key, _)| key)
            .collect();
        receiving.into_iter().try_for_each(|key| self.ring.cancel(Op::Receive, key))
    }

    fn is_at_rest(&self) -> bool {
        self.pending.is_empty()
            && self
                .open_streams()
                .all(|(connection, stream)| !connection.receiving && stream.is_at_rest())
    }

    fn release(&mut self, mut intake: Intake<'_>) -> Vec<Handed> {
        self.at_rest = false;
        let keys = self.connections.keys();
        keys.into_iter().filter_map(|key| self.release_one(key, &mut intake)).collect()
    }

    fn adopt(&mut self, handed: Handed, mut intake: Intake<'_>) -> io::Result<()> {
        self.now = MonotonicClock.now();
        self.adopt_one(handed, &mut intake)
    }

    fn close_inbound(&mut self, mut intake: Intake<'_>) -> io::Result<()> {
        if self.accepting {
            self.ring.cancel(Op::Accept, Key::NONE)?;
        }
        self.listener = None;
        for key in self.connections.keys() {
            self.end(key, End::Stopping, &mut intake)?;
        }
        Ok(())
    }

    fn close_all(&mut self, how: Close, mut intake: Intake<'_>) -> io::Result<()> {
        match how {
            Close::Reset => self.connections.iter().for_each(|one| reset_on_close(&one.fd)),
            // What the other side has not acknowledged by then is called back.
            Close::InOrder => {
                self.end_by(LENDING_LIMIT, &mut intake, |link| link.flights.len() > 0)?;
                self.call_all_back();
            }
        }
        let Intake { pool, inbox, counters } = &mut intake;
        self.close_inbound(Intake { pool, inbox, counters })?;
        for key in self.connections.keys() {
            self.close(key)?;
        }
        if self.end_by(END_LIMIT, &mut intake, |link| link.connections.len() > 0)?
            && self.end_by(END_LIMIT, &mut intake, |link| link.flights.len() > 0)?
        {
            return Ok(());
        }
        Err(io::Error::other("the kernel does not end what it was told to end"))
    }

    fn let_go(&mut self) -> bool {
        self.ring.quiet(END_LIMIT)
    }
}
