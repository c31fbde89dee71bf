//! X25519 on AVX2 and FMA: 4 lanes.
#![expect(unsafe_code, reason = "vector instructions")]

use core::arch::asm;
use core::arch::x86_64::*;

use super::float::Fused;
use super::lanes::{Float, LANES_MAX, Lanes};
use super::{X25519, batch};
use crate::cpu::Avx2;

/// Lanes of a vector.
pub(crate) const LANES: usize = 4;

/// This tier's kernel, for who has asked the CPU.
pub(crate) fn kernel(_: Avx2) -> X25519 {
    x25519
}

fn x25519(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    // SAFETY: nothing but `kernel` gives this function away, and it has the proof that the CPU has
    // what `multiply` requires.
    unsafe { multiply(scalars, points, out) }
}

#[target_feature(enable = "avx2,fma")]
fn multiply(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    batch::multiply::<Fused<Ymm>>(scalars, points, out);
}

/// A vector. Named by [`multiply`] only, and private, so that none exists outside of it.
#[derive(Clone, Copy)]
struct Ymm(__m256i);

/// No instruction at all, but the compiler cannot look through it.
#[inline]
#[target_feature(enable = "avx2")]
fn opaque(mut vector: __m256i) -> __m256i {
    // SAFETY: without an instruction, nothing can go wrong.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) vector, options(pure, nomem, nostack, preserves_flags));
    }
    vector
}

/// One instruction on vectors.
macro_rules! op {
    ($instruction:ident($($argument:expr),*)) => {{
        // SAFETY: only `multiply` names `Ymm`, so this runs inside of it, where the CPU is known
        // to have the instruction, which touches nothing but registers.
        unsafe { $instruction($($argument),*) }
    }};
}

impl Ymm {
    #[inline(always)]
    fn float(self) -> __m256d {
        op!(_mm256_castsi256_pd(self.0))
    }

    #[inline(always)]
    fn bits(float: __m256d) -> Self {
        Self(op!(_mm256_castpd_si256(float)))
    }
}

impl Lanes for Ymm {
    const WIDTH: usize = LANES;
    type Mask = Self;

    #[inline(always)]
    fn splat(x: u64) -> Self {
        Self(op!(_mm256_set1_epi64x(x.cast_signed())))
    }

    #[inline(always)]
    fn load(words: &[u64; LANES_MAX]) -> Self {
        // SAFETY: the pointer is to 64 readable bytes, 32 of which are read, and may be
        // unaligned; for the instruction itself see `op`.
        Self(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, words: &mut [u64; LANES_MAX]) {
        // SAFETY: the pointer is to 64 writable bytes, 32 of which are written, and may be
        // unaligned; for the instruction itself see `op`.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(op!(_mm256_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(op!(_mm256_sub_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(op!(_mm256_and_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(op!(_mm256_or_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(op!(_mm256_xor_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn shl(self, count: u32) -> Self {
        let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
        Self(op!(_mm256_sll_epi64(self.0, count)))
    }

    #[inline(always)]
    fn shr(self, count: u32) -> Self {
        let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
        Self(op!(_mm256_srl_epi64(self.0, count)))
    }

    /// Out of shifts and sums the compiler would make a multiplication of 64 bits, which AVX2 has
    /// to put together from three of 32.
    #[inline(always)]
    fn times_19(self) -> Self {
        let shifted = Self(op!(opaque(self.shl(4).0)));
        shifted.add(self).add(self.add(self))
    }

    /// The vector itself: a selection reads the top bits only.
    #[inline(always)]
    fn top_bits(self) -> Self {
        self
    }

    #[inline(always)]
    fn mask_bits(mask: Self) -> u64 {
        u64::from(op!(_mm256_movemask_pd(mask.float())).cast_unsigned())
    }

    #[inline(always)]
    fn select(mask: Self, clear: Self, set: Self) -> Self {
        Self::bits(op!(_mm256_blendv_pd(clear.float(), set.float(), mask.float())))
    }
}

impl Float for Ymm {
    #[inline(always)]
    fn fused(a: Self, b: Self, c: Self) -> Self {
        Self::bits(op!(_mm256_fmadd_pd(a.float(), b.float(), c.float())))
    }

    #[inline(always)]
    fn float_add(self, other: Self) -> Self {
        Self::bits(op!(_mm256_add_pd(self.float(), other.float())))
    }

    #[inline(always)]
    fn float_sub(self, other: Self) -> Self {
        Self::bits(op!(_mm256_sub_pd(self.float(), other.float())))
    }

    #[inline(always)]
    fn mul_32(self, other: Self) -> Self {
        Self(op!(_mm256_mul_epu32(self.0, other.0)))
    }
}
