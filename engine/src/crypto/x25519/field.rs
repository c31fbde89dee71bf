//! Integers modulo p = 2^255 - 19, one per lane, in five limbs of 51 bits.
//!
//! Sums and products are not reduced at once. A product stays [`Wide`] until it is a factor
//! again, sums and differences are taken of wide values, and [`Field::carry`] then makes a factor
//! of the result in one parallel pass over the limbs. This carries 11 times in a step of the
//! ladder; reducing each result would take 18.
//!
//! Limbs are unsigned, so a difference must not fall below zero: the minuend is a *biased* value,
//! one with [`Field::BIAS`], a multiple of p, added. How large limbs may grow is stated beside each
//! implementation, and the emulated vectors of the tests check it in every operation.

use zeroize::optimization_barrier;

use super::lanes::Lanes;

/// The lower 51 bits.
pub(super) const LIMB: u64 = (1 << 51) - 1;

/// Five limbs in the making: a product or a sum, too wide to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Wide<L>(pub(super) [L; 5]);

/// Five limbs fit to be multiplied. Their form is the implementation's affair.
#[derive(Clone, Copy)]
pub(super) struct Factor<L>(pub(super) [L; 5]);

/// One way to do the arithmetic.
pub(super) trait Field {
    /// The vector it works on.
    type Lanes: Lanes;

    /// Whether there are enough registers to run two ladders side by side.
    const PAIRED: bool;

    /// A multiple of p, plus whatever [`Field::carry`] wants to be there.
    const BIAS: [u64; 5];

    /// `a * b`, to be added to a biased value or subtracted from one.
    fn mul(a: &Factor<Self::Lanes>, b: &Factor<Self::Lanes>) -> Wide<Self::Lanes>;
    /// `a * b`, biased.
    fn mul_biased(a: &Factor<Self::Lanes>, b: &Factor<Self::Lanes>) -> Wide<Self::Lanes>;
    /// `a * a`, fit to be carried, to be subtracted from another square, or to be added to.
    fn square(a: &Factor<Self::Lanes>) -> Wide<Self::Lanes>;
    /// `a * a`, biased.
    fn square_biased(a: &Factor<Self::Lanes>) -> Wide<Self::Lanes>;
    /// `square + (A - 2) / 4 * e`, where A = 486662 is the curve's coefficient.
    fn add_a24(square: &Wide<Self::Lanes>, e: &Factor<Self::Lanes>) -> Wide<Self::Lanes>;
    /// Makes a factor of a biased value or a square.
    fn carry(wide: Wide<Self::Lanes>) -> Factor<Self::Lanes>;
    /// 1 / `x`, which is zero in no lane.
    #[inline(always)]
    fn inverse(x: &Factor<Self::Lanes>) -> Factor<Self::Lanes>
    where
        Self: Sized,
    {
        powers::<Self, 1>(&[*x], Chain::Inverse)[0]
    }
    /// The limbs as integers below 2^54.
    fn limbs(factor: &Factor<Self::Lanes>) -> [Self::Lanes; 5];
}

impl<L: Lanes> Wide<L> {
    /// A number below 2^51 in every lane.
    #[inline(always)]
    pub(super) fn small(x: u64) -> Self {
        let zero = L::splat(0);
        Self([L::splat(x), zero, zero, zero, zero])
    }

    /// Sum limb by limb.
    #[inline(always)]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let ([a, b, c, d, e], o) = (self.0, &other.0);
        Self([a.add(o[0]), b.add(o[1]), c.add(o[2]), d.add(o[3]), e.add(o[4])])
    }

    /// Difference limb by limb.
    #[inline(always)]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let ([a, b, c, d, e], o) = (self.0, &other.0);
        Self([a.sub(o[0]), b.sub(o[1]), c.sub(o[2]), d.sub(o[3]), e.sub(o[4])])
    }

    /// The same value, biased.
    #[inline(always)]
    pub(super) fn biased<F: Field<Lanes = L>>(&self) -> Self {
        let [a, b, c, d, e] = F::BIAS;
        self.plus(&Self([L::splat(a), L::splat(b), L::splat(c), L::splat(d), L::splat(e)]))
    }
}

impl<L: Lanes> Factor<L> {
    /// `set` in the lanes of `mask`, `clear` elsewhere.
    #[inline(always)]
    pub(super) fn select(mask: L::Mask, clear: &Self, set: &Self) -> Self {
        let ([a, b, c, d, e], s) = (clear.0, &set.0);
        Self([
            L::select(mask, a, s[0]),
            L::select(mask, b, s[1]),
            L::select(mask, c, s[2]),
            L::select(mask, d, s[3]),
            L::select(mask, e, s[4]),
        ])
    }
}

/// `a * b`, ready to be multiplied again.
#[inline(always)]
pub(super) fn product<F: Field>(a: &Factor<F::Lanes>, b: &Factor<F::Lanes>) -> Factor<F::Lanes> {
    F::carry(F::mul_biased(a, b))
}

/// Overwrites secrets in a way that the compiler keeps.
#[inline(always)]
pub(super) fn wipe<L: Lanes>(factors: &mut [Factor<L>]) {
    for factor in &mut *factors {
        *factor = Factor([L::splat(0); 5]);
    }
    optimization_barrier(factors);
}

/// Powers that the arithmetic takes.
#[derive(Clone, Copy)]
pub(super) enum Chain {
    /// p - 2, which makes inverses (Fermat).
    Inverse,
    /// (p - 5) / 8 = 2^252 - 3, which makes roots of inverses.
    InverseRoot,
}

/// Steps to x^(2^250 - 1): square the latest power so many times, then multiply with an earlier
/// one. The powers are, in order, those of x, x^2, and one per step. Bernstein's chain, from the
/// reference code of "Curve25519: new Diffie-Hellman speed records" (PKC 2006).
const STEPS: [(u32, usize); 10] = [
    (2, 0),   // 9
    (0, 1),   // 11
    (1, 2),   // 2^5 - 1
    (5, 4),   // 2^10 - 1
    (10, 5),  // 2^20 - 1
    (20, 6),  // 2^40 - 1
    (10, 5),  // 2^50 - 1
    (50, 8),  // 2^100 - 1
    (100, 9), // 2^200 - 1
    (50, 8),  // 2^250 - 1
];

/// Room for all powers, and a power of two, so that no index has to be checked.
const POWERS: usize = 16;

const _: () = assert!(2 + STEPS.len() < POWERS);

impl Chain {
    /// The step after [`STEPS`].
    const fn last(self) -> (u32, usize) {
        match self {
            Self::Inverse => (5, 3),
            Self::InverseRoot => (2, 0),
        }
    }
}

/// Each of `x` to a power, and 0 for 0. Several side by side take hardly longer than one, as each
/// step waits for the one before.
#[inline(always)]
pub(super) fn powers<F: Field, const N: usize>(
    x: &[Factor<F::Lanes>; N],
    chain: Chain,
) -> [Factor<F::Lanes>; N] {
    let mut powers = [*x; POWERS];
    let mut latest = *x;
    square_all::<F, N>(&mut latest);
    powers[1] = latest;
    let mut steps = [chain.last(); STEPS.len() + 1];
    steps[..STEPS.len()].copy_from_slice(&STEPS);
    for (i, (squarings, other)) in steps.into_iter().enumerate() {
        for _ in 0..squarings {
            square_all::<F, N>(&mut latest);
        }
        for (latest, other) in latest.iter_mut().zip(&powers[other % POWERS]) {
            *latest = product::<F>(latest, other);
        }
        powers[(2 + i) % POWERS] = latest;
    }
    wipe(powers.as_flattened_mut());
    latest
}

#[inline(always)]
fn square_all<F: Field, const N: usize>(x: &mut [Factor<F::Lanes>; N]) {
    for x in x {
        *x = F::carry(F::square(x));
    }
}
