//! Replay protection: each packet once.
//!
//! A filter remembers a fingerprint of the replay tag of every packet of one key rotation. It is
//! shared by all cores, takes no lock, and a look-up costs one cache miss.
//!
//! # Layout
//! A line is a cache line of eight words; a word holds three fingerprints of 21 bits, 0 where the
//! place is empty. That makes 24 places in 64 bytes. A keyed hash of the tag (BLAKE3) gives its
//! home line and its fingerprint, so that nobody without the key can aim at a line. A fingerprint
//! goes to the first empty place of its home line or, if that is full, of the lines after it, up to
//! [`PROBE`] in all. Places are never emptied: a filter ends as a whole, with its key rotation.
//!
//! # Memory and errors
//! A filter is made for the number of packets that fill two thirds of its places, 16 of 24 in a
//! line: 64 / 16 = 4 bytes per packet. A packet that was never seen is taken for a replay if one
//! of the fingerprints before the first empty place equals its own. At design load these are 16 on
//! average and those of the full lines before, so that the rate is about 16 / 2^21 = 7.6e-6; over
//! the life of a filter it is half of that. A line's occupancy is close to Poisson with mean 16;
//! 2 % of the lines overflow into the next. For a tag to find no place, 16 lines in a row must hold
//! 384 fingerprints where 256 are expected, which a Chernoff bound puts below 1e-12 per window.
//!
//! # Why check-and-set is exact without a lock
//! Invariant: a place, once not empty, keeps its value.
//! Invariant: a fingerprint is written only to a place all of whose predecessors in its sequence
//! were read as holding other fingerprints.
//!
//! Suppose that two threads insert the same tag, one at place p and one at a later place q. The
//! second has read p as holding another fingerprint, which then is there for good, and the first
//! cannot have written p. Nor can both write p: a word changes by compare-and-swap only, and who
//! fails reads the word again. The argument is about one word at a time, so that the order in which
//! different words become visible does not matter, and relaxed atomics are enough.
//!
//! What is absent: removal, growth, and any counter that all cores would have to write.

#[cfg(test)]
mod tests;
mod word;

use alloc::boxed::Box;
use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;

use self::word::Place;
use crate::limits::BATCH_MAX;

/// Words in a line.
const WORDS: usize = 8;
/// Fingerprints in a line that a filter is made for; two thirds of its places.
const DESIGN: usize = WORDS * word::PLACES * 2 / 3;
/// Lines in which a fingerprint can be: its home and those after it.
const PROBE: usize = 16;
/// Lines that [`ReplayFilter::len`] looks at, at most.
const SAMPLE: usize = 1 << 14;

const _: () = assert!(size_of::<Line>() == 64 && DESIGN == 16);

/// One cache line of fingerprints.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; WORDS]);

/// Where a tag belongs.
#[derive(Clone, Copy, Debug)]
struct Spot {
    home: usize,
    print: u64,
}

/// What the filter says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The tag was not there; it is now. Of all threads that ask for one tag, one gets this.
    New,
    /// The tag has been there before, or with a small probability another with its fingerprint.
    Seen,
    /// There is no place for the tag. It is not known whether it is new, so that the packet must be
    /// dropped, or replays would pass through a filter that someone has filled up.
    Full,
}

/// The replay tags of one key rotation.
pub struct ReplayFilter {
    lines: Box<[Line]>,
    key: [u8; 32],
}

impl ReplayFilter {
    /// An empty filter for `expected` packets, at 4 bytes each. `key` is random and secret. All
    /// memory is written once, so that no core meets a page fault later; at roughly half a second
    /// per GiB this is work for a thread that serves no packets.
    pub fn new(expected: usize, key: [u8; 32]) -> Self {
        let count = expected.div_ceil(DESIGN).max(1);
        Self { lines: (0..count).map(|_| Line::default()).collect(), key }
    }

    /// Bytes that the filter takes.
    pub const fn memory_bytes(&self) -> usize {
        size_of_val::<[Line]>(&self.lines)
    }

    /// Fingerprints in the filter: exact for up to 262,144 expected packets, beyond that an
    /// estimate from evenly spaced lines with a standard error of about 0.2 % at design load.
    /// Reads up to 1 MiB.
    pub fn len(&self) -> usize {
        let step = self.lines.len().div_ceil(SAMPLE);
        let sample = self.lines.iter().step_by(step);
        let looked_at = sample.len();
        let count: usize =
            sample.flat_map(|line| &line.0).map(|word| word::count(word.load(Relaxed))).sum();
        (count as u128 * self.lines.len() as u128 / looked_at as u128) as usize
    }

    /// Whether [`ReplayFilter::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether `tag` is new, and remembers it.
    pub fn check_and_set(&self, tag: &[u8; 32]) -> Verdict {
        self.settle(self.spot(tag))
    }

    /// Does [`ReplayFilter::check_and_set`] for each of `tags`, in order. The lines are fetched
    /// together, so that their cache misses overlap: in a filter larger than the cache, this takes
    /// about a third of the time.
    ///
    /// # Panics
    /// If `tags` and `verdicts` differ in length.
    pub fn check_and_set_all(&self, tags: &[[u8; 32]], verdicts: &mut [Verdict]) {
        assert_eq!(tags.len(), verdicts.len(), "one verdict per tag");
        for (tags, verdicts) in tags.chunks(BATCH_MAX).zip(verdicts.chunks_mut(BATCH_MAX)) {
            let spots: ArrayVec<Spot, BATCH_MAX> = tags.iter().map(|tag| self.spot(tag)).collect();
            // A compare-and-swap waits for all loads before it: without this pass the misses would
            // queue up behind each other.
            let fetched = spots.iter().map(|spot| self.lines[spot.home].0[0].load(Relaxed));
            black_box(fetched.fold(0, |all, word| all ^ word));
            for (spot, verdict) in spots.into_iter().zip(verdicts) {
                *verdict = self.settle(spot);
            }
        }
    }

    /// Home line and fingerprint of `tag`: the hash's first and second eight bytes, each scaled to
    /// its range.
    fn spot(&self, tag: &[u8; 32]) -> Spot {
        let hash = blake3::keyed_hash(&self.key, tag);
        let (halves, _) = hash.as_bytes().as_chunks::<8>();
        let home = scale(u64::from_le_bytes(halves[0]), self.lines.len() as u64) as usize;
        let print = 1 + scale(u64::from_le_bytes(halves[1]), word::PRINT_MAX);
        Spot { home, print }
    }

    fn settle(&self, spot: Spot) -> Verdict {
        let (before, from_home) = self.lines.split_at(spot.home);
        for line in from_home.iter().chain(before).take(PROBE) {
            for word in &line.0 {
                if let Some(verdict) = settle_in(word, spot.print) {
                    return verdict;
                }
            }
        }
        Verdict::Full
    }
}

/// The verdict on `print` if this word decides it; nothing if it is full of others.
fn settle_in(word: &AtomicU64, print: u64) -> Option<Verdict> {
    let mut read = word.load(Relaxed);
    loop {
        match word::find(read, print) {
            Place::Here => return Some(Verdict::Seen),
            Place::Full => return None,
            Place::Empty(shift) => {
                let wanted = read | print << shift;
                match word.compare_exchange(read, wanted, Relaxed, Relaxed) {
                    Ok(_) => return Some(Verdict::New),
                    Err(changed) => read = changed,
                }
            }
        }
    }
}

/// `hash` scaled to `0..range`; uneven by at most `range / 2^64`.
const fn scale(hash: u64, range: u64) -> u64 {
    ((hash as u128 * range as u128) >> 64) as u64
}

impl fmt::Debug for ReplayFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFilter").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}
