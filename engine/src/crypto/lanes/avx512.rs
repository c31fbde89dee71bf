//! Sixteen words of 32 bits or eight of 64 in one AVX-512 register.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline, loads and stores")]

pub(in crate::crypto) mod interleaved;

use core::arch::x86_64::*;

use super::{Word32, Word64, unroll};
use crate::cpu::Avx512;

/// One instruction.
macro_rules! avx512 {
    ($instruction:expr) => {{
        // SAFETY: the vectors in this file are made by functions that take `Avx512`, so there is
        // none where the CPU lacks the instructions.
        unsafe { $instruction }
    }};
}

/// Truth tables of the three-operand logic instruction.
const PARITY: i32 = 0b1001_0110;
const CHOOSE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// Quarters 0 and 2 of one register and then of another; quarters 1 and 3.
const EVEN: i32 = 0b10_00_10_00;
const ODD: i32 = 0b11_01_11_01;

/// Two pieces of 32 bytes, the first lowest: piece `at` of each row.
#[inline(always)]
fn halves(_: Avx512, rows: [&[u8; 64]; 2], at: usize) -> __m512i {
    let [low, high] = rows.map(|row| {
        let piece: &[u8; 32] = row[32 * at..].first_chunk().expect("the rows have two pieces");
        // SAFETY: a reference to 32 bytes, and the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(piece.as_ptr().cast()) }
    });
    avx512!(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
}

/// Four pieces of 16 bytes, the first lowest: piece `at` of each row.
#[inline(always)]
fn join<const N: usize>(_: Avx512, rows: [&[u8; N]; 4], at: usize) -> __m512i {
    let [first, second, third, fourth] = rows.map(|row| {
        let piece: &[u8; 16] =
            row[16 * at..].first_chunk().expect("the rows are a multiple of 16 bytes");
        // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
        unsafe { _mm_loadu_si128(piece.as_ptr().cast()) }
    });
    let joined = avx512!(_mm512_castsi128_si512(first));
    let joined = avx512!(_mm512_inserti32x4::<1>(joined, second));
    let joined = avx512!(_mm512_inserti32x4::<2>(joined, third));
    avx512!(_mm512_inserti32x4::<3>(joined, fourth))
}

#[inline(always)]
fn store(row: &mut [u8; 32], value: __m256i) {
    // SAFETY: a reference to 32 bytes, and the instruction asks for no alignment.
    unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), value) }
}

#[inline(always)]
fn xor_store(value: __m512i, data: &mut [u8; 64]) {
    let place = data.as_mut_ptr();
    // SAFETY: a reference to 64 bytes, and the instruction asks for no alignment.
    let before = unsafe { _mm512_loadu_si512(place.cast()) };
    let sum = avx512!(_mm512_xor_si512(before, value));
    // SAFETY: as above.
    unsafe { _mm512_storeu_si512(place.cast(), sum) }
}

/// Xors the beginning of a row onto data that ends before it does.
#[inline(always)]
fn xor_store_some(value: __m512i, data: &mut [u8]) {
    assert!(data.len() < 64, "what is as long as a row is not cut off");
    let mask = (1 << data.len()) - 1;
    let place = data.as_mut_ptr();
    // SAFETY: the mask names the bytes of the slice, and others are not touched.
    let before = unsafe { _mm512_maskz_loadu_epi8(mask, place.cast()) };
    let sum = avx512!(_mm512_xor_si512(before, value));
    // SAFETY: as above.
    unsafe { _mm512_mask_storeu_epi8(place.cast(), mask, sum) }
}

/// Xors rows onto data that ends before they do.
#[inline(always)]
fn xor_rows_some(rows: &[__m512i; 16], data: &mut [u8]) {
    let (blocks, rest) = data.as_chunks_mut::<64>();
    unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] { xor_row(rows[i], i, blocks, rest); });
}

/// Xors row `i` onto the block that it belongs to, or onto what is left behind the last.
#[inline(always)]
fn xor_row(row: __m512i, i: usize, blocks: &mut [[u8; 64]], rest: &mut [u8]) {
    if let Some(block) = blocks.get_mut(i) {
        xor_store(row, block);
    } else if i == blocks.len() {
        xor_store_some(row, rest);
    }
}

/// Transposes the 4 by 4 quarters.
#[inline(always)]
fn transpose_quarters(rows: [__m512i; 4]) -> [__m512i; 4] {
    let [a, b, c, d] = rows;
    let ab_even = avx512!(_mm512_shuffle_i32x4::<EVEN>(a, b));
    let ab_odd = avx512!(_mm512_shuffle_i32x4::<ODD>(a, b));
    let cd_even = avx512!(_mm512_shuffle_i32x4::<EVEN>(c, d));
    let cd_odd = avx512!(_mm512_shuffle_i32x4::<ODD>(c, d));
    [
        avx512!(_mm512_shuffle_i32x4::<EVEN>(ab_even, cd_even)),
        avx512!(_mm512_shuffle_i32x4::<EVEN>(ab_odd, cd_odd)),
        avx512!(_mm512_shuffle_i32x4::<ODD>(ab_even, cd_even)),
        avx512!(_mm512_shuffle_i32x4::<ODD>(ab_odd, cd_odd)),
    ]
}

/// Transposes the 4 by 4 words in every quarter.
#[inline(always)]
fn transpose4(rows: [__m512i; 4]) -> [__m512i; 4] {
    let [a, b, c, d] = rows;
    let ab_low = avx512!(_mm512_unpacklo_epi32(a, b));
    let ab_high = avx512!(_mm512_unpackhi_epi32(a, b));
    let cd_low = avx512!(_mm512_unpacklo_epi32(c, d));
    let cd_high = avx512!(_mm512_unpackhi_epi32(c, d));
    [
        avx512!(_mm512_unpacklo_epi64(ab_low, cd_low)),
        avx512!(_mm512_unpackhi_epi64(ab_low, cd_low)),
        avx512!(_mm512_unpacklo_epi64(ab_high, cd_high)),
        avx512!(_mm512_unpackhi_epi64(ab_high, cd_high)),
    ]
}

/// Sixteen lanes of 32 bits.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words32(__m512i);

impl Word32<16> for Words32 {
    type Cpu = Avx512;

    const ABREAST: usize = 4;

    #[inline(always)]
    fn splat(_: Avx512, word: u32) -> Self {
        Self(avx512!(_mm512_set1_epi32(word as i32)))
    }

    #[inline(always)]
    fn ascending(_: Avx512) -> Self {
        Self(avx512!(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)))
    }

    #[inline(always)]
    fn load_rows(cpu: Avx512, rows: &[&[u8; 32]; 16]) -> [Self; 8] {
        let mut words = [Self::splat(cpu, 0); 8];
        unroll!(half in [0 1] {
            let mut quarter = [words[0].0; 4];
            unroll!(i in [0 1 2 3] {
                quarter[i] = join(cpu, [rows[i], rows[4 + i], rows[8 + i], rows[12 + i]], half);
            });
            let quarter = transpose4(quarter);
            unroll!(i in [0 1 2 3] { words[4 * half + i] = Self(quarter[i]); });
        });
        words
    }

    #[inline(always)]
    fn store_rows(words: &[Self; 8], rows: &mut [[u8; 32]; 16]) {
        let low = transpose4([words[0].0, words[1].0, words[2].0, words[3].0]);
        let high = transpose4([words[4].0, words[5].0, words[6].0, words[7].0]);
        // Indices from 8 upwards are those of the second operand.
        let first = avx512!(_mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11));
        let second = avx512!(_mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15));
        unroll!(i in [0 1 2 3] {
            let two = avx512!(_mm512_permutex2var_epi64(low[i], first, high[i]));
            store(&mut rows[i], avx512!(_mm512_castsi512_si256(two)));
            store(&mut rows[4 + i], avx512!(_mm512_extracti64x4_epi64::<1>(two)));
            let two = avx512!(_mm512_permutex2var_epi64(low[i], second, high[i]));
            store(&mut rows[8 + i], avx512!(_mm512_castsi512_si256(two)));
            store(&mut rows[12 + i], avx512!(_mm512_extracti64x4_epi64::<1>(two)));
        });
    }

    #[inline(always)]
    fn xor_rows(words: &[Self; 16], data: &mut [u8]) {
        let mut rows = [words[0].0; 16];
        unroll!(i in [0 1 2 3] {
            let four = [words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]];
            let four = transpose4([four[0].0, four[1].0, four[2].0, four[3].0]);
            unroll!(k in [0 1 2 3] { rows[4 * i + k] = four[k]; });
        });
        unroll!(i in [0 1 2 3] {
            let lanes = transpose_quarters([rows[i], rows[4 + i], rows[8 + i], rows[12 + i]]);
            unroll!(k in [0 1 2 3] { rows[4 * k + i] = lanes[k]; });
        });
        if let Ok(whole) = <&mut [u8; 16 * 64]>::try_from(&mut *data) {
            let (blocks, _) = whole.as_chunks_mut::<64>();
            unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                xor_store(rows[i], &mut blocks[i]);
            });
        } else {
            xor_rows_some(&rows, data);
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(avx512!(_mm512_add_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(avx512!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(avx512!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn rotate_right<const N: u32>(self) -> Self {
        let count = avx512!(_mm512_set1_epi32(N as i32));
        Self(avx512!(_mm512_rorv_epi32(self.0, count)))
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self) -> Self {
        Self(avx512!(_mm512_srli_epi32::<N>(self.0)))
    }

    #[inline(always)]
    fn swap_bytes(self) -> Self {
        // Rotated right and left by 8, every second byte is where it belongs.
        let right = self.rotate_right::<8>().0;
        let left = self.rotate_right::<24>().0;
        let mask = avx512!(_mm512_set1_epi32(0x00ff_00ff));
        Self(avx512!(_mm512_ternarylogic_epi32::<CHOOSE>(mask, left, right)))
    }

    #[inline(always)]
    fn parity(self, second: Self, third: Self) -> Self {
        Self(avx512!(_mm512_ternarylogic_epi32::<PARITY>(self.0, second.0, third.0)))
    }

    #[inline(always)]
    fn choose(self, on: Self, off: Self) -> Self {
        Self(avx512!(_mm512_ternarylogic_epi32::<CHOOSE>(self.0, on.0, off.0)))
    }

    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        Self(avx512!(_mm512_ternarylogic_epi32::<MAJORITY>(self.0, second.0, third.0)))
    }
}

/// Eight lanes of 64 bits.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Words64(__m512i);

impl Word64<8> for Words64 {
    type Cpu = Avx512;

    const ABREAST: usize = 4;

    #[inline(always)]
    fn splat(_: Avx512, word: u64) -> Self {
        Self(avx512!(_mm512_set1_epi64(word as i64)))
    }

    #[inline(always)]
    fn load_rows(cpu: Avx512, rows: &[&[u8; 64]; 8]) -> [Self; 8] {
        let mut words = [Self::splat(cpu, 0); 8];
        unroll!(half in [0 1] {
            let pair = |row: usize| halves(cpu, [rows[row], rows[row + 2]], half);
            let (first, second) = ([pair(0), pair(1)], [pair(4), pair(5)]);
            let even = avx512!(_mm512_unpacklo_epi64(first[0], first[1]));
            let odd = avx512!(_mm512_unpackhi_epi64(first[0], first[1]));
            let other_even = avx512!(_mm512_unpacklo_epi64(second[0], second[1]));
            let other_odd = avx512!(_mm512_unpackhi_epi64(second[0], second[1]));
            let of = |one: __m512i, other: __m512i| [
                Self(avx512!(_mm512_shuffle_i64x2::<EVEN>(one, other))),
                Self(avx512!(_mm512_shuffle_i64x2::<ODD>(one, other))),
            ];
            [words[4 * half], words[4 * half + 2]] = of(even, other_even);
            [words[4 * half + 1], words[4 * half + 3]] = of(odd, other_odd);
        });
        words
    }

    #[inline(always)]
    fn lanes(self) -> [u64; 8] {
        let mut halves = [[0; 32]; 2];
        store(&mut halves[0], avx512!(_mm512_castsi512_si256(self.0)));
        store(&mut halves[1], avx512!(_mm512_extracti64x4_epi64::<1>(self.0)));
        let (words, _) = halves.as_flattened().as_chunks();
        [0, 1, 2, 3, 4, 5, 6, 7].map(|lane| u64::from_le_bytes(words[lane]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(avx512!(_mm512_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(avx512!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn rotate_right<const N: u32>(self) -> Self {
        let count = avx512!(_mm512_set1_epi64(i64::from(N)));
        Self(avx512!(_mm512_rorv_epi64(self.0, count)))
    }
}
