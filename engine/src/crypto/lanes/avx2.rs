//! Eight words of 32 bits or four of 64 in one AVX2 register.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline, loads and stores")]

use core::arch::asm;
use core::arch::x86_64::*;

use super::{Word32, Word64, unroll};
use crate::cpu::Avx2;

/// One instruction.
macro_rules! avx2 {
    ($instruction:expr) => {{
        // SAFETY: the vectors in this file are made by functions that take `Avx2`, so there is
        // none where the CPU lacks the instructions.
        unsafe { $instruction }
    }};
}

/// Two pieces of 16 bytes, the first in the lower half.
#[inline(always)]
fn join(_: Avx2, low: &[u8; 16], high: &[u8; 16]) -> __m256i {
    // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
    let low = unsafe { _mm_loadu_si128(low.as_ptr().cast()) };
    // SAFETY: as above.
    let high = unsafe { _mm_loadu_si128(high.as_ptr().cast()) };
    let low = avx2!(_mm256_castsi128_si256(low));
    avx2!(_mm256_inserti128_si256::<1>(low, high))
}

/// Piece `at` of 16 bytes in a row.
#[inline(always)]
fn piece<const N: usize>(row: &[u8; N], at: usize) -> &[u8; 16] {
    row[16 * at..].first_chunk().expect("the rows are a multiple of 16 bytes")
}

#[inline(always)]
fn store(row: &mut [u8; 32], value: __m256i) {
    // SAFETY: a reference to 32 bytes, and the instruction asks for no alignment.
    unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), value) }
}

/// Transposes the 4 by 4 words in both halves.
#[inline(always)]
fn transpose4(rows: [__m256i; 4]) -> [__m256i; 4] {
    let [a, b, c, d] = rows;
    let ab_low = avx2!(_mm256_unpacklo_epi32(a, b));
    let ab_high = avx2!(_mm256_unpackhi_epi32(a, b));
    let cd_low = avx2!(_mm256_unpacklo_epi32(c, d));
    let cd_high = avx2!(_mm256_unpackhi_epi32(c, d));
    [
        avx2!(_mm256_unpacklo_epi64(ab_low, cd_low)),
        avx2!(_mm256_unpackhi_epi64(ab_low, cd_low)),
        avx2!(_mm256_unpacklo_epi64(ab_high, cd_high)),
        avx2!(_mm256_unpackhi_epi64(ab_high, cd_high)),
    ]
}

/// Where each byte of a register comes from, within its half.
#[repr(align(32))]
struct Order([[u8; 16]; 2]);

impl Order {
    const fn new(half: [u8; 16]) -> Self {
        Self([half; 2])
    }
}

/// Rotations by whole bytes, and the reversal of a word.
static RIGHT_16: Order = Order::new([2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13]);
static RIGHT_24: Order = Order::new([3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14]);
static REVERSE: Order = Order::new([3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]);
static WIDE_RIGHT_16: Order = Order::new([2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9]);
static WIDE_RIGHT_24: Order = Order::new([3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10]);

/// Moves bytes within both halves.
///
/// Written out, because the compiler takes the intrinsic apart: into two instructions where it
/// finds that 16-bit shuffles would do, and into one for each operand of the exclusive or before
/// it.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(value: __m256i, order: &'static Order) -> __m256i {
    let shuffled;
    // SAFETY: reads the 32 bytes of `order`, which are aligned, and changes nothing but its output.
    unsafe {
        asm!(
            "vpshufb {shuffled}, {value}, [{order}]",
            shuffled = lateout(ymm_reg) shuffled,
            value = in(ymm_reg) value,
            order = in(reg) order.0.as_ptr(),
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    shuffled
}

/// Eight lanes of 32 bits.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words32(__m256i);

impl Word32<8> for Words32 {
    type Cpu = Avx2;

    const ABREAST: usize = 2;

    #[inline(always)]
    fn splat(_: Avx2, word: u32) -> Self {
        Self(avx2!(_mm256_set1_epi32(word as i32)))
    }

    #[inline(always)]
    fn ascending(_: Avx2) -> Self {
        Self(avx2!(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)))
    }

    #[inline(always)]
    fn load_rows(cpu: Avx2, rows: &[&[u8; 32]; 8]) -> [Self; 8] {
        let mut words = [Self::splat(cpu, 0); 8];
        unroll!(half in [0 1] {
            let mut quarter = [words[0].0; 4];
            unroll!(i in [0 1 2 3] {
                quarter[i] = join(cpu, piece(rows[i], half), piece(rows[4 + i], half));
            });
            let quarter = transpose4(quarter);
            unroll!(i in [0 1 2 3] { words[4 * half + i] = Self(quarter[i]); });
        });
        words
    }

    #[inline(always)]
    fn store_rows(words: &[Self; 8], rows: &mut [[u8; 32]; 8]) {
        let low = transpose4([words[0].0, words[1].0, words[2].0, words[3].0]);
        let high = transpose4([words[4].0, words[5].0, words[6].0, words[7].0]);
        unroll!(i in [0 1 2 3] {
            let (low, high) = (low[i], high[i]);
            store(&mut rows[i], avx2!(_mm256_permute2x128_si256::<0x20>(low, high)));
            store(&mut rows[4 + i], avx2!(_mm256_permute2x128_si256::<0x31>(low, high)));
        });
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(avx2!(_mm256_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(avx2!(_mm256_xor_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(avx2!(_mm256_and_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn rotate_right<const N: u32>(self) -> Self {
        let rotated = match N {
            16 => avx2!(shuffle(self.0, &RIGHT_16)),
            24 => avx2!(shuffle(self.0, &RIGHT_24)),
            _ => {
                let left = avx2!(_mm_cvtsi32_si128(32 - N as i32));
                let left = avx2!(_mm256_sll_epi32(self.0, left));
                avx2!(_mm256_or_si256(left, self.shift_right::<N>().0))
            }
        };
        Self(rotated)
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self) -> Self {
        let count = avx2!(_mm_cvtsi32_si128(N as i32));
        Self(avx2!(_mm256_srl_epi32(self.0, count)))
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        Self(avx2!(shuffle(self.0, &REVERSE)))
    }
}

/// Four lanes of 64 bits.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words64(__m256i);

impl Word64<4> for Words64 {
    type Cpu = Avx2;

    const ABREAST: usize = 2;

    #[inline(always)]
    fn splat(_: Avx2, word: u64) -> Self {
        Self(avx2!(_mm256_set1_epi64x(word as i64)))
    }

    #[inline(always)]
    fn load_rows(cpu: Avx2, rows: &[&[u8; 64]; 4]) -> [Self; 8] {
        let mut words = [Self::splat(cpu, 0); 8];
        unroll!(i in [0 1 2 3] {
            let even = join(cpu, piece(rows[0], i), piece(rows[2], i));
            let odd = join(cpu, piece(rows[1], i), piece(rows[3], i));
            words[2 * i] = Self(avx2!(_mm256_unpacklo_epi64(even, odd)));
            words[2 * i + 1] = Self(avx2!(_mm256_unpackhi_epi64(even, odd)));
        });
        words
    }

    #[inline(always)]
    fn lanes(self) -> [u64; 4] {
        let mut bytes = [0; 32];
        store(&mut bytes, self.0);
        let (words, _) = bytes.as_chunks();
        [0, 1, 2, 3].map(|lane| u64::from_le_bytes(words[lane]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(avx2!(_mm256_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(avx2!(_mm256_xor_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn rotate_right<const N: u32>(self) -> Self {
        let rotated = match N {
            16 => avx2!(shuffle(self.0, &WIDE_RIGHT_16)),
            24 => avx2!(shuffle(self.0, &WIDE_RIGHT_24)),
            32 => avx2!(_mm256_shuffle_epi32::<0b10_11_00_01>(self.0)),
            63 => {
                let doubled = avx2!(_mm256_add_epi64(self.0, self.0));
                let top = avx2!(_mm256_srli_epi64::<63>(self.0));
                avx2!(_mm256_or_si256(doubled, top))
            }
            _ => {
                let right = avx2!(_mm_cvtsi32_si128(N as i32));
                let right = avx2!(_mm256_srl_epi64(self.0, right));
                let left = avx2!(_mm_cvtsi32_si128(64 - N as i32));
                let left = avx2!(_mm256_sll_epi64(self.0, left));
                avx2!(_mm256_or_si256(left, right))
            }
        };
        Self(rotated)
    }
}
