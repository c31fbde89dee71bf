//! Points of the curve in its twisted Edwards form, -x^2 + y^2 = 1 + d x^2 y^2, one per lane.
//!
//! Curve25519 is v^2 = u^3 + A u^2 + u with A = 486662. Its points are those of edwards25519 by
//! x = sqrt(-(A + 2)) u / v and y = (u - 1) / (u + 1) (RFC 7748, section 4.1), and the formulas
//! there are complete: they hold for every pair of points, so nothing here looks at what a point
//! is. Hisil, Wong, Carter, Dawson: "Twisted Edwards curves revisited" (ASIACRYPT 2008): additions
//! of section 3.1 and doublings of section 3.3, for a = -1.
//!
//! A u-coordinate has no sign, so that a point and its negative serve as well. Half of all u belong
//! to the curve's twist instead, and have no such point.
//!
//! Only for fields whose products are non-negative and may be carried without a bias.

use super::field::{Chain, Factor, Field, Wide, powers, product};
use super::lanes::Lanes;
use super::words;

/// Coordinates X, Y, Z with x = X / Z and y = Y / Z.
#[derive(Clone, Copy)]
pub(super) struct Point<L> {
    pub(super) x: Factor<L>,
    pub(super) y: Wide<L>,
    pub(super) z: Factor<L>,
}

/// What a doubling or an addition ends with: X = EF, Y = GH, Z = FG, T = XY / Z = EH.
#[derive(Clone, Copy)]
pub(super) struct Completed<L> {
    pub(super) e: Factor<L>,
    pub(super) f: Factor<L>,
    pub(super) g: Factor<L>,
    pub(super) h: Factor<L>,
}

/// A sum of two points and their difference. What is F of the one is G of the other.
pub(super) struct Both<L> {
    pub(super) added: Completed<L>,
    pub(super) subtracted: Completed<L>,
}

/// What an addition takes of a point: Y + X, Y - X, and Z and T for the first of the two. Of the
/// second it takes 2Z and 2dT.
#[derive(Clone, Copy)]
pub(super) struct Summand<L> {
    pub(super) plus: Factor<L>,
    pub(super) minus: Factor<L>,
    pub(super) z: Factor<L>,
    pub(super) t: Factor<L>,
}

/// The second of an addition, with Z = 1/2, so that 2Z need not be multiplied with: (y + x) / 2,
/// (y - x) / 2 and 2dT = dxy.
pub(super) struct Affine<L> {
    pub(super) plus: Factor<L>,
    pub(super) minus: Factor<L>,
    pub(super) t: Factor<L>,
}

/// What of an [`Affine`] point an addition takes, coordinate by coordinate.
pub(super) trait Coordinates<L> {
    fn plus(&self) -> Factor<L>;
    fn minus(&self) -> Factor<L>;
    fn t(&self) -> Factor<L>;
}

/// 2d, where d = -121665 / 121666.
const TWO_D: [u64; 5] =
    [0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff];
/// 4d.
const FOUR_D: [u64; 5] =
    [0x537284d65e2b2, 0x6a0a0ec55baf5, 0x79e89800700a4, 0x4e7198e80f2ee, 0x480db3b8adbff];
/// 1/2.
const HALF: [u64; 5] =
    [0x7fffffffffff7, 0x7ffffffffffff, 0x7ffffffffffff, 0x7ffffffffffff, 0x3ffffffffffff];
/// A square root of -1.
const ROOT_OF_MINUS_1: [u64; 5] =
    [0x61b274a0ea0b0, 0x0d5a5fc8f189d, 0x7ef5e9cbd0c60, 0x78595a6804c9e, 0x2b8324804fc1d];
/// A square root of -(A + 2).
const SCALE: [u64; 5] =
    [0x604aaff457e06, 0x2296fa350598d, 0x7f13dfb16874f, 0x35de93d846e01, 0x0f26edf460a00];
/// The Montgomery curve's coefficient.
const A: u64 = 486_662;

#[inline(always)]
fn constant<F: Field>(limbs: [u64; 5]) -> Factor<F::Lanes> {
    let [a, b, c, d, e] = limbs;
    let splat = [
        F::Lanes::splat(a),
        F::Lanes::splat(b),
        F::Lanes::splat(c),
        F::Lanes::splat(d),
        F::Lanes::splat(e),
    ];
    F::carry(Wide(splat).biased::<F>())
}

/// u-coordinates of which the points are to be found.
#[derive(Clone, Copy)]
pub(super) struct Encoded<L> {
    /// u, biased.
    wide: Wide<L>,
    u: Factor<L>,
    /// v^2, which is a square if u is on the curve.
    square: Factor<L>,
}

impl<L: Lanes> Encoded<L> {
    /// Those with these limbs.
    #[inline(always)]
    pub(super) fn new<F: Field<Lanes = L>>(limbs: [L; 5]) -> Self {
        let wide = Wide(limbs).biased::<F>();
        let u = F::carry(wide);
        // v^2 = u (u (u + A) + 1).
        let a = F::carry(Wide::small(A).biased::<F>());
        let sum = F::mul_biased(&u, &a).plus(&F::square(&u)).plus(&Wide::small(1));
        Self { wide, u, square: product::<F>(&F::carry(sum), &u) }
    }

    /// A candidate for [`Encoded::decode`]. The longest part of the work, in which several vectors
    /// go side by side.
    #[inline(always)]
    pub(super) fn candidates<F: Field<Lanes = L>, const N: usize>(
        all: &[Self; N],
    ) -> [Factor<L>; N] {
        let mut squares = [all[0].square; N];
        for (square, encoded) in squares.iter_mut().zip(all) {
            *square = encoded.square;
        }
        powers::<F, N>(&squares, Chain::InverseRoot)
    }

    /// The points, and the lanes whose u is not on the curve or is 0; what stands in those lanes
    /// is the neutral point, whose multiples have denominators other than 0 like any point's.
    #[inline(always)]
    pub(super) fn decode<F: Field<Lanes = L>>(&self, candidate: &Factor<L>) -> (Point<L>, L::Mask) {
        // For a square q, q^((p - 1) / 4) is 1 or -1, so one of two candidates is a root of 1 / q.
        let other = product::<F>(candidate, &constant::<F>(ROOT_OF_MINUS_1));
        let wrong = is_not_root_of::<F>(&self.square, candidate);
        let root = Factor::select(wrong, candidate, &other);
        let strangers = is_not_root_of::<F>(&self.square, &root);
        // x = scale * u / v.
        let x = product::<F>(&product::<F>(&root, &self.u), &constant::<F>(SCALE));
        let (one, nothing) = (Wide::small(1), Wide::small(0).biased::<F>());
        let z = F::carry(self.wide.plus(&one));
        let neutral = F::carry(one.biased::<F>());
        let y = F::carry(self.wide.minus(&one));
        let point = Point {
            x: Factor::select(strangers, &product::<F>(&x, &z), &F::carry(nothing)),
            y: Wide(Factor::select(strangers, &y, &neutral).0),
            z: Factor::select(strangers, &z, &neutral),
        };
        (point, strangers)
    }
}

/// Lanes in which `root^2 * square` is not 1.
#[inline(always)]
fn is_not_root_of<F: Field>(
    square: &Factor<F::Lanes>,
    root: &Factor<F::Lanes>,
) -> <F::Lanes as Lanes>::Mask {
    let inverse = F::carry(F::square(root));
    let difference = F::carry(F::mul_biased(&inverse, square).minus(&Wide::small(1)));
    words::nonzero(words::freeze(F::limbs(&difference)))
}

impl<L: Lanes> Point<L> {
    /// Twice the point.
    #[inline(always)]
    pub(super) fn double<F: Field<Lanes = L>>(&self) -> Completed<L> {
        let y = F::carry(self.y);
        let aa = F::square_biased(&self.x);
        let bb = F::square(&y);
        let cc = F::square(&self.z);
        let sum = F::square(&F::carry(Wide(self.x.0).plus(&Wide(y.0))));
        // E, G and H have the other sign here, which leaves X, Y and Z as they are but for a sign
        // that they share.
        let (h, g) = (aa.plus(&bb), aa.minus(&bb));
        let e = F::carry(h.minus(&sum));
        let f = F::carry(cc.plus(&cc).plus(&g));
        Completed { e, f, g: F::carry(g), h: F::carry(h) }
    }

    /// Numerator and denominator of the u-coordinate (Z + Y) / (Z - Y).
    #[inline(always)]
    pub(super) fn ratio<F: Field<Lanes = L>>(&self) -> [Factor<L>; 2] {
        let z = Wide(self.z.0).biased::<F>();
        [F::carry(z.plus(&self.y)), F::carry(z.minus(&self.y))]
    }
}

impl<L: Lanes> Completed<L> {
    /// The point, for a doubling.
    #[inline(always)]
    pub(super) fn point<F: Field<Lanes = L>>(&self) -> Point<L> {
        Point {
            x: F::carry(F::mul(&self.e, &self.f)),
            y: F::mul(&self.g, &self.h),
            z: F::carry(F::mul(&self.f, &self.g)),
        }
    }

    /// The point, as the first of an addition.
    #[inline(always)]
    pub(super) fn summand<F: Field<Lanes = L>>(&self) -> Summand<L> {
        self.summand_with::<F>(F::carry(F::mul(&self.f, &self.g)))
    }

    /// The point, of which Z is known already.
    #[inline(always)]
    fn summand_with<F: Field<Lanes = L>>(&self, z: Factor<L>) -> Summand<L> {
        let x = F::mul(&self.e, &self.f);
        let y = F::mul_biased(&self.g, &self.h);
        Summand {
            plus: F::carry(y.plus(&x)),
            minus: F::carry(y.minus(&x)),
            z,
            t: F::carry(F::mul(&self.e, &self.h)),
        }
    }
}

impl<L: Lanes> Both<L> {
    /// The sum and the difference, each as the first of an addition.
    #[inline(always)]
    pub(super) fn summands<F: Field<Lanes = L>>(&self) -> [Summand<L>; 2] {
        let added = self.added.summand::<F>();
        [added, self.subtracted.summand_with::<F>(added.z)]
    }
}

impl<L: Lanes> Affine<L> {
    /// That of which x / 2 and y / 2 are these products.
    #[inline(always)]
    pub(super) fn new<F: Field<Lanes = L>>(x: [&Factor<L>; 2], y: [&Factor<L>; 2]) -> Self {
        let (x, y) = (F::mul_biased(x[0], x[1]), F::mul_biased(y[0], y[1]));
        let xy = product::<F>(&F::carry(x), &F::carry(y));
        let x = Wide(F::carry(x).0);
        Self {
            plus: F::carry(y.plus(&x)),
            minus: F::carry(y.minus(&x)),
            t: product::<F>(&xy, &constant::<F>(FOUR_D)),
        }
    }

    /// 1/2.
    #[inline(always)]
    pub(super) fn half<F: Field<Lanes = L>>() -> Factor<L> {
        constant::<F>(HALF)
    }
}

impl<L: Lanes> Summand<L> {
    /// The point, as the second of an addition.
    #[inline(always)]
    pub(super) fn second<F: Field<Lanes = L>>(&self) -> Self {
        let z = Wide(self.z.0);
        Self {
            z: F::carry(z.plus(&z)),
            t: F::carry(F::mul(&self.t, &constant::<F>(TWO_D))),
            ..*self
        }
    }

    /// This point, or its negative in the lanes of `negative`, plus the one that `second` gives the
    /// coordinates of. Each coordinate is asked for where it is needed, so that none has to wait in
    /// memory.
    #[inline(always)]
    pub(super) fn add<F: Field<Lanes = L>>(
        &self,
        negative: L::Mask,
        second: &impl Coordinates<L>,
    ) -> Completed<L> {
        let dd = Wide(self.z.0).biased::<F>();
        let cc = F::mul(&self.t, &second.t());
        let (sum, difference) = (F::carry(dd.plus(&cc)), F::carry(dd.minus(&cc)));
        let minus = Factor::select(negative, &self.minus, &self.plus);
        let plus = Factor::select(negative, &self.plus, &self.minus);
        let aa = F::mul(&minus, &second.minus());
        let bb = F::mul_biased(&plus, &second.plus());
        Completed {
            e: F::carry(bb.minus(&aa)),
            f: Factor::select(negative, &difference, &sum),
            g: Factor::select(negative, &sum, &difference),
            h: F::carry(bb.plus(&aa)),
        }
    }

    /// This point plus `second`, and this point minus it.
    #[inline(always)]
    pub(super) fn add_and_subtract<F: Field<Lanes = L>>(&self, second: &Self) -> Both<L> {
        let [sum, difference] = self.f_and_g::<F>(second);
        let [e, h] = self.e_and_h::<F>(&second.plus, &second.minus);
        let added = Completed { e, f: difference, g: sum, h };
        let [e, h] = self.e_and_h::<F>(&second.minus, &second.plus);
        Both { added, subtracted: Completed { e, f: sum, g: difference, h } }
    }

    /// E and H of the sum with a point of which these are Y + X and Y - X.
    #[inline(always)]
    fn e_and_h<F: Field<Lanes = L>>(&self, plus: &Factor<L>, minus: &Factor<L>) -> [Factor<L>; 2] {
        let aa = F::mul(&self.minus, minus);
        let bb = F::mul_biased(&self.plus, plus);
        [F::carry(bb.minus(&aa)), F::carry(bb.plus(&aa))]
    }

    /// G and F of the sum with `second`, which are F and G of the difference.
    #[inline(always)]
    fn f_and_g<F: Field<Lanes = L>>(&self, second: &Self) -> [Factor<L>; 2] {
        let cc = F::mul(&self.t, &second.t);
        let dd = F::mul_biased(&self.z, &second.z);
        [F::carry(dd.plus(&cc)), F::carry(dd.minus(&cc))]
    }
}
