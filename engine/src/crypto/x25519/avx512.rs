//! X25519 on AVX-512 IFMA: 8 lanes, two ladders at a time.
#![expect(unsafe_code, reason = "vector instructions")]

use core::arch::x86_64::*;

use super::ifma::Ifma;
use super::lanes::{LANES_MAX, Lanes, Madd52};
use super::{X25519, batch};
use crate::cpu::Avx512;

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;

/// This tier's kernel, for who has asked the CPU.
pub(crate) fn kernel(_: Avx512) -> X25519 {
    x25519
}

fn x25519(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    // SAFETY: nothing but `kernel` gives this function away, and it has the proof that the CPU has
    // what `multiply` requires.
    unsafe { multiply(scalars, points, out) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn multiply(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    batch::multiply::<Ifma<Zmm>>(scalars, points, out);
}

/// A vector. Named by [`multiply`] only, and private, so that none exists outside of it.
#[derive(Clone, Copy)]
struct Zmm(__m512i);

/// One instruction on vectors.
macro_rules! op {
    ($instruction:ident($($argument:expr),*)) => {{
        // SAFETY: only `multiply` names `Zmm`, so this runs inside of it, where the CPU is known
        // to have the instruction, which touches nothing but registers.
        unsafe { $instruction($($argument),*) }
    }};
}

impl Lanes for Zmm {
    const WIDTH: usize = LANES;
    type Mask = __mmask8;

    #[inline(always)]
    fn splat(x: u64) -> Self {
        Self(op!(_mm512_set1_epi64(x.cast_signed())))
    }

    #[inline(always)]
    fn load(words: &[u64; LANES_MAX]) -> Self {
        // SAFETY: the pointer is to 64 readable bytes and may be unaligned; for the instruction
        // itself see `op`.
        Self(unsafe { _mm512_loadu_epi64(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64; LANES_MAX]) {
        // SAFETY: the pointer is to 64 writable bytes and may be unaligned; for the instruction
        // itself see `op`.
        unsafe { _mm512_storeu_epi64(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(op!(_mm512_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(op!(_mm512_sub_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(op!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(op!(_mm512_or_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(op!(_mm512_xor_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn shl(self, count: u32) -> Self {
        let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
        Self(op!(_mm512_sll_epi64(self.0, count)))
    }

    #[inline(always)]
    fn shr(self, count: u32) -> Self {
        let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
        Self(op!(_mm512_srl_epi64(self.0, count)))
    }

    #[inline(always)]
    fn top_bits(self) -> __mmask8 {
        op!(_mm512_movepi64_mask(self.0))
    }

    #[inline(always)]
    fn select(mask: __mmask8, clear: Self, set: Self) -> Self {
        Self(op!(_mm512_mask_blend_epi64(mask, clear.0, set.0)))
    }
}

impl Madd52 for Zmm {
    #[inline(always)]
    fn madd_lo(self, a: Self, b: Self) -> Self {
        Self(op!(_mm512_madd52lo_epu64(self.0, a.0, b.0)))
    }

    #[inline(always)]
    fn madd_hi(self, a: Self, b: Self) -> Self {
        Self(op!(_mm512_madd52hi_epu64(self.0, a.0, b.0)))
    }
}
