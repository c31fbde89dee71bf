//! How long connections in may take: over a packet, and over nothing at all. The same for both
//! links.
//!
//! Nothing is timed by packet or by connection: each connection has two time stamps, and one
//! [`Patience`] knows when it is worth looking at them all, at most once a second.

use phix_engine::units::{Span, Time};

use crate::slab::Key;

/// How long a packet may hold its slot before its last byte is there. Whoever sends the largest
/// one at four kilobytes per second still makes it.
const PACKET_LIMIT: Span = Span::from_millis(10_000);
/// How long a connection may bring no whole packet. The stock software connects again by itself.
const IDLE_LIMIT: Span = Span::from_millis(600_000);
/// The same where it takes the place of another connection.
const CROWDED_LIMIT: Span = Span::from_millis(60_000);
/// How long a handshake of Noise may take; what the stock software allows.
const GREETING_LIMIT: Span = Span::from_millis(1_500);
/// How long lies between two looks at all connections, at least.
const LOOK_EVERY: Span = Span::from_millis(1_000);

/// When a connection in last did what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Since when the present packet has held a slot.
    began: Option<Time>,
    /// When the last packet was whole, or the connection new. Bytes that make no packet are no
    /// progress: with a byte now and then a connection could keep its place for ever.
    whole: Time,
    /// Whether a handshake must be over before anything else.
    greeting: bool,
}

impl Progress {
    pub(crate) const fn new(now: Time) -> Self {
        Self { began: None, whole: now, greeting: false }
    }

    /// The same of a connection that begins with a handshake.
    pub(crate) const fn greeting(now: Time) -> Self {
        Self { greeting: true, ..Self::new(now) }
    }

    /// Takes note that the handshake is over.
    pub(crate) const fn greeted(&mut self) {
        self.greeting = false;
    }

    /// Takes note of new bytes: whether packets ended with them, and whether one holds a slot now.
    pub(crate) fn note(&mut self, ended: bool, holds: bool, now: Time) {
        if ended {
            *self = Self::new(now);
        }
        self.began = holds.then(|| self.began.unwrap_or(now));
    }

    fn limit(&self) -> Time {
        let idle = self.whole.after(if self.greeting { GREETING_LIMIT } else { IDLE_LIMIT });
        self.began.map_or(idle, |began| began.after(PACKET_LIMIT).min(idle))
    }
}

/// A link's patience with its connections in.
///
/// Invariant: no connection's limit lies before `look`, save those that a look has just passed.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    look: Option<Time>,
    /// No look comes before this: looks are a second apart, whatever connections do in between.
    not_before: Time,
    /// A search for idle connections in vain is not repeated before.
    crowded_until: Time,
}

impl Patience {
    /// Takes note of a connection that is new or has got bytes.
    pub(crate) fn watch(&mut self, progress: &Progress) {
        let limit = progress.limit().max(self.not_before);
        self.look = Some(self.look.map_or(limit, |look| look.min(limit)));
    }

    /// When it is worth calling [`Patience::overdue`].
    pub(crate) const fn ends(&self) -> Option<Time> {
        self.look
    }

    /// The connections whose time is over, save those that wait for `ours`: where bytes lie on
    /// this side, the sender is not to blame.
    pub(crate) fn overdue(
        &mut self,
        now: Time,
        all: impl Iterator<Item = (Key, Progress)>,
        ours: impl Fn(Key) -> bool,
    ) -> Vec<Key> {
        if self.look.is_none_or(|look| now < look) {
            return Vec::new();
        }
        self.look = None;
        self.not_before = now.after(LOOK_EVERY);
        let mut overdue = Vec::new();
        for (key, progress) in all {
            if progress.limit() <= now && !ours(key) {
                overdue.push(key);
            } else {
                self.watch(&progress);
            }
        }
        overdue
    }

    /// The connection that has been idle for the longest, if that is long enough to close it in
    /// favour of a new one.
    pub(crate) fn idlest(
        &mut self,
        now: Time,
        all: impl Iterator<Item = (Key, Progress)>,
        ours: impl Fn(Key) -> bool,
    ) -> Option<Key> {
        if now < self.crowded_until {
            return None;
        }
        let idle = |(_, progress): &(Key, Progress)| progress.whole.after(CROWDED_LIMIT) <= now;
        let candidates = all.filter(idle).filter(|(key, _)| !ours(*key));
        let found = candidates.min_by_key(|(_, progress)| progress.whole).map(|(key, _)| key);
        if found.is_none() {
            self.crowded_until = now.after(LOOK_EVERY);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    const fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    fn keys<const N: usize>() -> [Key; N] {
        let mut slab = Slab::new(N);
        std::array::from_fn(|index| slab.insert(index).unwrap())
    }

    #[test]
    fn a_packet_has_ten_seconds_from_its_first_byte_to_its_last() {
        let [slow, good] = keys();
        let (mut patience, mut one, mut two) =
            (Patience::default(), Progress::new(at(0)), Progress::new(at(0)));
        patience.watch(&one);
        assert_eq!(patience.ends(), Some(at(600_000)));
        // Further bytes of the same packet win no time; the next packet has its own.
        for now in [1000, 4000, 10_900] {
            one.note(false, true, at(now));
            two.note(true, true, at(now));
            patience.watch(&one);
            patience.watch(&two);
        }
        assert_eq!(patience.ends(), Some(at(11_000)));
        let mut look = |now, ours: bool| {
            patience.overdue(at(now), [(slow, one), (good, two)].into_iter(), |_| ours)
        };
        assert_eq!(look(10_999, false), []);
        // Bytes that wait on this side are looked at again after a second.
        assert_eq!(look(11_000, true), []);
        assert_eq!(look(11_999, false), []);
        assert_eq!(look(12_000, false), [slow]);
        assert_eq!(look(20_899, false), []);
    }

    #[test]
    fn connections_without_packets_end_after_ten_minutes() {
        let [quiet, busy] = keys();
        let (mut patience, mut one, mut two) =
            (Patience::default(), Progress::new(at(0)), Progress::new(at(0)));
        patience.watch(&one);
        // Parts of a header hold no slot, and win no time.
        one.note(false, false, at(500_000));
        two.note(true, false, at(500_000));
        let all = [(quiet, one), (busy, two)];
        assert_eq!(patience.overdue(at(599_999), all.into_iter(), |_| false), []);
        assert_eq!(patience.overdue(at(600_000), all.into_iter(), |_| false), [quiet]);
        assert_eq!(patience.ends(), Some(at(1_100_000)));
        assert_eq!(patience.overdue(at(1_100_000), std::iter::empty(), |_| false), []);
        assert_eq!(patience.ends(), None);
    }

    #[test]
    fn looks_are_a_second_apart() {
        let [late, soon] = keys();
        let (mut one, mut two) = (Progress::new(at(0)), Progress::new(at(0)));
        one.note(false, true, at(0));
        two.note(false, true, at(1));
        let mut patience = Patience::default();
        patience.watch(&one);
        let all = [(late, one), (soon, two)];
        assert_eq!(patience.overdue(at(10_000), all.into_iter(), |_| false), [late]);
        assert_eq!(patience.ends(), Some(at(11_000)));
        // Bytes that come in between bring no earlier look.
        patience.watch(&two);
        assert_eq!(patience.ends(), Some(at(11_000)));
    }

    #[test]
    fn the_idlest_makes_room_after_a_minute() {
        let [old, older, new] = keys();
        let progress = [10, 5, 50_000].map(|now| Progress::new(at(now)));
        let all = || [old, older, new].into_iter().zip(progress);
        let mut patience = Patience::default();
        assert_eq!(patience.idlest(at(59_999), all(), |_| false), None);
        // A search in vain counts for a second.
        assert_eq!(patience.idlest(at(60_998), all(), |_| false), None);
        assert_eq!(patience.idlest(at(60_999), all(), |_| false), Some(older));
        assert_eq!(patience.idlest(at(60_999), all(), |key| key == older), Some(old));
    }
}
