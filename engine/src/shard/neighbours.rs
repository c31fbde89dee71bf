//! A shard among those of its node: who has more than he can do leaves packets with who has time.
//!
//! The system gives each connection to one shard. So that one heavy connection is not limited to
//! one core, a shard with two batches or more ready leaves half of them in the berth of a neighbour
//! that has at most one batch to do ([`crate::berth`]). The packets keep the time of their arrival,
//! so that nothing changes about their delays, and their memory goes with them (see
//! [`Pool::swap`]). A neighbour that sleeps is woken, once for all of them; one that is awake looks
//! at its door in every turn. Shards that do not hand over write nothing that others read, save
//! what stands on their doors.
//!
//! Invariant: a packet is counted as received by the shard where it arrived, as handed over there
//! and as taken over at the neighbour, and as ended where it ends.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Link, Ready, Shard, Source, Wait};
use crate::berth::{Berth, Claim, Note};
use crate::counters::DropReason;
use crate::intake::Arrival;
use crate::limits::{HANDOVER_MAX, NEIGHBOURS_MAX};
use crate::pool::{Capacity, Cell, Pool};
use crate::units::Time;
use crate::wire::frame::KeyRotation;
use crate::wire::geometry::PacketSize;

/// A shard's place among the shards of its node, and its packet memory.
#[derive(Debug)]
pub struct Seat {
    pub(super) pool: Pool,
    pub(super) neighbours: Option<Neighbours>,
}

impl Seat {
    /// The place of the only shard of a node, with memory for `capacity` packets of each size.
    pub fn alone(capacity: Capacity) -> Self {
        Self { pool: Pool::new(capacity), neighbours: None }
    }

    /// The places of `count` shards, in their order, with memory for `capacity` packets of each
    /// size at each of them. They can hand packets over to each other.
    pub fn several(capacity: Capacity, count: usize) -> Vec<Self> {
        if count == 1 {
            return [Self::alone(capacity)].into();
        }
        let berths: Arc<[Berth]> = (0..count).map(|_| Berth::new(HANDOVER_MAX)).collect();
        let seat = |(own, pool)| {
            let berths = Arc::clone(&berths);
            Self { pool, neighbours: Some(Neighbours { berths, own, wants: false, asleep: false }) }
        };
        Pool::several(capacity, count).into_iter().enumerate().map(seat).collect()
    }

    /// Where the memory lies that the packets of all seats share; see [`Pool::memory`].
    pub fn memory(&self) -> (*const u8, usize) {
        self.pool.memory()
    }
}

/// The berths of a node, and what stands on the own one's door.
#[derive(Debug)]
pub(super) struct Neighbours {
    berths: Arc<[Berth]>,
    own: usize,
    wants: bool,
    asleep: bool,
}

impl Neighbours {
    fn own(&self) -> &Berth {
        &self.berths[self.own]
    }

    /// Whether packets wait in the own berth.
    pub(super) fn have_left_something(&self) -> bool {
        self.own().is_full()
    }

    fn say(&mut self, wants: bool) {
        if self.wants != wants {
            self.own().want(wants);
            self.wants = wants;
        }
    }

    /// The first neighbour that has time, from the own place on, and the right to its berth.
    fn claim(&self) -> Option<(usize, Claim<'_>)> {
        let count = self.berths.len();
        (1..count.min(NEIGHBOURS_MAX + 1))
            .map(|step| (self.own + step) % count)
            .find_map(|other| Some((other, self.berths[other].claim()?)))
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.own().leave();
    }
}

impl Shard {
    /// What the link may wait for, told to the source and to the neighbours as well.
    /// [`Shard::rise`] ends it.
    pub(super) fn rest(&mut self, source: &mut impl Source) -> Wait {
        let mut wait = self.deadline();
        if wait != Wait::No && !source.rest() {
            wait = Wait::No;
        }
        let has_room = self.has_room();
        let Some(neighbours) = &mut self.neighbours else { return wait };
        if wait != Wait::No {
            neighbours.say(has_room);
        }
        neighbours.asleep = wait != Wait::No && neighbours.own().sleep();
        if neighbours.asleep { wait } else { Wait::No }
    }

    /// The link has come back.
    pub(super) fn rise(&mut self, source: &mut impl Source) {
        source.rise();
        if let Some(neighbours) = &mut self.neighbours
            && neighbours.asleep
        {
            neighbours.own().wake();
            neighbours.asleep = false;
        }
    }

    /// Leaves packets with neighbours that have time, as long as there are two batches or more.
    pub fn share(&mut self, link: &mut impl Link) {
        let has_room = self.has_room();
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.say(has_room && self.ready.len() <= self.batch);
        }
        while self.ready.len() >= 2 * self.batch
            && let Some(neighbours) = &self.neighbours
            && let Some((other, mut claim)) = neighbours.claim()
        {
            let wanted = self.ready.len() / 2;
            let count = (wanted - wanted % self.batch).min(claim.room());
            let mut used = [0; PacketSize::ALL.len()];
            let mut left = 0;
            while left < count
                && let Some(ready) = self.ready.pop_back()
            {
                let size = self.pool.size(&ready.arrival.slot);
                let index = used[size.index()];
                if index == self.pool.cells(size) {
                    self.ready.push_back(ready);
                    break;
                }
                used[size.index()] += 1;
                claim.put(note(&ready, size, index));
                self.pool.swap(&ready.arrival.slot, Cell { of: other, index });
                self.pool.give_back(ready.arrival.slot);
                left += 1;
            }
            self.counters.handed_over += left as u64;
            if claim.end() {
                link.wake(other);
            }
            if left == 0 {
                return;
            }
        }
    }

    /// Whether there is a slot for whatever a neighbour may leave.
    fn has_room(&self) -> bool {
        let free = self.pool.free_by_size();
        PacketSize::ALL.iter().all(|&size| free[size.index()] >= self.pool.cells(size))
    }

    /// Takes what neighbours have left.
    pub(super) fn take_over(&mut self) {
        let Self { pool, ready, counters, neighbours, .. } = self;
        let Some(neighbours) = neighbours else { return };
        let before = counters.taken_over;
        neighbours.own().take(|note| {
            let (size, index, rotation, at) = read(note);
            counters.taken_over += 1;
            match pool.take(size) {
                Some(slot) => {
                    pool.swap(&slot, Cell { of: neighbours.own, index });
                    ready.push_back(Ready { arrival: Arrival { slot, rotation }, at });
                }
                None => counters.drop_one(DropReason::PoolEmpty),
            }
        });
        self.brought_new |= counters.taken_over > before;
    }

    /// Leaves the circle of neighbours: takes what they have left, and nothing any more, and hands
    /// nothing over. For a shard that stops.
    pub fn leave(&mut self) {
        if let Some(neighbours) = &self.neighbours {
            neighbours.own().leave();
        }
        self.take_over();
        self.neighbours = None;
    }
}

/// What the neighbour must know about a packet that lies in cell `index` for its size.
const fn note(ready: &Ready, size: PacketSize, index: usize) -> Note {
    let rotation = ready.arrival.rotation.byte() as u64;
    [ready.at.as_nanos(), (index as u64) << 16 | (size.index() as u64) << 8 | rotation]
}

/// Undoes [`note`].
fn read([at, packet]: Note) -> (PacketSize, usize, KeyRotation, Time) {
    let [rotation, size, ..] = packet.to_le_bytes();
    let rotation = KeyRotation::from_byte(rotation).expect("a note names a rotation");
    let size = PacketSize::ALL[usize::from(size)];
    (size, (packet >> 16) as usize, rotation, Time::from_nanos(at))
}
