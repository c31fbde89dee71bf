//! A berth: where a shard's neighbours leave packets for it.
//!
//! The shard that a berth belongs to says on its door whether it wants packets, and whether it
//! sleeps. A neighbour with more than it can do looks at the door, claims the berth, leaves notes
//! about packets in it, and learns whether the owner must be woken. The door is one word; what it
//! says changes a few times per batch at most, and only by atomic operations on that word, so that
//! all of them stand in one order, the same for everyone. From this follows:
//!
//! * The notes belong to one thread at a time: to a neighbour from its claim to the end of the
//!   claim, then to the owner until it has taken them, then to nobody until the next claim.
//! * No wake-up is lost. The end of a claim says FULL, falling asleep says ASLEEP, and each sees
//!   which of the two came first: if the owner fell asleep first, the neighbour wakes it; if not,
//!   the owner sees that its berth is full, and does not sleep.
//! * Nothing is left behind. Once GONE stands on the door nobody can claim the berth, and the owner
//!   waits for the end of a claim that came before.
//!
//! The models try the orders of events that the memory model allows.

#[cfg(test)]
mod models;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::sync::atomic::AtomicU64;

use crate::atomic::{Ordering, Word};

/// The owner has less than a batch of its own to do.
const WANTS: u64 = 1;
/// The owner waits for something to happen.
const ASLEEP: u64 = 2;
/// A neighbour is writing notes.
const CLAIMED: u64 = 4;
/// There are notes for the owner.
const FULL: u64 = 8;
/// The owner takes nothing any more.
const GONE: u64 = 16;
/// The number of notes stands above the marks.
const COUNT: u32 = 8;

/// What one neighbour tells the owner about one packet.
pub(crate) type Note = [u64; 2];

/// The door and the notes of one shard.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Berth<W: Word = AtomicU64> {
    door: W,
    notes: Box<[[W; 2]]>,
}

impl<W: Word> Berth<W> {
    /// An empty berth with `places` for notes, whose owner wants nothing yet.
    pub(crate) fn new(places: usize) -> Self {
        let note = |_| [W::new(0), W::new(0)];
        Self { door: W::new(0), notes: (0..places).map(note).collect() }
    }

    /// The owner says whether it wants packets. To be called when that changes.
    pub(crate) fn want(&self, wants: bool) {
        match wants {
            true => self.door.fetch_or(WANTS, Ordering::Relaxed),
            false => self.door.fetch_and(!WANTS, Ordering::Relaxed),
        };
    }

    /// Whether there are notes for the owner.
    pub(crate) fn is_full(&self) -> bool {
        self.door.load(Ordering::Relaxed) & FULL != 0
    }

    /// The owner says that it is going to wait. False if there are notes: then it must not. If
    /// notes come from now on, the neighbour is told to wake it.
    pub(crate) fn sleep(&self) -> bool {
        let before = self.door.fetch_or(ASLEEP, Ordering::Relaxed);
        if before & FULL != 0 {
            self.wake();
        }
        before & FULL == 0
    }

    /// The owner waits no longer.
    pub(crate) fn wake(&self) {
        self.door.fetch_and(!ASLEEP, Ordering::Relaxed);
    }

    /// The owner takes all notes, if there are any, in the order in which they were left.
    pub(crate) fn take(&self, mut each: impl FnMut(Note)) {
        let door = self.door.load(Ordering::Acquire);
        if door & FULL == 0 {
            return;
        }
        let count = (door >> COUNT) as usize;
        for [one, two] in &self.notes[..count] {
            each([one.load(Ordering::Relaxed), two.load(Ordering::Relaxed)]);
        }
        self.door.fetch_and(!(FULL | u64::MAX << COUNT), Ordering::Release);
    }

    /// The owner takes nothing more. Afterwards no claim is open, and there are notes or none, but
    /// no new ones. Waits for the end of a claim, which is a matter of microseconds.
    pub(crate) fn leave(&self) {
        self.door.fetch_or(GONE, Ordering::Relaxed);
        while self.door.load(Ordering::Relaxed) & CLAIMED != 0 {
            W::pause();
        }
    }

    /// A neighbour claims the berth. Nothing if the owner wants nothing, or if somebody else was
    /// here first.
    pub(crate) fn claim(&self) -> Option<Claim<'_, W>> {
        let mut door = self.door.load(Ordering::Relaxed);
        while door & (WANTS | CLAIMED | FULL | GONE) == WANTS {
            let claimed = door | CLAIMED;
            match self.door.compare_exchange(door, claimed, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Claim { berth: self, count: 0 }),
                Err(other) => door = other,
            }
        }
        None
    }
}

/// The right of one neighbour to leave notes in a berth. Dropping it ends it, too, but wakes
/// nobody.
#[derive(Debug)]
#[must_use = "the owner may have to be woken"]
pub(crate) struct Claim<'a, W: Word = AtomicU64> {
    berth: &'a Berth<W>,
    count: usize,
}

impl<W: Word> Claim<'_, W> {
    /// How many more notes there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.berth.notes.len() - self.count
    }

    /// Leaves a note.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn put(&mut self, note: Note) {
        let places = &self.berth.notes[self.count];
        places.iter().zip(note).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        self.count += 1;
    }

    /// Ends the claim. True if the owner sleeps and must be woken: there are notes for it.
    pub(crate) fn end(self) -> bool {
        let door = self.close();
        core::mem::forget(self);
        door & (ASLEEP | FULL) == ASLEEP | FULL
    }

    /// Lets go of the door, and gives what it says then.
    fn close(&self) -> u64 {
        let full = if self.count > 0 { FULL | (self.count as u64) << COUNT } else { 0 };
        // CLAIMED stands on the door, FULL and a count do not: so this clears one, sets the others.
        let change = CLAIMED | full;
        self.berth.door.fetch_xor(change, Ordering::Release) ^ change
    }
}

impl<W: Word> Drop for Claim<'_, W> {
    fn drop(&mut self) {
        self.close();
    }
}
