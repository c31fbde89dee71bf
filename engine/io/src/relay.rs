//! A link at work without a shard: packets go on as they came, to measure what the link costs by
//! itself.
//!
//! Whoever drives a link must keep the pool for as long as the kernel reads packets from it.
//! [`Relay`] owns both, so that this holds whatever its caller does.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener};

use phix_engine::counters::{Counters, DropReason};
use phix_engine::egress::Egress;
use phix_engine::intake::{Inbox, Intake};
use phix_engine::limits::READY_MAX;
use phix_engine::pool::{Capacity, Pool};
use phix_engine::shard::{Outgoing, Wait};
use phix_engine::wire::frame::{FrameHeader, FrameVersion};

use crate::clock::MonotonicClock;
use crate::epoll::EpollLink;
use crate::line::{Close, Line, Parts};
use crate::noise::Noise;
use crate::plan::{LinkKind, ZeroCopy};
use crate::sources::Sources;
use crate::uring::UringLink;
use crate::waker::Waker;

/// What a relay forwards, and where.
#[derive(Debug)]
pub struct RelayPlan<'a> {
    /// Which link.
    pub kind: LinkKind,
    /// Packets of each size that it holds at most.
    pub capacity: Capacity,
    /// The next hops; the first byte of a packet, modulo their number, says which one it goes to.
    pub to: &'a [SocketAddr],
    /// It ends when so many packets have been sent on.
    pub packets: u64,
}

/// Forwards packets without opening them, until the plan is fulfilled; says what it counted.
/// Packets for which there is no room are dropped, and count as `forwarded` less than `received`.
///
/// # Errors
/// If the link cannot be had, or fails.
pub fn relay(listener: TcpListener, plan: &RelayPlan<'_>) -> io::Result<Counters> {
    let parts = Parts {
        listener: Some(listener.into()),
        wakers: [Waker::new()?].into(),
        shard: 0,
        connections_max: CONNECTIONS_MAX,
        sources: Sources::new(CONNECTIONS_MAX, None),
        source: None,
        noise: Noise::default(),
        seed: 1,
        zero_copy: ZeroCopy::Off,
    };
    match plan.kind {
        LinkKind::Uring => Relay::new(UringLink::new(parts)?, plan).run(plan),
        LinkKind::Epoll => Relay::new(EpollLink::new(parts)?, plan).run(plan),
    }
}

/// Connections in at a time.
const CONNECTIONS_MAX: usize = 64;

struct Relay<L: Line> {
    link: L,
    pool: Option<Pool>,
    inbox: Inbox,
    egress: Egress,
    /// Whether a next hop got as much as one send holds.
    cut_short: bool,
    counters: Counters,
}

const OWNED: &str = "the pool goes with the relay";

impl<L: Line> Relay<L> {
    fn new(link: L, plan: &RelayPlan<'_>) -> Self {
        let pool = Pool::new(plan.capacity);
        let egress = Egress::new(pool.capacity());
        let (inbox, counters) = (Inbox::default(), Counters::default());
        Self { link, pool: Some(pool), inbox, egress, cut_short: false, counters }
    }

    fn run(mut self, plan: &RelayPlan<'_>) -> io::Result<Counters> {
        while self.counters.forwarded + self.counters.dropped_total() < plan.packets {
            self.turn(plan.to)?;
        }
        let Self { link, pool, inbox, counters, .. } = &mut self;
        let pool = pool.as_mut().expect(OWNED);
        link.close_all(Close::InOrder, Intake { pool, inbox, counters })?;
        Ok(self.counters.clone())
    }

    /// Like a shard's turn, without what lies between arrival and departure.
    fn turn(&mut self, to: &[SocketAddr]) -> io::Result<()> {
        let Self { link, pool, inbox, egress, cut_short, counters } = self;
        let pool = pool.as_mut().expect(OWNED);
        // What cannot go on is not taken in, so that nothing has to be dropped.
        inbox.set_limit(READY_MAX - egress.len());
        let wait = if *cut_short { Wait::No } else { Wait::Forever };
        link.receive(Intake { pool, inbox, counters }, wait)?;
        let now = MonotonicClock.now();
        reclaim(link, pool, counters);
        for arrival in inbox.drain() {
            let slot = arrival.slot;
            let (size, rotation) = (pool.size(&slot), arrival.rotation);
            let header = FrameHeader { version: FrameVersion::Current, size, rotation };
            let frame = pool.framed_mut(&slot, header.encoded_len());
            let written = header.write(frame);
            let next = to[usize::from(frame[written]) % to.len()];
            let peer = egress.expect(next, now).expect("fewer next hops than the table holds");
            if let Err(slot) = egress.queue(peer, slot, now) {
                counters.drop_one(DropReason::PeerQueueFull);
                pool.give_back(slot);
            }
        }
        *cut_short = false;
        for _ in 0..egress.waiting() {
            let Some((peer, address)) = egress.rotate() else { break };
            let room = link.room(peer, address, now);
            let mut packets = Outgoing::new();
            let most = room.min(packets.capacity());
            while packets.len() < most
                && let Some(slot) = egress.pop(peer)
            {
                packets.push(slot);
            }
            *cut_short |= most > 0 && packets.len() == most;
            if !packets.is_empty() {
                link.send(peer, packets, FrameVersion::Current.header_len(), pool);
            }
        }
        link.flush()?;
        reclaim(link, pool, counters);
        Ok(())
    }
}

fn reclaim(link: &mut impl Line, pool: &mut Pool, counters: &mut Counters) {
    while let Some(completion) = link.completed() {
        counters.forwarded += u64::from(completion.sent);
        if !completion.sent {
            counters.drop_one(DropReason::ConnectionLost);
        }
        pool.give_back(completion.slot);
    }
}

impl<L: Line> Drop for Relay<L> {
    /// The pool goes only if the kernel is done with it.
    fn drop(&mut self) {
        if !self.link.let_go() {
            mem::forget(self.pool.take());
        }
    }
}
