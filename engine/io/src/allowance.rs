//! How many packets a second a source may bring, and who rests because he has brought more.
//!
//! A source's rate is shared out evenly among its connections, whatever shards they are at. Each
//! connection keeps its own account, and a connection that is ahead of its share is not read until
//! it no longer is: its packets wait in its socket and slow the sender down, and none is dropped.
//! What connections of one source share is their number, which is written when one comes or goes
//! and only read in between.

use phix_engine::units::{Span, Time};

use crate::slab::Key;

/// A connection that brought nothing for this long, or longer, may catch up on that much.
const BURST: Span = Span::from_millis(100);

/// The account of one connection.
///
/// It is one point in time, `due`: that at which the connection would have brought what it has if
/// it had brought it evenly (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Packets per second of the source; nothing sets no limit.
    rate: Option<u32>,
    due: Time,
}

impl Allowance {
    pub(crate) const fn new(rate: Option<u32>, now: Time) -> Self {
        Self { rate, due: now }
    }

    /// Takes note of packets that came, on one of so many connections of the source.
    pub(crate) fn note(&mut self, packets: u64, connections: usize, now: Time) {
        let Some(rate) = self.rate.filter(|_| packets > 0) else { return };
        let each = 1_000_000_000 * connections as u64 / u64::from(rate);
        let from = self.due.max(before(now, BURST));
        self.due = from.after(Span::from_nanos(packets.saturating_mul(each)));
    }

    /// Until when the connection is not to be read, if it is ahead of its share.
    pub(crate) fn rests(&self, now: Time) -> Option<Time> {
        Some(self.due).filter(|due| self.rate.is_some() && *due > now)
    }
}

fn before(now: Time, span: Span) -> Time {
    Time::from_nanos(now.as_nanos().saturating_sub(span.as_nanos()))
}

/// The connections of a link that rest.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    all: Vec<(Time, Key)>,
    first: Option<Time>,
}

impl Resting {
    /// Lets a connection rest until then.
    pub(crate) fn add(&mut self, key: Key, until: Time) {
        self.all.push((until, key));
        self.first = Some(self.first.map_or(until, |first| first.min(until)));
    }

    /// When the first of them has rested.
    pub(crate) const fn ends(&self) -> Option<Time> {
        self.first
    }

    /// Gives back those that have rested.
    pub(crate) fn rested(&mut self, now: Time, mut back: impl FnMut(Key)) {
        if self.first.is_none_or(|first| first > now) {
            return;
        }
        self.all.retain(|(until, key)| {
            if *until <= now {
                back(*key);
            }
            *until > now
        });
        self.first = self.all.iter().map(|(until, _)| *until).min();
    }

    /// Gives back all of them now.
    pub(crate) fn all_rested(&mut self, back: impl FnMut(Key)) {
        self.first = None;
        self.all.drain(..).map(|(_, key)| key).for_each(back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    const fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    /// Packets that a sender gets rid of in ten seconds who always has more, in reads of seven.
    fn brought(rate: u32, connections: usize) -> u64 {
        let mut allowance = Allowance::new(Some(rate), at(0));
        let mut packets = 0;
        for now in (0..10_000).map(at) {
            while allowance.rests(now).is_none() {
                allowance.note(7, connections, now);
                packets += 7;
            }
        }
        packets
    }

    #[test]
    fn a_source_brings_its_rate_and_its_connections_share_it() {
        assert!((1_000..=1_007).contains(&brought(100, 1)), "{}", brought(100, 1));
        assert!((250..=257).contains(&brought(100, 4)), "{}", brought(100, 4));
        // Time goes on by milliseconds here, and the last of them is not over.
        assert!((499_950..=500_007).contains(&brought(50_000, 1)), "{}", brought(50_000, 1));
    }

    #[test]
    fn without_a_limit_nobody_rests() {
        let mut allowance = Allowance::new(None, at(0));
        allowance.note(u64::MAX, 1_000, at(1));
        assert_eq!(allowance.rests(at(1)), None);
    }

    #[test]
    fn who_was_quiet_may_catch_up_for_a_tenth_of_a_second() {
        let mut allowance = Allowance::new(Some(1_000), at(0));
        allowance.note(100, 1, at(60_000));
        assert_eq!(allowance.rests(at(60_000)), None);
        allowance.note(50, 1, at(60_000));
        assert_eq!(allowance.rests(at(60_000)), Some(at(60_050)));
        assert_eq!(allowance.rests(at(60_050)), None);
    }

    #[test]
    fn the_rested_come_back_once_and_in_time() {
        let mut slab = Slab::new(3);
        let [one, two, three] = std::array::from_fn(|index| slab.insert(index).unwrap());
        let mut resting = Resting::default();
        assert_eq!(resting.ends(), None);
        [(one, 5), (two, 3), (three, 9)].into_iter().for_each(|(key, ms)| resting.add(key, at(ms)));
        let back = |resting: &mut Resting, now| {
            let mut back = Vec::new();
            resting.rested(at(now), |key| back.push(key));
            back
        };
        assert_eq!((resting.ends(), back(&mut resting, 2)), (Some(at(3)), vec![]));
        assert_eq!(back(&mut resting, 5), [one, two]);
        assert_eq!((resting.ends(), back(&mut resting, 8)), (Some(at(9)), vec![]));
        assert_eq!((back(&mut resting, 9), resting.ends()), (vec![three], None));
    }
}
