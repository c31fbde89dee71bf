//! What the field arithmetic asks of a vector register.
//!
//! The algebra is written once against these traits; a file per instruction set implements them
//! with one instruction per method, and the tests implement them without any. Implementations are
//! `#[inline(always)]`, as is all code between them and the entry of a kernel: only there the
//! compiler is told which instructions the CPU has.

use super::field::{Chain, Factor, powers};
use super::ifma::Ifma;

/// Lanes of the widest vector.
pub(super) const LANES_MAX: usize = 8;

/// A vector of 64-bit unsigned integers, which may also stand for the bits of `f64`.
pub(super) trait Lanes: Copy {
    /// Number of lanes, [`LANES_MAX`] at most.
    const WIDTH: usize;

    /// One bit per lane.
    type Mask: Copy;

    /// `x` in every lane.
    fn splat(x: u64) -> Self;
    /// The first [`Lanes::WIDTH`] words.
    fn load(words: &[u64; LANES_MAX]) -> Self;
    /// Overwrites the first [`Lanes::WIDTH`] words.
    fn store(self, words: &mut [u64; LANES_MAX]);
    /// Sum modulo 2^64.
    fn add(self, other: Self) -> Self;
    /// Difference modulo 2^64.
    fn sub(self, other: Self) -> Self;
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
    /// Bitwise or.
    fn or(self, other: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Shift of every lane by the same public count.
    fn shl(self, count: u32) -> Self;
    /// Shift of every lane by the same public count, zeros coming in.
    fn shr(self, count: u32) -> Self;
    /// The top bit of each lane.
    fn top_bits(self) -> Self::Mask;
    /// A mask as a number: bit i for lane i.
    fn mask_bits(mask: Self::Mask) -> u64;
    /// `set` in the lanes of `mask`, `clear` elsewhere.
    fn select(mask: Self::Mask, clear: Self, set: Self) -> Self;

    /// `19 * x`, as 2^255 = 19 folds the upper half of a product.
    #[inline(always)]
    fn times_19(self) -> Self {
        self.shl(4).add(self).add(self.add(self))
    }
}

/// Vectors with the IFMA instructions: 52-bit factors, 104-bit products.
pub(super) trait Madd52: Lanes {
    /// `self` plus the lower 52 bits of `a * b`.
    fn madd_lo(self, a: Self, b: Self) -> Self;
    /// `self` plus the upper 52 bits of `a * b`.
    fn madd_hi(self, a: Self, b: Self) -> Self;

    /// See [`Field::inverse`](super::field::Field::inverse). A vector of which the half is faster
    /// brings its own.
    #[inline(always)]
    fn inverse(x: &Factor<Self>) -> Factor<Self> {
        powers::<Ifma<Self>, 1>(&[*x], Chain::Inverse)[0]
    }
}

/// Vectors whose lanes can be taken for `f64`, rounding to nearest.
pub(super) trait Float: Lanes {
    /// `a * b + c` with one rounding.
    fn fused(a: Self, b: Self, c: Self) -> Self;
    /// `self + other`.
    fn float_add(self, other: Self) -> Self;
    /// `self - other`.
    fn float_sub(self, other: Self) -> Self;
    /// Integer product of the lower 32 bits of both.
    fn mul_32(self, other: Self) -> Self;
}
