//! Any number of multiplications on vectors of a fixed width.

use super::field::{Chain, Factor, Field, Wide, powers, product, wipe};
use super::ladder::Ladder;
use super::lanes::Lanes;
use super::words;
use crate::limits::BATCH_MAX;

/// Vectors that a chunk takes at most, those of the narrowest tier.
const VECTORS: usize = BATCH_MAX / 4;

/// See [`X25519`](super::X25519). The caller must have the vector instructions compiled in: all
/// code below it is inlined there.
#[inline(always)]
pub(super) fn multiply<F: Field>(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    assert!(scalars.len() == points.len() && points.len() == out.len());
    let inputs = scalars.chunks(BATCH_MAX).zip(points.chunks(BATCH_MAX));
    for ((scalars, points), out) in inputs.zip(out.chunks_mut(BATCH_MAX)) {
        chunk::<F>(scalars, points, out);
    }
}

/// At most [`BATCH_MAX`] rows, with one inversion for all of them.
#[inline(always)]
fn chunk<F: Field>(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    let width = F::Lanes::WIDTH;
    let mut batch = Batch::<F>::new();
    let used = out.len().div_ceil(width);
    let mut i = 0;
    while i < used {
        let (s, p) = (&scalars[i * width..], &points[i * width..]);
        if F::PAIRED && i + 1 < used {
            let other = Ladder::<F>::new(&s[width..], &p[width..]);
            let both = Ladder::<F>::new(s, p).climb_both(other);
            batch.push(i, both[0]);
            batch.push(i + 1, both[1]);
            i += 2;
        } else {
            batch.push(i, Ladder::<F>::new(s, p).climb());
            i += 1;
        }
    }
    batch.finish(out);
}

/// Products that are still fractions, a vector each.
pub(super) struct Batch<F: Field> {
    numerators: [Factor<F::Lanes>; VECTORS],
    denominators: [Factor<F::Lanes>; VECTORS],
    /// Where each of them belongs, in vectors.
    places: [usize; VECTORS],
    used: usize,
}

impl<F: Field> Batch<F> {
    /// Without any.
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = [Factor([F::Lanes::splat(0); 5]); VECTORS];
        Self { numerators: none, denominators: none, places: [0; VECTORS], used: 0 }
    }

    /// One more, numerators and denominators, whose first row will be that of `place` vectors.
    #[inline(always)]
    pub(super) fn push(&mut self, place: usize, [numerator, denominator]: [Factor<F::Lanes>; 2]) {
        self.numerators[self.used] = numerator;
        self.denominators[self.used] = denominator;
        self.places[self.used] = place;
        self.used += 1;
    }

    /// Divides them all and writes the quotients where they belong.
    #[inline(always)]
    pub(super) fn finish(mut self, out: &mut [[u8; 32]]) {
        let numerators = &mut self.numerators[..self.used];
        let denominators = &mut self.denominators[..self.used];
        if numerators.is_empty() {
            return;
        }
        divide::<F>(numerators, denominators);
        for (quotient, place) in numerators.iter().zip(self.places) {
            let rows = &mut out[place * F::Lanes::WIDTH..];
            words::scatter(words::from_limbs(words::freeze(F::limbs(quotient))), rows);
        }
        wipe(numerators);
        wipe(denominators);
    }
}

/// `numerators[i] /= denominators[i]`, where dividing by zero gives zero.
///
/// Each lane stands for itself.
#[inline(always)]
fn divide<F: Field>(numerators: &mut [Factor<F::Lanes>], denominators: &mut [Factor<F::Lanes>]) {
    let zero = F::carry(Wide::small(0).biased::<F>());
    let one = F::carry(Wide::small(1).biased::<F>());
    for (numerator, denominator) in numerators.iter_mut().zip(&mut *denominators) {
        // A point of small order; one lane of zero would turn the product of its lane to zero.
        let mask = words::nonzero(words::freeze(F::limbs(denominator)));
        *numerator = Factor::select(mask, &zero, numerator);
        *denominator = Factor::select(mask, &one, denominator);
    }
    invert::<F, VECTORS>(denominators, &one);
    for (numerator, inverse) in numerators.iter_mut().zip(&*denominators) {
        *numerator = product::<F>(numerator, inverse);
    }
}

/// `factors[i] = numerator / factors[i]` for at most `N` vectors, none with a zero in it.
///
/// One inversion does for all: the product of all factors is inverted, and multiplying with the
/// others takes each out of it again (Montgomery: "Speeding the Pollard and elliptic curve methods
/// of factorization", 1987, section 10.3.1).
#[inline(always)]
pub(super) fn invert<F: Field, const N: usize>(
    factors: &mut [Factor<F::Lanes>],
    numerator: &Factor<F::Lanes>,
) {
    let mut all = F::carry(Wide::small(1).biased::<F>());
    let mut before = [all; N];
    let before = &mut before[..factors.len()];
    for (before, factor) in before.iter_mut().zip(&*factors) {
        *before = all;
        all = product::<F>(&all, factor);
    }
    let [inverse] = powers::<F, 1>(&[all], Chain::Inverse);
    let mut rest = product::<F>(&inverse, numerator);
    for (before, factor) in before.iter().zip(factors).rev() {
        let inverse = product::<F>(&rest, before);
        rest = product::<F>(&rest, factor);
        *factor = inverse;
    }
    wipe(before);
}
