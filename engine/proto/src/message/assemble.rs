//! Putting fragments together again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use phix_engine::units::{Span, Time};

use super::fragment::{Fragment, Link, SetId};

/// What an entry of the tables takes beside the payload, about.
const OVERHEAD: usize = 64;

/// How much an [`Assembler`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyLimits {
    /// Bytes of fragments that wait for others. Beyond that, the sets for which nothing has come
    /// for the longest time are given up.
    pub bytes: usize,
    /// Sets that are not complete, or wait for others of their message.
    pub sets: usize,
    /// Complete messages whose numbers are remembered, so that a fragment which is sent again
    /// because its acknowledgement was lost starts no new one.
    pub remembered: usize,
    /// How long a set waits for its next fragment.
    pub timeout: Span,
}

impl Default for AssemblyLimits {
    /// 64 MiB, 4096 sets, 16384 numbers, and the 30 minutes of stock clients.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            sets: 4096,
            remembered: 16384,
            timeout: Span::from_millis(30 * 60 * 1000),
        }
    }
}

/// What came of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// It waits for others.
    Waiting,
    /// It was the last one: the message, padded.
    Complete(Vec<u8>),
    /// It, or the message that it belongs to, has come before.
    Duplicate,
    /// It contradicts another fragment of the same set.
    Contradiction,
}

/// Fragments on their way to be messages.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblyLimits,
    sets: BTreeMap<SetId, Set>,
    /// Every set, the one for which nothing has come for the longest time first.
    by_age: BTreeSet<(Time, SetId)>,
    bytes: usize,
    done: BTreeSet<SetId>,
    done_in_order: VecDeque<SetId>,
    given_up: u64,
}

#[derive(Debug)]
struct Set {
    total: u8,
    fragments: BTreeMap<u8, Vec<u8>>,
    previous: Option<SetId>,
    next: Option<SetId>,
    bytes: usize,
    touched: Time,
}

impl Set {
    fn is_complete(&self) -> bool {
        self.fragments.len() == usize::from(self.total)
    }
}

impl Assembler {
    /// An assembler that keeps no more than `limits`.
    pub fn new(limits: AssemblyLimits) -> Self {
        Self {
            limits,
            sets: BTreeMap::new(),
            by_age: BTreeSet::new(),
            bytes: 0,
            done: BTreeSet::new(),
            done_in_order: VecDeque::new(),
            given_up: 0,
        }
    }

    /// Takes in a fragment that came at `now`.
    pub fn insert(&mut self, fragment: Fragment, now: Time) -> Assembled {
        let id = fragment.set();
        if self.done.contains(&id) {
            return Assembled::Duplicate;
        }
        match self.sets.get(&id) {
            Some(set) if set.total != fragment.total() => return Assembled::Contradiction,
            Some(set) if set.fragments.contains_key(&fragment.position) => {
                return Assembled::Duplicate;
            }
            _ => {}
        }
        self.keep(fragment, now);
        let complete = match self.message_of(id) {
            Some(sets) => Assembled::Complete(self.take(&sets)),
            None => Assembled::Waiting,
        };
        self.shrink();
        complete
    }

    /// Gives up the sets for which nothing has come for the time-out; how many those were.
    pub fn expire(&mut self, now: Time) -> usize {
        let before = self.sets.len();
        while let Some((touched, id)) = self.by_age.first().copied()
            && now.since(touched) >= self.limits.timeout
        {
            self.give_up(id);
        }
        before - self.sets.len()
    }

    /// When [`Assembler::expire`] has something to do next, if nothing comes until then.
    pub fn expires_at(&self) -> Option<Time> {
        self.by_age.first().map(|(touched, _)| touched.after(self.limits.timeout))
    }

    /// Bytes of fragments that wait for others.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets given up so far, for want of fragments or of room.
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    fn keep(&mut self, fragment: Fragment, now: Time) {
        let id = fragment.set();
        let set = self.sets.entry(id).or_insert_with(|| Set {
            total: fragment.total(),
            fragments: BTreeMap::new(),
            previous: None,
            next: None,
            bytes: 0,
            touched: now,
        });
        self.by_age.remove(&(set.touched, id));
        set.touched = now;
        self.by_age.insert((now, id));
        match fragment.link() {
            Some(Link::Previous(other)) => set.previous = Some(other),
            Some(Link::Next(other)) => set.next = Some(other),
            None => {}
        }
        let bytes = fragment.payload.len() + OVERHEAD;
        set.bytes += bytes;
        self.bytes += bytes;
        set.fragments.insert(fragment.position, fragment.payload);
    }

    /// The sets of the message that `id` belongs to, in order, if all of them are complete.
    fn message_of(&self, id: SetId) -> Option<Vec<SetId>> {
        let complete = |id: SetId| self.sets.get(&id).filter(|set| set.is_complete());
        let mut first = id;
        // Links may lead round in a circle, but not through more sets than there are.
        for _ in 0..self.sets.len() {
            let Some(previous) = complete(first)?.previous else { break };
            first = previous;
        }
        let mut sets = Vec::new();
        let (mut at, mut from) = (Some(first), None);
        while let Some(id) = at {
            let set = complete(id)?;
            if set.previous != from || sets.len() == self.sets.len() {
                return None;
            }
            sets.push(id);
            (at, from) = (set.next, Some(id));
        }
        Some(sets)
    }

    /// Takes the payload of `sets` out and remembers that they have come.
    fn take(&mut self, sets: &[SetId]) -> Vec<u8> {
        let mut message = Vec::new();
        for id in sets {
            let Some(set) = self.remove(*id) else { continue };
            set.fragments.values().for_each(|payload| message.extend(payload));
            self.remember(*id);
        }
        message
    }

    fn remember(&mut self, id: SetId) {
        if self.done.insert(id) {
            self.done_in_order.push_back(id);
        }
        while self.done_in_order.len() > self.limits.remembered {
            if let Some(oldest) = self.done_in_order.pop_front() {
                self.done.remove(&oldest);
            }
        }
    }

    /// Gives up the oldest sets until what is left fits.
    fn shrink(&mut self) {
        while self.bytes > self.limits.bytes || self.sets.len() > self.limits.sets {
            let Some((_, id)) = self.by_age.first().copied() else { break };
            self.give_up(id);
        }
    }

    fn give_up(&mut self, id: SetId) {
        if self.remove(id).is_some() {
            self.given_up += 1;
        }
    }

    fn remove(&mut self, id: SetId) -> Option<Set> {
        let set = self.sets.remove(&id)?;
        self.by_age.remove(&(set.touched, id));
        self.bytes -= set.bytes;
        Some(set)
    }
}
