//! The timing wheel: packets wait here until the delay that their sender chose is over.
//!
//! Time is counted in ticks of [`TICK`]. A packet belongs to the first tick that does not begin
//! before its deadline and leaves in the first turn at or after the beginning of that tick: never
//! early, and less than one tick late if turned in time.
//!
//! Two levels (Varghese and Lauck, 1987, scheme 7). The fine level has a bucket for each of the
//! next [`FINE`] ticks; the coarse level has [`COARSE`] buckets of that many ticks each. When the
//! time of a coarse bucket begins, its packets move to the fine level. A bucket is a singly linked
//! list threaded through a table with one entry per slot of the pool, so that a packet costs 16
//! bytes of wheel and nothing is allocated. Bitmaps of occupied buckets make a turn cost what
//! leaves, not the time that has passed.
//!
//! The packets of one tick leave in random order: within the resolution of the wheel, order of
//! departure says nothing about order of arrival.
//!
//! Invariant: `now` is a tick whose beginning has passed; everything that it or `leaving` holds is
//! due.
//! Invariant: the fine level holds the ticks `now..now + FINE`, and nothing else.
//! Invariant: the coarse level holds blocks after that of `now`, fewer than `COARSE` of them.
//! Invariant: a bucket's bit is set if and only if its list is not empty.

mod bitmap;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::iter::successors;

use rand_core::Rng;

use self::bitmap::Bitmap;
use crate::limits::TICK;
use crate::pool::Slot;
use crate::units::Time;

/// Buckets of the fine level, one tick each.
const FINE: u64 = 1024;
/// Buckets of the coarse level, `FINE` ticks each.
const COARSE: u64 = 256;
/// How many ticks ahead of `now` a packet can be placed.
const RANGE: u64 = FINE * (COARSE - 1);
/// The end of a list.
const NONE: u32 = u32::MAX;

/// A packet's entry in the table of lists.
#[derive(Clone, Copy, Debug)]
struct Link {
    deadline: Time,
    next: u32,
}

/// A ring of `64 * WORDS` buckets, each the head of a list.
#[derive(Debug)]
struct Level<const WORDS: usize> {
    heads: Box<[u32]>,
    occupied: Bitmap<WORDS>,
}

impl<const WORDS: usize> Level<WORDS> {
    fn new() -> Self {
        let heads = vec![NONE; WORDS * 64].into_boxed_slice();
        Self { heads, occupied: Bitmap::new() }
    }

    /// The bucket of a tick or block, by its number since the origin of time.
    const fn bucket(number: u64) -> usize {
        number as usize % (WORDS * 64)
    }

    fn push(&mut self, number: u64, raw: u32, links: &mut [Link]) {
        let bucket = Self::bucket(number);
        links[raw as usize].next = core::mem::replace(&mut self.heads[bucket], raw);
        self.occupied.set(bucket);
    }

    /// Empties the bucket of `number` and gives the head of what was its list.
    fn take(&mut self, number: u64) -> u32 {
        let bucket = Self::bucket(number);
        self.occupied.clear(bucket);
        core::mem::replace(&mut self.heads[bucket], NONE)
    }

    /// The first number at or after `from` whose bucket holds something.
    fn first(&self, from: u64) -> Option<u64> {
        self.occupied.distance(Self::bucket(from)).map(|distance| from + distance as u64)
    }
}

/// Slots in the order of their deadlines, to the tick.
#[derive(Debug)]
pub struct Wheel {
    links: Box<[Link]>,
    fine: Level<{ FINE as usize / 64 }>,
    coarse: Level<{ COARSE as usize / 64 }>,
    now: u64,
    leaving: Vec<u32>,
    len: usize,
}

impl Wheel {
    /// An empty wheel for the slots of a pool of `capacity` slots. `start` is the present.
    /// This is the only allocation: 20 bytes per slot.
    ///
    /// # Panics
    /// If there are too many slots to number them.
    pub fn new(capacity: usize, start: Time) -> Self {
        assert!(capacity < NONE as usize, "too many slots");
        Self {
            links: vec![Link { deadline: Time::ZERO, next: NONE }; capacity].into_boxed_slice(),
            fine: Level::new(),
            coarse: Level::new(),
            now: start.as_nanos() / TICK.as_nanos(),
            leaving: Vec::with_capacity(capacity),
            len: 0,
        }
    }

    /// Slots in the wheel.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes note that a packet which never waits here was due at `deadline`, for whoever measures.
    pub fn note(&mut self, slot: &Slot, deadline: Time) {
        self.links[slot.index()].deadline = deadline;
    }

    /// Keeps `slot` until `deadline`. A deadline before the tick of the last turn counts as that
    /// tick: the slot leaves in the next turn. A deadline further ahead than the wheel reaches
    /// becomes the last that it reaches: 17.1 s after the last turn, or after the earliest tick of
    /// which a limited turn has left something. [`crate::limits::DELAY_MAX`] is well below that.
    ///
    /// # Panics
    /// If the slot comes from a larger pool than the wheel was made for.
    pub fn insert(&mut self, slot: Slot, deadline: Time) {
        let last = Time::from_nanos((self.now + RANGE).saturating_mul(TICK.as_nanos()));
        let raw = slot.into_raw();
        self.links[raw as usize].deadline = deadline.min(last);
        self.place(raw);
        self.len += 1;
    }

    /// Takes out at most `limit` of the slots that are due at `now`, with their deadlines: those
    /// of earlier ticks first, those of one tick in an order that `rng` chooses. Says how many came
    /// out; when that is `limit`, there may be more, for the next turn.
    ///
    /// A turn with an earlier `now` than the last takes out only what was due then.
    pub fn turn(
        &mut self,
        now: Time,
        limit: usize,
        rng: &mut impl Rng,
        due: &mut impl FnMut(Slot, Time),
    ) -> usize {
        let target = now.as_nanos() / TICK.as_nanos();
        let mut left = limit;
        loop {
            self.gather();
            left -= self.release(left, rng, due);
            if left == 0 {
                break;
            }
            match self.first_tick() {
                Some(tick) if tick <= target => self.now = tick,
                _ => break,
            }
        }
        if self.leaving.is_empty() && self.first_tick().is_none_or(|tick| tick > target) {
            self.now = self.now.max(target);
        }
        self.len -= limit - left;
        limit - left
    }

    /// The deadline with which `slot` was last inserted, whether it is in the wheel or has left it.
    ///
    /// # Panics
    /// If the slot comes from a larger pool than the wheel was made for.
    pub fn deadline(&self, slot: &Slot) -> Time {
        self.links[slot.index()].deadline
    }

    /// When the next turn is needed; in the past if something is due already. It may find nothing
    /// to take out then, when it is a coarse bucket's time that begins.
    pub fn next_deadline(&self) -> Option<Time> {
        let tick = if self.leaving.is_empty() { self.first_tick()? } else { self.now };
        Some(Time::from_nanos(tick.saturating_mul(TICK.as_nanos())))
    }

    /// Takes everything out, due or not, in no order that means anything.
    pub fn drain(&mut self, out: &mut impl FnMut(Slot)) {
        self.leaving.drain(..).for_each(|raw| out(Slot::from_raw(raw)));
        while let Some(tick) = self.fine.first(0) {
            let head = self.fine.take(tick);
            list(&self.links, head).for_each(|raw| out(Slot::from_raw(raw)));
        }
        while let Some(block) = self.coarse.first(0) {
            let head = self.coarse.take(block);
            list(&self.links, head).for_each(|raw| out(Slot::from_raw(raw)));
        }
        self.len = 0;
    }

    /// Puts an entry whose deadline is set into its bucket.
    fn place(&mut self, raw: u32) {
        let deadline = self.links[raw as usize].deadline;
        let tick = deadline.as_nanos().div_ceil(TICK.as_nanos()).max(self.now);
        if tick - self.now < FINE {
            self.fine.push(tick, raw, &mut self.links);
        } else {
            self.coarse.push(tick / FINE, raw, &mut self.links);
        }
    }

    /// The first tick at which there is something to do, at or after `now`.
    fn first_tick(&self) -> Option<u64> {
        let fine = self.fine.first(self.now);
        let coarse = self.coarse.first(self.now / FINE).map(|block| block * FINE);
        [fine, coarse].into_iter().flatten().min()
    }

    /// Moves what is due at tick `now` to `leaving`, by way of the fine level where a block begins.
    fn gather(&mut self) {
        if self.now.is_multiple_of(FINE) {
            let mut at = self.coarse.take(self.now / FINE);
            while at != NONE {
                let next = self.links[at as usize].next;
                self.place(at);
                at = next;
            }
        }
        let head = self.fine.take(self.now);
        self.leaving.extend(list(&self.links, head));
    }

    /// Lets go of up to `limit` entries of `leaving`, drawn at random (Fisher-Yates).
    fn release(
        &mut self,
        limit: usize,
        rng: &mut impl Rng,
        due: &mut impl FnMut(Slot, Time),
    ) -> usize {
        let count = limit.min(self.leaving.len());
        for _ in 0..count {
            let raw = self.leaving.swap_remove(below(self.leaving.len(), rng));
            due(Slot::from_raw(raw), self.links[raw as usize].deadline);
        }
        count
    }
}

/// The entries of the list that begins at `head`.
fn list(links: &[Link], head: u32) -> impl Iterator<Item = u32> {
    let step = |&at: &u32| Some(links[at as usize].next).filter(|&next| next != NONE);
    successors(Some(head).filter(|&head| head != NONE), step)
}

/// A number from 0 to `bound - 1`; uneven by at most `bound / 2^64`.
fn below(bound: usize, rng: &mut impl Rng) -> usize {
    match bound {
        1 => 0,
        _ => ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize,
    }
}
