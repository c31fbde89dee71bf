//! The field on fused multiply-and-add of `f64`: limbs of 51 bits, signed.
//!
//! AVX2 multiplies integers of 32 bits only, four products where one of 64 bits is meant, but its
//! floating-point unit multiplies numbers of 53 bits and can return either half of the product
//! exactly. With S = 1.5 * 2^103, whose last place is 2^51, `fused(a, b, S)` is the product rounded
//! to a multiple of 2^51, and its bits are those of S plus that multiple, counted in units of
//! 2^51: the upper half as an integer, without a conversion. `fused(a, b, ..)` again, with
//! that multiple subtracted, is the rest; with T = 1.5 * 2^52, whose last place is 1, added, its
//! bits are those of T plus the lower half. The bits are then summed as integers, and the bits of
//! S and T are subtracted from each column at once, in a constant that holds the bias too. See
//! Emmart, Zheng, Weems: "Faster modular exponentiation using double precision floating point
//! arithmetic on the GPU" (ARITH 2018), and for floating-point limbs on this curve Bernstein:
//! "Curve25519: new Diffie-Hellman speed records" (PKC 2006). No operand is ever subnormal,
//! infinite or not a number, which are the ones that cost an `f64` instruction more time.
//!
//! Bounds. A factor's limb is an integer within 2^50 + 2^14 of zero. Products are below 2^100.1 in
//! size, 2^101.1 with one factor doubled: S stays between 2^103 and 2^104. A column of five is
//! below 2^52.9 in size, 20 times of which is below 2^57.3. [`BIAS`](Field::BIAS) is 2^8 * p,
//! its limbs just below 2^59, above any sum or difference of two products, and 2^50 in each limb,
//! which [`Field::carry`] takes away again to centre the limbs around zero.

use core::marker::PhantomData;

use super::field::{Factor, Field, LIMB, Wide};
use super::lanes::Float;

/// See the [module](self).
pub(super) struct Fused<L>(PhantomData<L>);

/// The bits of S = 1.5 * 2^103.
const S: u64 = float_bits(103, 1 << 51);
/// The bits of T = 1.5 * 2^52.
const T: u64 = float_bits(52, 1 << 51);
/// The bits of S + T: T is three units of 2^51.
const S_T: u64 = S + 3;
/// The bits of 2^52, which turn an integer below 2^52 into an `f64` that much larger.
const LIFT: u64 = float_bits(52, 0);
/// The bits of 2^52 + 2^50: lifts, and centres a limb.
const CENTRE: u64 = float_bits(52, 1 << 50);
/// 2^8 * p, and 2^50 in each limb.
const BIAS: [u64; 5] = [
    ((LIMB - 18) << 8) + (1 << 50),
    (LIMB << 8) + (1 << 50),
    (LIMB << 8) + (1 << 50),
    (LIMB << 8) + (1 << 50),
    (LIMB << 8) + (1 << 50),
];
/// 2^2 * p, larger than a factor in every limb.
const ABOVE: [u64; 5] = [(LIMB - 18) << 2, LIMB << 2, LIMB << 2, LIMB << 2, LIMB << 2];

/// Products per column in [`mul`].
const MUL: [u64; 9] = [1, 2, 3, 4, 5, 4, 3, 2, 1];
/// Products per column in [`square`].
const SQUARE: [u64; 9] = [1, 1, 2, 2, 3, 2, 2, 1, 1];

const fn float_bits(exponent: u64, mantissa: u64) -> u64 {
    (1023 + exponent) << 52 | mantissa
}

/// `start` less the bits of S and T that `products` bring into each column, after folding.
const fn offset(start: [u64; 5], products: [u64; 9]) -> [u64; 5] {
    let mut columns = [0u64; 10];
    let mut k = 0;
    while k < 9 {
        columns[k] = columns[k].wrapping_add(products[k].wrapping_mul(T));
        columns[k + 1] = columns[k + 1].wrapping_add(products[k].wrapping_mul(S));
        k += 1;
    }
    let mut offset = start;
    k = 0;
    while k < 5 {
        let folded = columns[k].wrapping_add(columns[k + 5].wrapping_mul(19));
        offset[k] = start[k].wrapping_sub(folded);
        k += 1;
    }
    offset
}

impl<L: Float> Field for Fused<L> {
    type Lanes = L;

    // One ladder already fills the 16 registers.
    const PAIRED: bool = false;

    const BIAS: [u64; 5] = BIAS;

    #[inline(always)]
    fn mul(a: &Factor<L>, b: &Factor<L>) -> Wide<L> {
        const OFFSET: [u64; 5] = offset([0; 5], MUL);
        mul(&a.0, &b.0, OFFSET)
    }

    #[inline(always)]
    fn mul_biased(a: &Factor<L>, b: &Factor<L>) -> Wide<L> {
        const OFFSET: [u64; 5] = offset(BIAS, MUL);
        mul(&a.0, &b.0, OFFSET)
    }

    /// The bias costs nothing here.
    #[inline(always)]
    fn square(a: &Factor<L>) -> Wide<L> {
        Self::square_biased(a)
    }

    #[inline(always)]
    fn square_biased(a: &Factor<L>) -> Wide<L> {
        const OFFSET: [u64; 5] = offset(BIAS, SQUARE);
        square(&a.0, OFFSET)
    }

    #[inline(always)]
    fn add_a24(square: &Wide<L>, e: &Factor<L>) -> Wide<L> {
        const HALVES: u64 = S.wrapping_add(T).wrapping_neg();
        let (s, e, a24) = (&square.0, &e.0, L::splat(121_665f64.to_bits()));
        let (h1, l0) = halves(e[0], a24);
        let (h2, l1) = halves(e[1], a24);
        let (h3, l2) = halves(e[2], a24);
        let (h4, l3) = halves(e[3], a24);
        let (h5, l4) = halves(e[4], a24);
        let h0 = h5.sub(L::splat(S)).times_19();
        let taken = L::splat(HALVES);
        Wide([
            s[0].add(l0).add(h0).sub(L::splat(T)),
            s[1].add(l1).add(h1.add(taken)),
            s[2].add(l2).add(h2.add(taken)),
            s[3].add(l3).add(h3.add(taken)),
            s[4].add(l4).add(h4.add(taken)),
        ])
    }

    #[inline(always)]
    fn carry(wide: Wide<L>) -> Factor<L> {
        let ([a, b, c, d, e], mask) = (wide.0, L::splat(LIMB));
        Factor([
            centre(a.and(mask).add(e.shr(51).mul_32(L::splat(19)))),
            centre(b.and(mask).add(a.shr(51))),
            centre(c.and(mask).add(b.shr(51))),
            centre(d.and(mask).add(c.shr(51))),
            centre(e.and(mask).add(d.shr(51))),
        ])
    }

    #[inline(always)]
    fn limbs(factor: &Factor<L>) -> [L; 5] {
        let [a, b, c, d, e] = factor.0;
        let limb = |x: L, above: u64| x.float_add(L::splat(T)).add(L::splat(above.wrapping_sub(T)));
        [
            limb(a, ABOVE[0]),
            limb(b, ABOVE[1]),
            limb(c, ABOVE[2]),
            limb(d, ABOVE[3]),
            limb(e, ABOVE[4]),
        ]
    }
}

/// An integer below 2^52, less 2^50, as `f64`.
#[inline(always)]
fn centre<L: Float>(x: L) -> L {
    x.or(L::splat(LIFT)).float_sub(L::splat(CENTRE))
}

/// Upper and lower half of `a * b`, on top of the bits of S and T.
#[inline(always)]
fn halves<L: Float>(a: L, b: L) -> (L, L) {
    let upper = L::fused(a, b, L::splat(S));
    let rest = L::splat(S_T).float_sub(upper);
    (upper, L::fused(a, b, rest))
}

/// Adds both halves of `a * b` to their columns.
#[inline(always)]
fn accumulate<L: Float>(columns: &mut [L; 10], k: usize, a: L, b: L) {
    let (upper, lower) = halves(a, b);
    columns[k] = columns[k].add(lower);
    columns[k + 1] = columns[k + 1].add(upper);
}

/// The product of two factors: ten columns, column k of weight 2^(51 k), then folded.
#[inline(always)]
fn mul<L: Float>(a: &[L; 5], b: &[L; 5], offset: [u64; 5]) -> Wide<L> {
    let mut columns = [L::splat(0); 10];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            accumulate(&mut columns, i + j, *a, *b);
        }
    }
    fold(&columns, offset)
}

/// The square of a factor: 15 products instead of 25, the mixed ones doubled.
#[inline(always)]
fn square<L: Float>(a: &[L; 5], offset: [u64; 5]) -> Wide<L> {
    let mut columns = [L::splat(0); 10];
    for (i, limb) in a.iter().enumerate() {
        accumulate(&mut columns, 2 * i, *limb, *limb);
        let twice = limb.float_add(*limb);
        for (j, other) in a.iter().enumerate().skip(i + 1) {
            accumulate(&mut columns, i + j, twice, *other);
        }
    }
    fold(&columns, offset)
}

/// The upper five columns, 19 times, onto the lower five, with `offset`.
#[inline(always)]
fn fold<L: Float>(c: &[L; 10], offset: [u64; 5]) -> Wide<L> {
    let folded = |k: usize| c[k].add(L::splat(offset[k])).add(c[k + 5].times_19());
    Wide([folded(0), folded(1), folded(2), folded(3), folded(4)])
}
