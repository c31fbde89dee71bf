//! What became of the probes of a schedule: each must arrive intact, exactly once.

use std::sync::Arc;

use hdrhistogram::Histogram;
use phix_engine::units::Time;

use crate::probe::Probe;
use crate::schedule::Schedule;

/// Longest latency that the histogram tells from longer ones: an hour, in microseconds.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A probe that had not come before.
    Delivered,
    /// A probe that had.
    Duplicated,
    /// No probe, or one that was damaged.
    Corrupted,
    /// An intact probe that is not in the schedule.
    Unexpected,
}

/// What is known of one probe.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    copies: u32,
    first: Time,
}

/// Counts arrivals against a schedule. It needs no start: latencies are taken in the report.
///
/// Several tallies of one schedule, for instance one per receiving thread, add up by
/// [`Tally::merge`] to what a single one would have counted.
#[derive(Clone, Debug)]
pub struct Tally {
    schedule: Arc<Schedule>,
    seen: Vec<Seen>,
    delivered: u64,
    duplicated: u64,
    corrupted: u64,
    unexpected: u64,
}

/// The result of a tally.
#[derive(Clone, Debug)]
pub struct Report {
    /// Probes in the schedule.
    pub expected: u64,
    /// Of these, how many arrived, at least once.
    pub delivered: u64,
    /// Of these, how many did not.
    pub lost: u64,
    /// Intact arrivals beyond the first of each probe.
    pub duplicated: u64,
    /// Arrivals that were no intact probe.
    pub corrupted: u64,
    /// Intact probes that were not in the schedule.
    pub unexpected: u64,
    /// Nanoseconds from intended sending to first arrival, one per delivered probe, in the order
    /// of the schedule.
    pub latencies: Vec<u64>,
    /// Of each of these, what remains when the delays that its hops were asked for are taken
    /// off: the work and the waiting of nodes, network and sender. Nanoseconds.
    pub overheads: Vec<u64>,
    /// The latencies in microseconds, to three digits.
    pub histogram: Histogram<u64>,
}

impl Report {
    /// Whether every probe arrived intact, exactly once, and nothing else did.
    pub const fn is_perfect(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.corrupted == 0 && self.unexpected == 0
    }
}

impl Tally {
    /// A tally of nothing yet.
    pub fn new(schedule: Arc<Schedule>) -> Self {
        let seen = vec![Seen::default(); schedule.len()];
        Self { schedule, seen, delivered: 0, duplicated: 0, corrupted: 0, unexpected: 0 }
    }

    /// Counts a message that came at `arrived`.
    pub fn record(&mut self, message: &[u8], arrived: Time) -> Outcome {
        let Some(probe) = Probe::decode(message) else {
            self.corrupted += 1;
            return Outcome::Corrupted;
        };
        let Some(position) = self.schedule.position(probe) else {
            self.unexpected += 1;
            return Outcome::Unexpected;
        };
        let seen = &mut self.seen[position];
        seen.copies += 1;
        if seen.copies > 1 {
            seen.first = seen.first.min(arrived);
            self.duplicated += 1;
            return Outcome::Duplicated;
        }
        seen.first = arrived;
        self.delivered += 1;
        Outcome::Delivered
    }

    /// Counts a message that could not even be read, such as a payload without an end.
    pub const fn record_unreadable(&mut self) {
        self.corrupted += 1;
    }

    /// Adds what another tally of the same schedule counted.
    ///
    /// # Panics
    /// If the schedules differ in length.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.seen.len(), other.seen.len(), "tallies of different schedules");
        for (seen, other) in self.seen.iter_mut().zip(&other.seen) {
            seen.first = match (seen.copies, other.copies) {
                (0, _) => other.first,
                (_, 0) => seen.first,
                _ => seen.first.min(other.first),
            };
            seen.copies += other.copies;
        }
        let copies: u64 = self.seen.iter().map(|seen| u64::from(seen.copies)).sum();
        self.delivered = self.seen.iter().filter(|seen| seen.copies > 0).count() as u64;
        self.duplicated = copies - self.delivered;
        self.corrupted += other.corrupted;
        self.unexpected += other.unexpected;
    }

    /// Probes that have arrived so far, each counted once.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The result, when the schedule began at `start`.
    pub fn report(&self, start: Time) -> Report {
        let mut histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
            .expect("bounds and precision are within what a histogram can have");
        let (mut latencies, mut overheads) = (Vec::new(), Vec::new());
        for (planned, seen) in self.schedule.planned().iter().zip(&self.seen) {
            if seen.copies > 0 {
                let latency = seen.first.since(start.after(planned.offset)).as_nanos();
                latencies.push(latency);
                overheads.push(latency.saturating_sub(planned.delays.as_nanos()));
                histogram.saturating_record((latency / 1000).max(1));
            }
        }
        let expected = self.schedule.len() as u64;
        Report {
            expected,
            delivered: self.delivered,
            lost: expected - self.delivered,
            duplicated: self.duplicated,
            corrupted: self.corrupted,
            unexpected: self.unexpected,
            latencies,
            overheads,
            histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use phix_engine::units::Span;

    use super::*;
    use crate::schedule::Planned;

    fn schedule() -> Arc<Schedule> {
        let planned = |i| Planned { offset: Span::from_millis(i), delays: Span::from_millis(2) };
        Arc::new(Schedule::new([(0..10).map(planned).collect(), (0..5).map(planned).collect()]))
    }

    fn message(sender: u16, sequence: u64) -> Vec<u8> {
        Probe { sender, sequence }.encode(64)
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    #[test]
    fn each_outcome_is_counted() {
        let mut tally = Tally::new(schedule());
        assert_eq!(tally.record(&message(0, 4), at(1009)), Outcome::Delivered);
        assert_eq!(tally.record(&message(0, 4), at(1020)), Outcome::Duplicated);
        assert_eq!(tally.record(&message(1, 0), at(1001)), Outcome::Delivered);
        assert_eq!(tally.record(&message(1, 5), at(1001)), Outcome::Unexpected);
        let mut damaged = message(1, 1);
        damaged[40] ^= 1;
        assert_eq!(tally.record(&damaged, at(1001)), Outcome::Corrupted);
        tally.record_unreadable();

        let report = tally.report(at(1000));
        assert_eq!((report.expected, report.delivered, report.lost), (15, 2, 13));
        assert_eq!((report.duplicated, report.corrupted, report.unexpected), (1, 2, 1));
        assert_eq!(report.latencies, [5_000_000, 1_000_000]);
        assert_eq!(report.overheads, [3_000_000, 0]);
        assert_eq!(report.histogram.len(), 2);
        assert!(report.histogram.equivalent(report.histogram.max(), 5_000));
        assert!(!report.is_perfect());
    }

    #[test]
    fn perfect_means_everything_once() {
        let mut tally = Tally::new(schedule());
        let all = (0..10).map(|i| (0, i)).chain((0..5).map(|i| (1, i)));
        for (sender, i) in all {
            assert_eq!(tally.record(&message(sender, i), at(50)), Outcome::Delivered);
        }
        assert!(tally.report(at(0)).is_perfect());
        tally.record(&message(0, 0), at(60));
        assert!(!tally.report(at(0)).is_perfect());
    }

    #[test]
    fn merged_tallies_count_as_one() {
        let arrivals = [(0, 1, 30), (0, 1, 20), (1, 3, 9), (0, 2, 8), (0, 2, 9), (0, 2, 7)];
        let mut whole = Tally::new(schedule());
        let mut parts = [Tally::new(schedule()), Tally::new(schedule())];
        for (i, (sender, sequence, millis)) in arrivals.into_iter().enumerate() {
            whole.record(&message(sender, sequence), at(millis));
            parts[i % 2].record(&message(sender, sequence), at(millis));
        }
        let [mut one, other] = parts;
        one.merge(&other);
        let (one, whole) = (one.report(at(0)), whole.report(at(0)));
        assert_eq!(one.latencies, whole.latencies);
        assert_eq!((one.delivered, one.duplicated), (3, 3));
        assert_eq!((whole.delivered, whole.duplicated), (3, 3));
    }
}
