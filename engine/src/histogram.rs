//! How often a shard saw which length of time, and which size of batch: plain numbers, like the
//! counters, written by the shard alone.
//!
//! Times fall into buckets that are an eighth of an octave wide, so that a quantile read from them
//! is at most 6.25 % off from 1 us on.

use crate::limits::BATCH_MAX;
use crate::units::Span;

/// Bits below the resolution: times are counted in units of 128 ns.
const SHIFT: u32 = 7;
/// Bits that say which part of its octave a time falls into.
const PARTS_BITS: u32 = 3;
const PARTS: usize = 1 << PARTS_BITS;
/// Buckets of [`Spans`]. The last one begins at 16.1 s and takes everything beyond.
pub const SPAN_BUCKETS: usize = 200;

/// Lengths of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    buckets: [u64; SPAN_BUCKETS],
    nanos: u64,
}

impl Default for Spans {
    fn default() -> Self {
        Self { buckets: [0; SPAN_BUCKETS], nanos: 0 }
    }
}

impl Spans {
    /// How many numbers [`Spans::values`] gives.
    pub const LEN: usize = SPAN_BUCKETS + 1;

    /// Counts one.
    pub const fn note(&mut self, span: Span) {
        self.buckets[bucket(span)] += 1;
        self.nanos = self.nanos.wrapping_add(span.as_nanos());
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them, added up, in nanoseconds.
    pub const fn nanos(&self) -> u64 {
        self.nanos
    }

    /// How many were shorter than `limit`, which must be where a bucket begins: a power of two of
    /// at least 1024 ns, or that plus some eighths of it.
    pub fn shorter_than(&self, limit: Span) -> u64 {
        debug_assert!(limit == begin(bucket(limit)), "a limit stands between two buckets");
        self.buckets[..bucket(limit)].iter().sum()
    }

    /// The length that the share `q` of them, from 0 to 1, did not exceed; nothing if there were
    /// none.
    pub fn quantile(&self, q: f64) -> Option<Span> {
        let count = self.count();
        let rank = ((count as f64 * q) as u64).min(count.checked_sub(1)?);
        let mut below = 0;
        let place = self.buckets.iter().position(|&bucket| {
            below += bucket;
            below > rank
        });
        let place = place.expect("a rank below the count has a bucket");
        let (from, to) = (begin(place).as_nanos(), begin(place + 1).as_nanos());
        Some(Span::from_nanos(from.midpoint(to)))
    }

    /// Adds those of another shard.
    pub fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// All its numbers, for a shell that publishes them.
    pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.buckets.iter().copied().chain([self.nanos])
    }

    /// What [`Spans::values`] gave.
    pub fn from_values(mut values: impl Iterator<Item = u64>) -> Self {
        let mut next = || values.next().unwrap_or(0);
        Self { buckets: core::array::from_fn(|_| next()), nanos: next() }
    }
}

/// The bucket of a length of time.
const fn bucket(span: Span) -> usize {
    let units = span.as_nanos() >> SHIFT;
    if units < PARTS as u64 {
        return units as usize;
    }
    let octave = units.ilog2() - PARTS_BITS;
    let place = (octave as usize + 1) * PARTS + (units >> octave) as usize % PARTS;
    if place < SPAN_BUCKETS { place } else { SPAN_BUCKETS - 1 }
}

/// The shortest length of a bucket.
const fn begin(bucket: usize) -> Span {
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    let units = if octave == 0 { part } else { (PARTS + part) << (octave - 1) };
    Span::from_nanos((units as u64) << SHIFT)
}

/// Sizes of batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes([u64; BATCH_MAX]);

impl Default for Sizes {
    fn default() -> Self {
        Self([0; BATCH_MAX])
    }
}

impl Sizes {
    /// How many numbers [`Sizes::values`] gives.
    pub const LEN: usize = BATCH_MAX;

    /// Counts a batch of `size` packets; one without packets is none.
    ///
    /// # Panics
    /// If `size` exceeds [`BATCH_MAX`].
    pub const fn note(&mut self, size: usize) {
        if size > 0 {
            self.0[size - 1] += 1;
        }
    }

    /// How many batches held `size` packets at most.
    pub fn up_to(&self, size: usize) -> u64 {
        self.0[..size.min(BATCH_MAX)].iter().sum()
    }

    /// Packets in all batches.
    pub fn packets(&self) -> u64 {
        self.0.iter().zip(1..).map(|(count, size): (_, u64)| count * size).sum()
    }

    /// Adds those of another shard.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// All its numbers, for a shell that publishes them.
    pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }

    /// What [`Sizes::values`] gave.
    pub fn from_values(mut values: impl Iterator<Item = u64>) -> Self {
        Self(core::array::from_fn(|_| values.next().unwrap_or(0)))
    }
}

/// What one shard has measured since it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histograms {
    /// How long after its deadline a packet was handed to the link.
    pub lateness: Spans,
    /// How long a packet waited for its batch.
    pub batch_wait: Spans,
    /// Packets per batch.
    pub batch_size: Sizes,
}

impl Histograms {
    /// How many numbers [`Histograms::values`] gives.
    pub const LEN: usize = 2 * Spans::LEN + Sizes::LEN;

    /// Adds those of another shard.
    pub fn add(&mut self, other: &Self) {
        self.lateness.add(&other.lateness);
        self.batch_wait.add(&other.batch_wait);
        self.batch_size.add(&other.batch_size);
    }

    /// All numbers, for a shell that publishes them.
    pub fn values(&self) -> impl Iterator<Item = u64> + '_ {
        let spans = self.lateness.values().chain(self.batch_wait.values());
        spans.chain(self.batch_size.values())
    }

    /// What [`Histograms::values`] gave.
    pub fn from_values(mut values: impl Iterator<Item = u64>) -> Self {
        Self {
            lateness: Spans::from_values(values.by_ref()),
            batch_wait: Spans::from_values(values.by_ref()),
            batch_size: Sizes::from_values(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for place in 0..SPAN_BUCKETS {
            let (from, to) = (begin(place).as_nanos(), begin(place + 1).as_nanos());
            assert!(from < to, "bucket {place}");
            assert_eq!(bucket(Span::from_nanos(from)), place);
            assert_eq!(bucket(Span::from_nanos(to - 1)), place);
            assert!(from < 1024 || (to - from) * 8 <= from, "bucket {place} is too wide");
        }
        assert_eq!(bucket(Span::from_nanos(u64::MAX)), SPAN_BUCKETS - 1);
        assert!(begin(SPAN_BUCKETS - 1) > Span::from_millis(16_000));
    }

    #[test]
    fn quantiles_are_close() {
        let mut spans = Spans::default();
        assert_eq!(spans.quantile(0.5), None);
        (1..=10_000).for_each(|micros| spans.note(Span::from_micros(micros)));
        for (q, micros) in [(0.0, 1.0), (0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let got = spans.quantile(q).unwrap().as_nanos() as f64 / 1_000.0;
            assert!((got / micros - 1.0).abs() <= 0.0625, "{q}: {got} for {micros}");
        }
        assert_eq!(spans.count(), 10_000);
        assert_eq!(spans.nanos(), 50_005_000_000);
        assert_eq!(spans.shorter_than(Span::from_nanos(1 << 20)), 1_048);
    }

    #[test]
    fn sizes_are_counted_one_by_one() {
        let mut sizes = Sizes::default();
        [0, 1, 1, 2, 64].into_iter().for_each(|size| sizes.note(size));
        assert_eq!([1, 2, 63, 64, 1000].map(|size| sizes.up_to(size)), [2, 3, 3, 4, 4]);
        assert_eq!(sizes.packets(), 68);
    }

    #[test]
    fn values_and_back() {
        let mut one = Histograms::default();
        one.lateness.note(Span::from_micros(3));
        one.batch_wait.note(Span::from_millis(70_000));
        one.batch_size.note(5);
        let values: Vec<u64> = one.values().collect();
        assert_eq!(values.len(), Histograms::LEN);
        assert_eq!(Histograms::from_values(values.into_iter()), one);
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.lateness.count(), sum.batch_wait.count()), (2, 2));
        assert_eq!((sum.batch_wait.nanos(), sum.batch_size.packets()), (140_000_000_000, 10));
    }
}
