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
//! What is absent: removal, growth, and any counter that all cores would have to write. What a node
//! must still know after a restart leaves by [`ReplayFilter::check_and_mark_all`], as marks.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod word;

use alloc::boxed::Box;
use core::fmt;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;
use zeroize::Zeroize;

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

/// One cache line of fingerprints. All bits zero is an empty one, and any bits are a valid one.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line([AtomicU64; WORDS]);

/// Memory that a filter lies in: the heap, or a mapping that the shell provides.
pub trait Lines: Send + Sync {
    /// All of it; always the same. Asked for once per batch.
    fn lines(&self) -> &[Line];
}

impl Lines for Box<[Line]> {
    fn lines(&self) -> &[Line] {
        self
    }
}

/// What a filter remembers of one packet: 43 bits of the hash that chooses the home line, and the
/// fingerprint in the low 21. It does not depend on the filter's size, so that marks which were
/// saved fit a larger filter of the same key as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(u64);

impl Mark {
    /// The mark that [`Mark::bits`] gave; nothing if these bits are no mark.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & word::PRINT_MAX == 0 { None } else { Some(Self(bits)) }
    }

    /// The mark as a number, of which the low 21 bits are never all zero.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Of the hash's first and second eight bytes, the second scaled to its range.
    const fn of(first: u64, second: u64) -> Self {
        Self(first & !word::PRINT_MAX | (1 + scale(second, word::PRINT_MAX)))
    }

    /// The home line in a filter of `lines`; uneven by at most `lines / 2^43`.
    const fn home(self, lines: usize) -> usize {
        scale(self.0 & !word::PRINT_MAX, lines as u64) as usize
    }

    const fn print(self) -> u64 {
        self.0 & word::PRINT_MAX
    }
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
    memory: Box<dyn Lines>,
    key: [u8; 32],
    number: u32,
}

impl ReplayFilter {
    /// An empty filter on the heap for `expected` packets, at 4 bytes each, with the number 0.
    /// `key` is random and secret. All memory is written once, so that no core meets a page fault
    /// later; at roughly half a second per GiB this is work for a thread that serves no packets.
    pub fn new(expected: usize, key: [u8; 32]) -> Self {
        let lines: Box<[Line]> = (0..lines_for(expected)).map(|_| Line::default()).collect();
        Self::over(Box::new(lines), key, 0)
    }

    /// A filter over memory that is all zero, or that was a filter's with the same key before.
    /// `number` is what the shell knows it by.
    ///
    /// # Panics
    /// If the memory has no line.
    pub fn over(memory: Box<dyn Lines>, key: [u8; 32], number: u32) -> Self {
        assert!(!memory.lines().is_empty(), "a filter has at least one line");
        Self { memory, key, number }
    }

    /// Bytes of memory that a filter for `expected` packets takes.
    pub const fn bytes_for(expected: usize) -> usize {
        lines_for(expected) * size_of::<Line>()
    }

    /// Bytes that the filter takes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.memory.lines())
    }

    /// What the shell knows the filter by.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Packets that the filter is made for.
    pub fn capacity(&self) -> usize {
        self.memory.lines().len() * DESIGN
    }

    /// Fingerprints in the filter: exact for up to 262,144 expected packets, beyond that an
    /// estimate from evenly spaced lines with a standard error of about 0.2 % at design load.
    /// Reads up to 1 MiB.
    pub fn len(&self) -> usize {
        let lines = self.memory.lines();
        let sample = lines.iter().step_by(lines.len().div_ceil(SAMPLE));
        let looked_at = sample.len();
        let count: usize =
            sample.flat_map(|line| &line.0).map(|word| word::count(word.load(Relaxed))).sum();
        (count as u128 * lines.len() as u128 / looked_at as u128) as usize
    }

    /// Whether [`ReplayFilter::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether `tag` is new, and remembers it.
    pub fn check_and_set(&self, tag: &[u8; 32]) -> Verdict {
        settle(self.memory.lines(), self.mark(tag))
    }

    /// Does [`ReplayFilter::check_and_set`] for each of `tags`, in order. The lines are fetched
    /// together, so that their cache misses overlap: in a filter larger than the cache, this takes
    /// about a third of the time.
    ///
    /// # Panics
    /// If `tags` and `verdicts` differ in length.
    pub fn check_and_set_all(&self, tags: &[[u8; 32]], verdicts: &mut [Verdict]) {
        self.check_and_mark_all(tags, verdicts, |_| {});
    }

    /// As [`ReplayFilter::check_and_set_all`], and hands on the marks of those that are new, by
    /// which [`ReplayFilter::restore`] can remember them in another run.
    ///
    /// # Panics
    /// If `tags` and `verdicts` differ in length.
    pub fn check_and_mark_all(
        &self,
        tags: &[[u8; 32]],
        verdicts: &mut [Verdict],
        mut new: impl FnMut(Mark),
    ) {
        assert_eq!(tags.len(), verdicts.len(), "one verdict per tag");
        let lines = self.memory.lines();
        for (tags, verdicts) in tags.chunks(BATCH_MAX).zip(verdicts.chunks_mut(BATCH_MAX)) {
            let marks: ArrayVec<Mark, BATCH_MAX> = tags.iter().map(|tag| self.mark(tag)).collect();
            fetch(lines, &marks);
            for (mark, verdict) in marks.into_iter().zip(verdicts) {
                *verdict = settle(lines, mark);
                if *verdict == Verdict::New {
                    new(mark);
                }
            }
        }
    }

    /// Remembers packets by the marks that they left in a filter of the same key; says how many
    /// found no place.
    pub fn restore(&self, marks: &[Mark]) -> usize {
        let lines = self.memory.lines();
        let mut homeless = 0;
        for marks in marks.chunks(BATCH_MAX) {
            fetch(lines, marks);
            let full = |&&mark: &&Mark| settle(lines, mark) == Verdict::Full;
            homeless += marks.iter().filter(full).count();
        }
        homeless
    }

    /// What the filter remembers of `tag`.
    fn mark(&self, tag: &[u8; 32]) -> Mark {
        let hash = blake3::keyed_hash(&self.key, tag);
        let (halves, _) = hash.as_bytes().as_chunks::<8>();
        Mark::of(u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1]))
    }
}

impl Drop for ReplayFilter {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

const fn lines_for(expected: usize) -> usize {
    let count = expected.div_ceil(DESIGN);
    if count == 0 { 1 } else { count }
}

/// Brings the home lines of `marks` into the cache. A compare-and-swap waits for all loads before
/// it: without this pass the misses of a batch would queue up behind each other.
fn fetch(lines: &[Line], marks: &[Mark]) {
    let fetched = marks.iter().map(|mark| lines[mark.home(lines.len())].0[0].load(Relaxed));
    black_box(fetched.fold(0, |all, word| all ^ word));
}

fn settle(lines: &[Line], mark: Mark) -> Verdict {
    let (before, from_home) = lines.split_at(mark.home(lines.len()));
    let reach = from_home.iter().chain(before).take(PROBE);
    word::settle(reach.flat_map(|line| &line.0), mark.print())
}

/// `hash` scaled to `0..range`; uneven by at most `range / 2^64`.
const fn scale(hash: u64, range: u64) -> u64 {
    ((hash as u128 * range as u128) >> 64) as u64
}

impl fmt::Debug for ReplayFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFilter")
            .field("number", &self.number)
            .field("lines", &self.memory.lines().len())
            .finish_non_exhaustive()
    }
}
