//! The Montgomery ladder of RFC 7748, section 5, with one scalar and one point per lane.
//!
//! A step is cut into three phases, so that two ladders can be interleaved where there are
//! registers for it: the compiler's scheduler does not find that order by itself.
//!
//! RFC 7748 swaps the two points of a ladder before a step if the scalar's bit differs from the one
//! before. Of a step only the doubling notices, as the addition is symmetric in its points up to a
//! sign that is squared away; so it is the factors of the doubling that are selected.

use zeroize::optimization_barrier;

use super::field::{Factor, Field, Wide};
use super::lanes::Lanes;
use super::words;

/// Bits of a scalar that matter: bit 255 is cleared.
const BITS: usize = 255;

/// One ladder per lane.
pub(super) struct Ladder<F: Field> {
    /// Bit t is set where bits t and t + 1 of the scalar differ.
    swaps: [F::Lanes; 4],
    x1: Factor<F::Lanes>,
    x2: Wide<F::Lanes>,
    z2: Wide<F::Lanes>,
    x3: Wide<F::Lanes>,
    z3: Wide<F::Lanes>,
}

/// Products of the first phase, RFC 7748's AA, BB, DA and CB.
struct First<L> {
    aa: Wide<L>,
    bb: Wide<L>,
    da: Wide<L>,
    cb: Wide<L>,
}

/// Factors that the second phase leaves to the third: RFC 7748's E, AA + a24 * E, (DA - CB)^2.
struct Second<L> {
    e: Factor<L>,
    g: Factor<L>,
    d2: Factor<L>,
}

impl<F: Field> Ladder<F> {
    /// Ladders over rows of scalars and points; lanes without a row compute something useless.
    #[inline(always)]
    pub(super) fn new(scalars: &[[u8; 32]], points: &[[u8; 32]]) -> Self {
        let u = Wide(words::to_limbs(words::gather(points))).biased::<F>();
        Self {
            swaps: swaps(words::gather(scalars)),
            x1: F::carry(u),
            x2: Wide::small(1).biased::<F>(),
            z2: Wide::small(0),
            x3: u,
            z3: Wide::small(1),
        }
    }

    /// Climbs one ladder.
    #[inline(always)]
    pub(super) fn climb(mut self) -> [Factor<F::Lanes>; 2] {
        for t in (0..BITS).rev() {
            let first = self.first(t);
            let second = self.second(&first);
            self.third(&second);
        }
        self.finish()
    }

    /// Climbs two ladders side by side.
    #[inline(always)]
    pub(super) fn climb_both(mut self, mut other: Self) -> [[Factor<F::Lanes>; 2]; 2] {
        for t in (0..BITS).rev() {
            let (first, other_first) = (self.first(t), other.first(t));
            let second = self.second(&first);
            let other_second = other.second(&other_first);
            self.third(&second);
            other.third(&other_second);
        }
        [self.finish(), other.finish()]
    }

    #[inline(always)]
    fn first(&self, t: usize) -> First<F::Lanes> {
        let a = F::carry(self.x2.plus(&self.z2));
        let b = F::carry(self.x2.minus(&self.z2));
        let c = F::carry(self.x3.plus(&self.z3));
        let d = F::carry(self.x3.minus(&self.z3));
        let swap = self.swaps[t / 64].shl(63 - (t % 64) as u32).top_bits();
        First {
            aa: F::square(&Factor::select(swap, &a, &c)),
            bb: F::square(&Factor::select(swap, &b, &d)),
            da: F::mul_biased(&d, &a),
            cb: F::mul(&c, &b),
        }
    }

    #[inline(always)]
    fn second(&mut self, first: &First<F::Lanes>) -> Second<F::Lanes> {
        let sum = F::carry(first.da.plus(&first.cb));
        let difference = F::carry(first.da.minus(&first.cb));
        let (aa, bb) = (F::carry(first.aa), F::carry(first.bb));
        let e = F::carry(first.aa.biased::<F>().minus(&first.bb));
        self.x2 = F::mul_biased(&aa, &bb);
        let g = F::carry(F::add_a24(&first.aa, &e));
        self.x3 = F::square_biased(&sum);
        Second { e, g, d2: F::carry(F::square(&difference)) }
    }

    #[inline(always)]
    fn third(&mut self, second: &Second<F::Lanes>) {
        self.z2 = F::mul(&second.e, &second.g);
        self.z3 = F::mul(&self.x1, &second.d2);
    }

    /// Numerator and denominator of the result. The last bit of a scalar is cleared, so no swap is
    /// outstanding.
    #[inline(always)]
    fn finish(mut self) -> [Factor<F::Lanes>; 2] {
        self.swaps = [F::Lanes::splat(0); 4];
        optimization_barrier(&self.swaps);
        [F::carry(self.x2), F::carry(self.z2.biased::<F>())]
    }
}

/// Clamps scalars (RFC 7748, section 5), and each bit becomes its difference from the next.
#[inline(always)]
fn swaps<L: Lanes>([w0, w1, w2, w3]: [L; 4]) -> [L; 4] {
    let w0 = w0.and(L::splat(!7));
    let w3 = w3.and(L::splat(u64::MAX >> 1)).or(L::splat(1 << 62));
    [
        w0.xor(w0.shr(1).or(w1.shl(63))),
        w1.xor(w1.shr(1).or(w2.shl(63))),
        w2.xor(w2.shr(1).or(w3.shl(63))),
        w3.xor(w3.shr(1)),
    ]
}
