//! Three fingerprints in a word. Places fill from the low bits up; the top bit is always 0.
//!
//! Invariant: behind an empty place of a word there are only empty places.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Verdict;

/// Bits of a fingerprint.
const BITS: u32 = 21;
/// Fingerprints in a word.
pub(super) const PLACES: usize = (u64::BITS / BITS) as usize;
/// The largest fingerprint, and a place with all bits set. 0 stands for an empty place.
pub(super) const PRINT_MAX: u64 = (1 << BITS) - 1;

/// A word that several threads share. The model checker brings its own.
pub(super) trait Shared {
    fn read(&self) -> u64;
    /// Writes `wanted` if the word still is `read`; says what it is instead if not.
    fn change(&self, read: u64, wanted: u64) -> Result<u64, u64>;
}

impl Shared for AtomicU64 {
    fn read(&self) -> u64 {
        self.load(Relaxed)
    }

    fn change(&self, read: u64, wanted: u64) -> Result<u64, u64> {
        self.compare_exchange(read, wanted, Relaxed, Relaxed)
    }
}

/// Looks for `print` in `words`, in order, and puts it into the first empty place if it is not
/// there.
pub(super) fn settle<'a, W: Shared + 'a>(
    words: impl IntoIterator<Item = &'a W>,
    print: u64,
) -> Verdict {
    let verdict = words.into_iter().find_map(|word| settle_in(word, print));
    verdict.unwrap_or(Verdict::Full)
}

/// The verdict on `print` if this word decides it; nothing if it is full of others.
fn settle_in(word: &impl Shared, print: u64) -> Option<Verdict> {
    let mut read = word.read();
    loop {
        match find(read, print) {
            Place::Here => return Some(Verdict::Seen),
            Place::Full => return None,
            Place::Empty(shift) => match word.change(read, read | print << shift) {
                Ok(_) => return Some(Verdict::New),
                Err(changed) => read = changed,
            },
        }
    }
}

/// What a word says about a fingerprint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It holds it.
    Here,
    /// It does not, and the first empty place begins at this bit.
    Empty(u32),
    /// It holds three others.
    Full,
}

/// Looks for `print` in `word`.
pub(super) const fn find(word: u64, print: u64) -> Place {
    let mut shift = 0;
    while shift + BITS <= u64::BITS {
        let held = word >> shift & PRINT_MAX;
        if held == print {
            return Place::Here;
        }
        if held == 0 {
            return Place::Empty(shift);
        }
        shift += BITS;
    }
    Place::Full
}

/// Fingerprints in `word`.
pub(super) const fn count(word: u64) -> usize {
    // Places fill in order: the highest bit that is set lies in the last place that is not empty.
    (u64::BITS - word.leading_zeros()).div_ceil(BITS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_fills_from_the_low_end() {
        let mut word = 0;
        for (held, print) in [1, PRINT_MAX, 1 << 20].into_iter().enumerate() {
            assert_eq!(count(word), held);
            let Place::Empty(shift) = find(word, print) else { panic!("place {held}") };
            assert_eq!(shift, held as u32 * BITS);
            word |= print << shift;
            assert_eq!(find(word, print), Place::Here);
        }
        assert_eq!(count(word), PLACES);
        assert_eq!(find(word, 2), Place::Full);
        assert_eq!(word >> 63, 0);
    }

    #[test]
    fn a_print_across_two_places_is_not_found() {
        let print = 0b1011;
        let word = print << 10 | 1 << 40 | 1 << 62;
        assert_eq!(find(word, print), Place::Full);
    }
}
