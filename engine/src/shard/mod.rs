//! The shard: one core's share of a node, behind seven verbs.
//!
//! `ingest` takes what arrived, `originate` what begins its way here, `share` leaves packets with
//! neighbours that have time, `step` opens and strips a batch, `depart` turns the wheel and hands
//! over what is due, `reclaim` takes slots back, `deadline` says when to come again. A shell calls
//! them in that order, once a turn ([`turn`]).
//!
//! A full batch runs at once, a partial one as soon as a turn brings nothing new, save for packets
//! that would have a vector of the kernels to themselves: under load these wait a moment. One batch
//! runs per turn, so that the wheel is never kept waiting for longer than a batch takes.
//!
//! Invariant: every slot of the pool is free, half-filled by the link, ready, in the wheel, queued
//! or in flight, and `Shard::held` counts them.

mod batch;
mod filling;
mod keys;
mod link;
mod neighbours;
mod originate;
mod turn;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use chacha20::ChaCha8Rng;
use chacha20::rand_core::SeedableRng;

use crate::counters::{Counters, DropReason};
use crate::crypto::Kernels;
use crate::egress::{Egress, NextHops, PeerId};
use crate::histogram::Histograms;
use crate::intake::{Arrival, Inbox, Intake};
use crate::limits::{BATCH_MAX, DUE_MAX, HANDOVER_MAX, READY_MAX};
use crate::pool::{Capacity, Pool, Slot};
use crate::sphinx::Peeler;
use crate::units::Time;
use crate::wheel::Wheel;
use crate::wire::frame::FrameVersion;

use filling::Filling;
pub use keys::{Keys, NodeKey};
pub use link::{
    Clock, Completion, Delivery, Link, NoSource, Origin, Outgoing, Sink, Source, Undelivered, Wait,
};
use neighbours::Neighbours;
pub use neighbours::Seat;
pub use turn::turn;

/// What becomes of packets whose path ends at this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalHops {
    /// They are dropped: a mix node is no one's final hop.
    Drop,
    /// They are handed to the [`Sink`].
    Deliver,
}

/// How a shard is built. Sizes are fixed for its lifetime.
#[derive(Clone, Debug)]
pub struct Config {
    /// Packets of each size that it can hold.
    pub capacity: Capacity,
    /// Packets per batch, 1 to [`BATCH_MAX`]; what the kernels do best.
    pub batch: usize,
    /// Frame version that it sends.
    pub frames: FrameVersion,
    /// What becomes of packets that end here.
    pub final_hops: FinalHops,
    /// The tier of crypto kernels.
    pub kernels: Kernels,
    /// Seed of the generator that mixes packets which are due in the same tick.
    pub seed: [u8; 32],
}

/// A packet that waits for its batch.
#[derive(Debug)]
struct Ready {
    arrival: Arrival,
    at: Time,
}

/// One core's packets and the machinery that moves them.
#[derive(Debug)]
pub struct Shard {
    pool: Pool,
    inbox: Inbox,
    ready: VecDeque<Ready>,
    brought_new: bool,
    filling: Filling,
    peeler: Peeler,
    keys: Keys,
    wheel: Wheel,
    bound_for: Box<[Option<PeerId>]>,
    egress: Egress,
    in_flight: usize,
    /// Whether a next hop got as much as one send holds. The link may take more at once, and need
    /// not say so.
    cut_short: bool,
    counters: Counters,
    histograms: Histograms,
    random: ChaCha8Rng,
    batch: usize,
    frames: FrameVersion,
    final_hops: FinalHops,
    neighbours: Option<Neighbours>,
}

/// Where a shard's slots are, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// Arrived, waiting for a batch.
    pub ready: usize,
    /// In the wheel, waiting for their time.
    pub delayed: usize,
    /// Due, waiting for their next hop.
    pub queued: usize,
    /// With the link, being sent.
    pub in_flight: usize,
}

impl Held {
    /// All of them.
    pub const fn total(&self) -> usize {
        self.ready + self.delayed + self.queued + self.in_flight
    }
}

impl Shard {
    /// Allocates everything the only shard of a node will ever need.
    ///
    /// # Panics
    /// If `config.batch` is zero or exceeds [`BATCH_MAX`].
    pub fn new(config: &Config, keys: Keys, start: Time) -> Self {
        Self::seated(Seat::alone(config.capacity), config, keys, start)
    }

    /// A shard at its place among others. Its capacity is that of the seat.
    ///
    /// # Panics
    /// If `config.batch` is zero or exceeds [`BATCH_MAX`].
    pub fn seated(seat: Seat, config: &Config, keys: Keys, start: Time) -> Self {
        assert!((1..=BATCH_MAX).contains(&config.batch), "batch out of range");
        let Seat { pool, neighbours } = seat;
        let capacity = pool.capacity();
        Self {
            pool,
            inbox: Inbox::default(),
            ready: VecDeque::with_capacity(READY_MAX + HANDOVER_MAX),
            brought_new: false,
            filling: Filling::new(config.kernels.x25519_lanes, start),
            peeler: Peeler::new(config.kernels),
            keys,
            wheel: Wheel::new(capacity, start),
            bound_for: vec![None; capacity].into_boxed_slice(),
            egress: Egress::new(capacity),
            in_flight: 0,
            cut_short: false,
            counters: Counters::default(),
            histograms: Histograms::default(),
            random: ChaCha8Rng::from_seed(config.seed),
            batch: config.batch,
            frames: config.frames,
            final_hops: config.final_hops,
            neighbours,
        }
    }

    /// What a link needs in order to receive: as much room as there is for packets.
    pub fn intake(&mut self) -> Intake<'_> {
        self.inbox.set_limit(self.room());
        Intake { pool: &mut self.pool, inbox: &mut self.inbox, counters: &mut self.counters }
    }

    /// Takes what the link put into the inbox, whose delays count from `now`, and what neighbours
    /// have left, whose delays count from when it arrived there.
    pub fn ingest(&mut self, now: Time) {
        assert!(self.inbox.len() <= self.room(), "a link puts in what the inbox has room for");
        self.brought_new = !self.inbox.is_empty();
        let before = self.ready.len();
        self.ready.extend(self.inbox.drain().map(|arrival| Ready { arrival, at: now }));
        self.take_over();
        self.filling.note(self.ready.len() - before, now);
    }

    /// Runs a batch if it is full, or if nothing new came and what is ready need not wait for
    /// more; says whether one ran, which takes time.
    pub fn step(&mut self, now: Time, sink: &mut impl Sink) -> bool {
        let count = self.due(now);
        if count > 0 {
            // A deadline reaches as far as the wheel does from its last turn, and a shard that had
            // nothing to do did not turn it.
            self.turn_wheel(now);
            self.run_batch(count, now, sink);
        }
        count > 0
    }

    /// How many packets are to be opened now.
    fn due(&mut self, now: Time) -> usize {
        let Self { ready, filling, .. } = self;
        if ready.len() >= self.batch {
            return self.batch;
        }
        if self.brought_new { 0 } else { filling.part(ready.len(), now, |nth| ready[nth].at) }
    }

    /// Turns the wheel to `now`, lets go of what has waited too long for its next hop, and hands
    /// over the rest, peer by peer, as much as the link has room for.
    pub fn depart(&mut self, now: Time, link: &mut impl Link) {
        self.cut_short = false;
        self.turn_wheel(now);
        while let Some(slot) = self.egress.pop_expired(now) {
            self.drop_slot(slot, DropReason::PeerUnreachable);
        }
        for _ in 0..self.egress.waiting() {
            let Some((peer, address)) = self.egress.rotate() else { return };
            let room = link.room(peer, address, now);
            let mut packets = Outgoing::new();
            let most = room.min(packets.capacity());
            while packets.len() < most {
                let Some(slot) = self.egress.pop(peer) else { break };
                self.histograms.lateness.note(now.since(self.wheel.deadline(&slot)));
                packets.push(slot);
            }
            self.cut_short |= most > 0 && packets.len() == most;
            if !packets.is_empty() {
                self.egress.reached(peer);
                self.in_flight += packets.len();
                link.send(peer, packets, self.frames.header_len(), &mut self.pool);
            }
        }
    }

    /// Takes back a slot that the link is done with.
    pub fn reclaim(&mut self, completion: Completion) {
        self.in_flight -= 1;
        if completion.sent {
            self.counters.forwarded += 1;
            self.pool.give_back(completion.slot);
        } else {
            self.drop_slot(completion.slot, DropReason::ConnectionLost);
        }
    }

    /// When the shard must be stepped again at the latest.
    pub fn deadline(&self) -> Wait {
        let left = self.neighbours.as_ref().is_some_and(Neighbours::have_left_something);
        let waits = self.filling.waits();
        if left || self.cut_short || (!self.ready.is_empty() && waits.is_none()) {
            return Wait::No;
        }
        let until = |time: Option<Time>| time.map_or(Wait::Forever, Wait::Until);
        until(waits).min(until(self.wheel.next_deadline())).min(until(self.egress.next_expiry()))
    }

    /// Changes the keys. Packets whose batch has not run yet are opened with these, too, so that
    /// the old key should stay among them, as the secondary one, while packets for it may come.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Changes what becomes of packets that end here, from the next batch on.
    pub fn set_final_hops(&mut self, final_hops: FinalHops) {
        self.final_hops = final_hops;
    }

    /// Changes which addresses may be next hops; at first all may.
    pub fn set_next_hops(&mut self, next_hops: NextHops) {
        self.egress.set_next_hops(next_hops);
    }

    /// What it has counted so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What it has measured so far.
    pub const fn histograms(&self) -> &Histograms {
        &self.histograms
    }

    /// Slots that are free, by size.
    pub fn pool_free(&self) -> Capacity {
        self.pool.free_by_size()
    }

    /// Next hops that it knows at present.
    pub const fn next_hops(&self) -> usize {
        self.egress.known()
    }

    /// Where its packets are.
    pub fn held(&self) -> Held {
        Held {
            ready: self.ready.len(),
            delayed: self.wheel.len(),
            queued: self.egress.len(),
            in_flight: self.in_flight,
        }
    }

    /// Drops everything that is not in flight and says how much that was. For a node that stops.
    pub fn abandon(&mut self) -> usize {
        let held = self.held();
        while let Some(Ready { arrival, .. }) = self.ready.pop_front() {
            self.drop_slot(arrival.slot, DropReason::Stopping);
        }
        let Self { wheel, egress, bound_for, pool, counters, .. } = self;
        wheel.drain(&mut |slot| {
            if let Some(peer) = bound_for[slot.index()].take() {
                egress.forget(peer);
            }
            counters.drop_one(DropReason::Stopping);
            pool.give_back(slot);
        });
        while let Some((peer, _)) = self.egress.rotate() {
            while let Some(slot) = self.egress.pop(peer) {
                self.drop_slot(slot, DropReason::Stopping);
            }
        }
        held.total() - held.in_flight
    }

    /// Asserts the two conservation laws: no slot is lost, and no packet is uncounted.
    /// `assembling` is what [`Link::assembling`] says.
    ///
    /// # Panics
    /// If a law is broken, which is a defect of this crate or of the link.
    pub fn audit(&self, assembling: usize) {
        let held = self.held().total();
        let lent = self.pool.capacity() - self.pool.free();
        assert_eq!(lent, held + assembling, "slots lent out and slots accounted for");
        let c = &self.counters;
        let ended = c.forwarded + c.delivered + c.dropped_total() + c.handed_over;
        let came = c.received + c.taken_over + c.originated;
        assert_eq!(came, ended + held as u64, "packets received and accounted for");
    }

    /// How many more packets from the link can become ready. Those from neighbours come on top.
    fn room(&self) -> usize {
        READY_MAX.saturating_sub(self.ready.len())
    }

    fn turn_wheel(&mut self, now: Time) {
        let Self { wheel, egress, bound_for, pool, counters, random, .. } = self;
        wheel.turn(now, DUE_MAX, random, &mut |slot, _deadline| {
            let peer = bound_for[slot.index()].take().expect("a delayed packet has a next hop");
            if let Err(slot) = egress.queue(peer, slot, now) {
                counters.drop_one(DropReason::PeerQueueFull);
                pool.give_back(slot);
            }
        });
    }

    fn drop_slot(&mut self, slot: Slot, reason: DropReason) {
        self.counters.drop_one(reason);
        self.pool.give_back(slot);
    }
}
