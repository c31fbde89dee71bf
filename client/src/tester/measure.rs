//! The distributions that a run leaves behind.

use hdrhistogram::Histogram;
use phix_engine::units::{Span, Time};
use serde_json::{Value, json};

/// Longest time that the histograms tell from longer ones: ten minutes, in nanoseconds.
const LONGEST: u64 = 600_000_000_000;

/// Significant digits of every recorded time.
pub const DIGITS: u8 = 3;

/// The quantiles that reports give, with their names.
pub const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// An empty histogram of nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS)
        .expect("bounds and precision are within what a histogram can have")
}

/// Nanoseconds, as milliseconds.
pub const fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// The quantiles of a histogram in milliseconds, with its mean and its largest value.
pub fn summary(histogram: &Histogram<u64>) -> Value {
    let mut summary = json!({
        "count": histogram.len(),
        "mean": histogram.mean() / 1e6,
        "max": ms(histogram.max()),
    });
    for (name, quantile) in QUANTILES {
        summary[name] = ms(histogram.value_at_quantile(quantile)).into();
    }
    summary
}

/// What is measured of every packet, in nanoseconds. Packets of the warm-up are left out.
#[derive(Clone, Debug)]
pub struct Distributions {
    /// From the planned time of sending to the arrival back here.
    pub latency: Histogram<u64>,
    /// What remains of that when the delays that the packet asked for are taken off.
    pub delay_error: Histogram<u64>,
    /// From the planned time of sending until the kernel had taken the packet.
    pub lateness: Histogram<u64>,
    /// The part of that which is the tester's own: from the planned time, or from when the
    /// connection had room again if that was later.
    pub own_lateness: Histogram<u64>,
    /// The delay errors of the packets planned for the last quarter of the run: a node that falls
    /// behind shows it there.
    pub tail: Histogram<u64>,
    /// Packets that came back before their delays were over. Counted with an error of zero.
    pub early: u64,
    /// Packets planned for less than this after the start are not measured.
    warm_up: Span,
    /// Where the last quarter begins.
    tail_from: Span,
    /// The delay errors since the last call of [`Distributions::interval`].
    interval: Histogram<u64>,
}

impl Distributions {
    /// Nothing measured yet, of a run whose last packet is planned for `length` after the start.
    pub fn new(warm_up: Span, length: Span) -> Self {
        Self {
            latency: histogram(),
            delay_error: histogram(),
            lateness: histogram(),
            own_lateness: histogram(),
            tail: histogram(),
            early: 0,
            warm_up,
            tail_from: Span::from_nanos(length.as_nanos() / 4 * 3),
            interval: histogram(),
        }
    }

    /// A packet planned for `offset` after `start` was taken by the kernel at `taken`; its
    /// connection had room since `free`.
    pub(super) fn sent(&mut self, start: Time, offset: Span, free: Time, taken: Time) {
        if offset < self.warm_up {
            return;
        }
        let planned = start.after(offset);
        self.lateness.saturating_record(taken.since(planned).as_nanos());
        self.own_lateness.saturating_record(taken.since(planned.max(free)).as_nanos());
    }

    /// A packet planned for `offset` after `start`, with these delays, came back at `arrived`.
    pub(super) fn returned(&mut self, start: Time, offset: Span, delays: Span, arrived: Time) {
        let due = start.after(offset).after(delays);
        let error = arrived.since(due).as_nanos();
        self.interval.saturating_record(error);
        if offset >= self.tail_from {
            self.tail.saturating_record(error);
        }
        if offset < self.warm_up {
            return;
        }
        self.early += u64::from(arrived < due);
        self.latency.saturating_record(arrived.since(start.after(offset)).as_nanos());
        self.delay_error.saturating_record(error);
    }

    /// How far behind the nodes were at the end: the median delay error of the last quarter, which
    /// no single stumble of the machine moves. In nanoseconds.
    pub fn lag(&self) -> u64 {
        self.tail.value_at_quantile(0.5)
    }

    /// The median and the 99th percentile of the delay errors since this was last called, in
    /// nanoseconds.
    pub(super) fn interval(&mut self) -> (u64, u64) {
        let quantile = |q| self.interval.value_at_quantile(q);
        let both = (quantile(0.5), quantile(0.99));
        self.interval.reset();
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: u64, expected: u64) {
        assert!(value.abs_diff(expected) <= expected / 1000, "{value} is not {expected}");
    }

    #[test]
    fn times_count_from_the_plan() {
        let (start, span) = (Time::from_nanos(500), Span::from_millis);
        let mut measured = Distributions::new(span(10), span(12));
        measured.sent(start, span(9), Time::ZERO, start.after(span(999)));
        measured.returned(start, span(9), span(1), start.after(span(999)));
        assert_eq!((measured.lateness.len(), measured.latency.len()), (0, 0));
        measured.sent(start, span(10), start.after(span(14)), start.after(span(15)));
        near(measured.lateness.max(), 5_000_000);
        near(measured.own_lateness.max(), 1_000_000);
        measured.returned(start, span(10), span(20), start.after(span(32)));
        near(measured.latency.max(), 22_000_000);
        near(measured.delay_error.max(), 2_000_000);
        near(measured.lag(), 2_000_000);
        measured.returned(start, span(10), span(20), start.after(span(29)));
        assert_eq!((measured.early, measured.delay_error.min()), (1, 0));
        near(measured.interval().1, 989_000_000);
        assert_eq!(measured.interval(), (0, 0));
    }

    #[test]
    fn times_beyond_the_longest_are_kept_as_the_longest() {
        let mut measured = Distributions::new(Span::ZERO, Span::ZERO);
        let late = Time::from_nanos(u64::MAX / 2);
        measured.returned(Time::ZERO, Span::ZERO, Span::ZERO, late);
        near(measured.latency.max(), LONGEST);
    }
}
