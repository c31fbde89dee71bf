//! Which buckets of a level hold something.

/// Bits in a word.
const WORD: usize = u64::BITS as usize;

/// `WORDS * 64` bits in a ring.
#[derive(Clone, Debug)]
pub(super) struct Bitmap<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Bitmap<WORDS> {
    /// All bits clear.
    pub(super) const fn new() -> Self {
        const { assert!(WORDS.is_power_of_two(), "positions wrap by masking") };
        Self([0; WORDS])
    }

    /// Sets the bit at `at`.
    pub(super) const fn set(&mut self, at: usize) {
        self.0[at / WORD] |= 1 << (at % WORD);
    }

    /// Clears the bit at `at`.
    pub(super) const fn clear(&mut self, at: usize) {
        self.0[at / WORD] &= !(1 << (at % WORD));
    }

    /// How far ahead of `from` the next set bit is, round the ring; 0 if `from` is set itself.
    pub(super) fn distance(&self, from: usize) -> Option<usize> {
        let (word, bit) = (from / WORD, from % WORD);
        let here = self.0[word] >> bit;
        if here != 0 {
            return Some(here.trailing_zeros() as usize);
        }
        // The last round comes back to the first word, for the bits below `from`; those above are
        // known to be clear.
        (1..=WORDS).find_map(|ahead| {
            let found = self.0[(word + ahead) % WORDS];
            (found != 0).then(|| ahead * WORD + found.trailing_zeros() as usize - bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_go_round_the_ring() {
        let mut bitmap = Bitmap::<4>::new();
        assert_eq!(bitmap.distance(17), None);
        for at in 0..256 {
            bitmap.set(at);
            for from in 0..256 {
                assert_eq!(bitmap.distance(from), Some((at + 256 - from) % 256), "{at} {from}");
            }
            bitmap.clear(at);
        }
        assert_eq!(bitmap.distance(0), None);
    }

    #[test]
    fn the_nearest_bit_wins() {
        let mut bitmap = Bitmap::<2>::new();
        for at in [3, 5, 64, 127] {
            bitmap.set(at);
        }
        let expected = [(0, 3), (3, 0), (4, 1), (6, 58), (65, 62), (127, 0)];
        for (from, distance) in expected {
            assert_eq!(bitmap.distance(from), Some(distance));
        }
    }
}
