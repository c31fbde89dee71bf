//! The field on 52-bit multiply-and-add: limbs of 51 bits, unsigned.
//!
//! `madd_hi` returns what lies above bit 52 of a product, where the next limb begins at bit 51:
//! upper halves count twice. They are summed first and doubled once per column, and the lower
//! halves are added on top of that. Factors cannot be multiplied with 19 beforehand, they would
//! no longer fit 52 bits; the upper five columns are, afterwards.
//!
//! Bounds. A factor's limb is below 2^51 + 2^17. Five lower halves and five doubled upper halves
//! make a column below 2^54.91, 20 times of which is below 2^59.3. [`BIAS`](Field::BIAS) is
//! 2^11 * p, its limbs just below 2^62: above any sum or difference of two products, and with one
//! added below 2^63, so that the carry out of a limb is below 2^12 and 19 of them below 2^17.

use core::marker::PhantomData;

use super::field::{Factor, Field, LIMB, Wide};
use super::lanes::{Lanes, Madd52};

/// See the [module](self).
pub(super) struct Ifma<L>(PhantomData<L>);

impl<L: Madd52> Field for Ifma<L> {
    type Lanes = L;

    // 32 registers, but every instruction takes two cycles or more: one ladder leaves gaps.
    const PAIRED: bool = true;

    const BIAS: [u64; 5] = [(LIMB - 18) << 11, LIMB << 11, LIMB << 11, LIMB << 11, LIMB << 11];

    #[inline(always)]
    fn mul(a: &Factor<L>, b: &Factor<L>) -> Wide<L> {
        fold(columns(&a.0, &b.0, [0; 5]))
    }

    #[inline(always)]
    fn mul_biased(a: &Factor<L>, b: &Factor<L>) -> Wide<L> {
        fold(columns(&a.0, &b.0, Self::BIAS))
    }

    #[inline(always)]
    fn square(a: &Factor<L>) -> Wide<L> {
        fold(square_columns(&a.0, [0; 5]))
    }

    #[inline(always)]
    fn square_biased(a: &Factor<L>) -> Wide<L> {
        fold(square_columns(&a.0, Self::BIAS))
    }

    #[inline(always)]
    fn add_a24(square: &Wide<L>, e: &Factor<L>) -> Wide<L> {
        let (s, e, a24) = (&square.0, &e.0, L::splat(121_665));
        let upper = |limb: L| double(L::splat(0).madd_hi(limb, a24));
        Wide([
            s[0].add(upper(e[4]).times_19()).madd_lo(e[0], a24),
            s[1].add(upper(e[0])).madd_lo(e[1], a24),
            s[2].add(upper(e[1])).madd_lo(e[2], a24),
            s[3].add(upper(e[2])).madd_lo(e[3], a24),
            s[4].add(upper(e[3])).madd_lo(e[4], a24),
        ])
    }

    #[inline(always)]
    fn carry(wide: Wide<L>) -> Factor<L> {
        let ([a, b, c, d, e], mask) = (wide.0, L::splat(LIMB));
        Factor([
            a.and(mask).madd_lo(e.shr(51), L::splat(19)),
            b.and(mask).add(a.shr(51)),
            c.and(mask).add(b.shr(51)),
            d.and(mask).add(c.shr(51)),
            e.and(mask).add(d.shr(51)),
        ])
    }

    #[inline(always)]
    fn inverse(x: &Factor<L>) -> Factor<L> {
        L::inverse(x)
    }

    #[inline(always)]
    fn limbs(factor: &Factor<L>) -> [L; 5] {
        factor.0
    }
}

#[inline(always)]
fn double<L: Lanes>(x: L) -> L {
    x.add(x)
}

/// The ten columns of a product: column k has the weight 2^(51 k). `start`, of even numbers, is
/// added to the lower five: they begin with it, which costs nothing.
#[inline(always)]
fn columns<L: Madd52>(a: &[L; 5], b: &[L; 5], start: [u64; 5]) -> [L; 10] {
    let zero = L::splat(0);
    let half = |k: usize| L::splat(start[k] / 2);
    let h1 = half(1).madd_hi(a[0], b[0]);
    let h2 = half(2).madd_hi(a[0], b[1]).madd_hi(a[1], b[0]);
    let h3 = half(3).madd_hi(a[0], b[2]).madd_hi(a[1], b[1]).madd_hi(a[2], b[0]);
    let h4 = half(4).madd_hi(a[0], b[3]).madd_hi(a[1], b[2]);
    let h4 = h4.madd_hi(a[2], b[1]).madd_hi(a[3], b[0]);
    let h5 = zero.madd_hi(a[0], b[4]).madd_hi(a[1], b[3]).madd_hi(a[2], b[2]);
    let h5 = h5.madd_hi(a[3], b[1]).madd_hi(a[4], b[0]);
    let h6 = zero.madd_hi(a[1], b[4]).madd_hi(a[2], b[3]);
    let h6 = h6.madd_hi(a[3], b[2]).madd_hi(a[4], b[1]);
    let h7 = zero.madd_hi(a[2], b[4]).madd_hi(a[3], b[3]).madd_hi(a[4], b[2]);
    let h8 = zero.madd_hi(a[3], b[4]).madd_hi(a[4], b[3]);
    let h9 = zero.madd_hi(a[4], b[4]);

    let c1 = double(h1).madd_lo(a[0], b[1]).madd_lo(a[1], b[0]);
    let c2 = double(h2).madd_lo(a[0], b[2]).madd_lo(a[1], b[1]).madd_lo(a[2], b[0]);
    let c3 = double(h3).madd_lo(a[0], b[3]).madd_lo(a[1], b[2]);
    let c3 = c3.madd_lo(a[2], b[1]).madd_lo(a[3], b[0]);
    let c4 = double(h4).madd_lo(a[0], b[4]).madd_lo(a[1], b[3]).madd_lo(a[2], b[2]);
    let c4 = c4.madd_lo(a[3], b[1]).madd_lo(a[4], b[0]);
    let c5 = double(h5).madd_lo(a[1], b[4]).madd_lo(a[2], b[3]);
    let c5 = c5.madd_lo(a[3], b[2]).madd_lo(a[4], b[1]);
    let c6 = double(h6).madd_lo(a[2], b[4]).madd_lo(a[3], b[3]).madd_lo(a[4], b[2]);
    let c7 = double(h7).madd_lo(a[3], b[4]).madd_lo(a[4], b[3]);
    let c8 = double(h8).madd_lo(a[4], b[4]);
    [L::splat(start[0]).madd_lo(a[0], b[0]), c1, c2, c3, c4, c5, c6, c7, c8, double(h9)]
}

/// The ten columns of a square: 30 multiplications instead of 50, as the mixed products come in
/// pairs. Their upper halves count four times, their lower halves and the upper halves of the
/// limbs' own squares twice: two rounds of doubling. `start`, of multiples of four, as in
/// [`columns`].
#[inline(always)]
fn square_columns<L: Madd52>(a: &[L; 5], start: [u64; 5]) -> [L; 10] {
    let zero = L::splat(0);
    let part = |k: usize, parts: u64| L::splat(start[k] / parts);
    let h2 = part(2, 4).madd_hi(a[0], a[1]);
    let h3 = part(3, 4).madd_hi(a[0], a[2]);
    let h4 = part(4, 4).madd_hi(a[0], a[3]).madd_hi(a[1], a[2]);
    let h5 = zero.madd_hi(a[0], a[4]).madd_hi(a[1], a[3]);
    let h6 = zero.madd_hi(a[1], a[4]).madd_hi(a[2], a[3]);
    let h7 = zero.madd_hi(a[2], a[4]);
    let h8 = zero.madd_hi(a[3], a[4]);

    let c1 = part(1, 2).madd_hi(a[0], a[0]).madd_lo(a[0], a[1]);
    let c2 = double(h2).madd_lo(a[0], a[2]);
    let c3 = double(h3).madd_hi(a[1], a[1]).madd_lo(a[0], a[3]).madd_lo(a[1], a[2]);
    let c4 = double(h4).madd_lo(a[0], a[4]).madd_lo(a[1], a[3]);
    let c5 = double(h5).madd_hi(a[2], a[2]).madd_lo(a[1], a[4]).madd_lo(a[2], a[3]);
    let c6 = double(h6).madd_lo(a[2], a[4]);
    let c7 = double(h7).madd_hi(a[3], a[3]).madd_lo(a[3], a[4]);
    let c9 = zero.madd_hi(a[4], a[4]);
    [
        part(0, 1).madd_lo(a[0], a[0]),
        double(c1),
        double(c2).madd_lo(a[1], a[1]),
        double(c3),
        double(c4).madd_lo(a[2], a[2]),
        double(c5),
        double(c6).madd_lo(a[3], a[3]),
        double(c7),
        double(double(h8)).madd_lo(a[4], a[4]),
        double(c9),
    ]
}

/// The upper five columns, 19 times, onto the lower five.
#[inline(always)]
fn fold<L: Lanes>([c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]: [L; 10]) -> Wide<L> {
    Wide([
        c0.add(c5.times_19()),
        c1.add(c6.times_19()),
        c2.add(c7.times_19()),
        c3.add(c8.times_19()),
        c4.add(c9.times_19()),
    ])
}
