//! Vectors as arrays of words: the kernels' algebra without any instruction set, for tests.

use core::array::from_fn;

use super::{Word32, Word64};

/// `L` lanes of a word.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Emulated<W, const L: usize>([W; L]);

impl<const L: usize> Word32<L> for Emulated<u32, L> {
    type Cpu = ();

    const ABREAST: usize = 4;

    fn splat((): (), word: u32) -> Self {
        Self([word; L])
    }

    fn ascending((): ()) -> Self {
        Self(from_fn(|lane| lane as u32))
    }

    fn load_rows((): (), rows: &[&[u8; 32]; L]) -> [Self; 8] {
        from_fn(|i| Self(rows.map(|row| u32::from_le_bytes(row.as_chunks().0[i]))))
    }

    fn store_rows(words: &[Self; 8], rows: &mut [[u8; 32]; L]) {
        for (lane, row) in rows.iter_mut().enumerate() {
            let (bytes, _) = row.as_chunks_mut();
            bytes.iter_mut().zip(words).for_each(|(bytes, word)| {
                *bytes = word.0[lane].to_le_bytes();
            });
        }
    }

    fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }

    fn xor(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] ^ other.0[lane]))
    }

    fn and(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] & other.0[lane]))
    }

    fn rotate_right<const N: u32>(self) -> Self {
        Self(self.0.map(|word| word.rotate_right(N)))
    }

    fn shift_right<const N: u32>(self) -> Self {
        Self(self.0.map(|word| word >> N))
    }

    fn swap_bytes(self) -> Self {
        Self(self.0.map(u32::swap_bytes))
    }
}

impl<const L: usize> Word64<L> for Emulated<u64, L> {
    type Cpu = ();

    const ABREAST: usize = 4;

    fn splat((): (), word: u64) -> Self {
        Self([word; L])
    }

    fn load_rows((): (), rows: &[&[u8; 64]; L]) -> [Self; 8] {
        from_fn(|i| Self(rows.map(|row| u64::from_le_bytes(row.as_chunks().0[i]))))
    }

    fn lanes(self) -> [u64; L] {
        self.0
    }

    fn add(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
    }

    fn xor(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] ^ other.0[lane]))
    }

    fn rotate_right<const N: u32>(self) -> Self {
        Self(self.0.map(|word| word.rotate_right(N)))
    }
}
