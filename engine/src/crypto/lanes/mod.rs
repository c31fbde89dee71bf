//! Vectors of words with one word per lane: what the batch kernels are written in.
//!
//! A kernel's algebra is written once over these traits and compiled once per vector width. The
//! methods of a real vector are single instructions, inlined by force: into a function that is
//! compiled for the instruction set they become that instruction, anywhere else a call. Such a
//! kernel is therefore `#[inline(always)]` as well, and entered through a function with
//! `#[target_feature]`.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(test)]
pub(super) mod emulated;

use zeroize::optimization_barrier;

/// Writes the body out once per number. A loop would be unrolled as well, but too late for arrays
/// of vectors to be kept in registers.
macro_rules! unroll {
    ($i:ident in [$($n:literal)+] $body:block) => {
        $({ let $i: usize = $n; $body })+
    };
}

/// As [`unroll`], once per group of lanes: two interleaved groups hide the latency of each other's
/// instructions.
macro_rules! each_group {
    ($g:ident of $count:ident $body:block) => {
        unroll!($g in [0 1] { if $g < $count $body })
    };
}

pub(super) use {each_group, unroll};

/// `L` lanes of 32 bits.
pub(super) trait Word32<const L: usize>: Copy {
    /// Proof that the CPU has the instructions. Whoever makes a vector shows it, so that whoever
    /// has a vector need not.
    type Cpu: Copy;

    /// How many of four independent pieces of a round are computed side by side. All four hide the
    /// instructions' latency best, but with 16 registers their intermediate values push the state
    /// out to memory.
    const ABREAST: usize;

    /// The same word in every lane.
    fn splat(cpu: Self::Cpu, word: u32) -> Self;

    /// The words 0, 1, 2 and so on.
    fn ascending(cpu: Self::Cpu) -> Self;

    /// Word `i` of row `l`, little-endian, becomes lane `l` of vector `i`.
    fn load_rows(cpu: Self::Cpu, rows: &[&[u8; 32]; L]) -> [Self; 8];

    /// The reverse of [`Word32::load_rows`].
    fn store_rows(words: &[Self; 8], rows: &mut [[u8; 32]; L]);

    /// Xors the lanes onto `data`, which is at most as long as they are: the first lane's 16 words,
    /// little-endian, then the second's, and so on.
    #[inline(always)]
    fn xor_rows(words: &[Self; 16], data: &mut [u8]) {
        let (halves, _) = words.as_chunks::<8>();
        let mut rows = [[[0; 32]; L]; 2];
        Self::store_rows(&halves[0], &mut rows[0]);
        Self::store_rows(&halves[1], &mut rows[1]);
        for (lane, data) in data.chunks_mut(64).enumerate() {
            let (front, back) = data.split_at_mut(data.len().min(32));
            xor_row(&rows[0][lane], front);
            xor_row(&rows[1][lane], back);
        }
        rows = [[[0; 32]; L]; 2];
        optimization_barrier(&rows);
    }

    fn add(self, other: Self) -> Self;

    fn xor(self, other: Self) -> Self;

    fn and(self, other: Self) -> Self;

    fn rotate_right<const N: u32>(self) -> Self;

    fn shift_right<const N: u32>(self) -> Self;

    /// Reverses the bytes of each word.
    fn swap_bytes(self) -> Self;

    /// Exclusive or of three.
    #[inline(always)]
    fn parity(self, second: Self, third: Self) -> Self {
        self.xor(second).xor(third)
    }

    /// Bits of `on` where this has ones, of `off` elsewhere.
    #[inline(always)]
    fn choose(self, on: Self, off: Self) -> Self {
        on.xor(off).and(self).xor(off)
    }

    /// The bit that most of three have.
    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        self.xor(second).and(second.xor(third)).xor(second)
    }
}

/// Xors a row onto `data`; the usual case, a whole row, is done in words.
#[inline(always)]
fn xor_row(row: &[u8; 32], data: &mut [u8]) {
    if let Ok(whole) = <&mut [u8; 32]>::try_from(&mut *data) {
        let mut sum = *row;
        sum.iter_mut().zip(&*whole).for_each(|(sum, byte)| *sum ^= byte);
        *whole = sum;
    } else {
        data.iter_mut().zip(row).for_each(|(byte, row)| *byte ^= row);
    }
}

/// `L` lanes of 64 bits.
pub(super) trait Word64<const L: usize>: Copy {
    /// As [`Word32::Cpu`].
    type Cpu: Copy;

    /// As [`Word32::ABREAST`].
    const ABREAST: usize;

    /// The same word in every lane.
    fn splat(cpu: Self::Cpu, word: u64) -> Self;

    /// Word `i` of row `l`, little-endian, becomes lane `l` of vector `i`.
    fn load_rows(cpu: Self::Cpu, rows: &[&[u8; 64]; L]) -> [Self; 8];

    /// The words of all lanes.
    fn lanes(self) -> [u64; L];

    fn add(self, other: Self) -> Self;

    fn xor(self, other: Self) -> Self;

    fn rotate_right<const N: u32>(self) -> Self;
}

/// One lane: the width of an instruction set that works on one message at a time.
impl Word32<1> for u32 {
    type Cpu = ();

    const ABREAST: usize = 4;

    #[inline(always)]
    fn splat((): (), word: u32) -> Self {
        word
    }

    #[inline(always)]
    fn ascending((): ()) -> Self {
        0
    }

    #[inline(always)]
    fn load_rows((): (), [row]: &[&[u8; 32]; 1]) -> [Self; 8] {
        let (words, _) = row.as_chunks();
        core::array::from_fn(|i| Self::from_le_bytes(words[i]))
    }

    #[inline(always)]
    fn store_rows(words: &[Self; 8], [row]: &mut [[u8; 32]; 1]) {
        let (bytes, _) = row.as_chunks_mut();
        bytes.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self & other
    }

    #[inline(always)]
    fn rotate_right<const N: u32>(self) -> Self {
        Self::rotate_right(self, N)
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self) -> Self {
        self >> N
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        Self::swap_bytes(self)
    }
}
