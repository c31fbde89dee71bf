//! The vectors without vector instructions, and with the arithmetic's bounds checked: every test
//! of a tier runs on them too, on any machine.

extern crate std;

use super::batch::{self, Batch};
use super::comb::{self, ROWS, Row, Steps};
use super::float::Fused;
use super::ifma::Ifma;
use super::lanes::{Float, LANES_MAX, Lanes, Madd52};
use super::multiples::{Again, Multiples};

/// The algebra of the `avx512` tier.
pub(super) fn ifma(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    batch::multiply::<Ifma<Emulated<8, true>>>(scalars, points, out);
}

/// The algebra of the `avx2` tier.
pub(super) fn fused(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    batch::multiply::<Fused<Emulated<4, false>>>(scalars, points, out);
}

/// The algebra of points that are multiplied again.
pub(super) fn again() -> Again {
    Again { prepare, multiply }
}

fn prepare(points: &mut Multiples) {
    let mut plain = 0;
    for (at, points, rows) in points.parts_mut(16) {
        plain |= at_once(points, rows) << at;
    }
    comb::settle::<Ifma<Emulated<8, true>>>(points.used_rows_mut());
    points.set_plain(plain);
}

fn at_once(points: &[[u8; 32]], rows: &mut [[Row; ROWS]]) -> u64 {
    if points.len() > 8 {
        comb::prepare::<Ifma<Emulated<8, true>>, 2>(points, rows)
    } else {
        comb::prepare::<Ifma<Emulated<8, true>>, 1>(points, rows)
    }
}

fn multiply(scalars: &[[u8; 32]], wanted: u64, points: &Multiples, out: &mut [[u8; 32]]) {
    let mut batch = Batch::<Ifma<Emulated<8, true>>>::new();
    for (place, scalars, rows) in points.vectors(8, scalars, wanted) {
        batch.push(place, comb::multiply::<Ifma<Emulated<8, true>>>(scalars, rows));
    }
    batch.finish(out);
}

impl Steps for Ifma<Emulated<8, true>> {}

/// None of its methods is inlined: tens of thousands of copies of their checks would take minutes
/// to compile.
///
/// `EXACT` says that sums and differences stay within 64 bits, and panics if they do not.
#[derive(Clone, Copy)]
pub(super) struct Emulated<const N: usize, const EXACT: bool>([u64; N]);

impl<const N: usize, const EXACT: bool> Emulated<N, EXACT> {
    #[inline(never)]
    fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Self(self.0.map(f))
    }

    #[inline(never)]
    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl<const N: usize, const EXACT: bool> Lanes for Emulated<N, EXACT> {
    const WIDTH: usize = N;
    type Mask = [bool; N];

    #[inline(never)]
    fn splat(x: u64) -> Self {
        Self([x; N])
    }

    #[inline(never)]
    fn load(words: &[u64; LANES_MAX]) -> Self {
        Self(core::array::from_fn(|i| words[i]))
    }

    #[inline(never)]
    fn store(self, words: &mut [u64; LANES_MAX]) {
        words[..N].copy_from_slice(&self.0);
    }

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| {
            let (sum, over) = a.overflowing_add(b);
            assert!(!(EXACT && over), "{a:#x} + {b:#x}");
            sum
        })
    }

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| {
            let (difference, under) = a.overflowing_sub(b);
            assert!(!(EXACT && under), "{a:#x} - {b:#x}");
            difference
        })
    }

    #[inline(never)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(never)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    #[inline(never)]
    fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    #[inline(never)]
    fn shl(self, count: u32) -> Self {
        self.map(|a| a << count)
    }

    #[inline(never)]
    fn shr(self, count: u32) -> Self {
        self.map(|a| a >> count)
    }

    #[inline(never)]
    fn top_bits(self) -> Self::Mask {
        self.0.map(|a| a >> 63 == 1)
    }

    #[inline(never)]
    fn mask_bits(mask: Self::Mask) -> u64 {
        mask.iter().rev().fold(0, |bits, &bit| bits << 1 | u64::from(bit))
    }

    #[inline(never)]
    fn select(mask: Self::Mask, clear: Self, set: Self) -> Self {
        Self(core::array::from_fn(|i| if mask[i] { set.0[i] } else { clear.0[i] }))
    }
}

impl<const N: usize> Emulated<N, true> {
    #[inline(never)]
    fn madd(self, a: Self, b: Self, half: impl Fn(u128) -> u128) -> Self {
        self.add(a.zip(b, |a, b| {
            // The instruction ignores bits above; they must not be there.
            assert!(a >> 52 == 0 && b >> 52 == 0, "{a:#x} * {b:#x}");
            half(u128::from(a) * u128::from(b)) as u64 & ((1 << 52) - 1)
        }))
    }
}

impl<const N: usize> Madd52 for Emulated<N, true> {
    #[inline(never)]
    fn madd_lo(self, a: Self, b: Self) -> Self {
        self.madd(a, b, |product| product)
    }

    #[inline(never)]
    fn madd_hi(self, a: Self, b: Self) -> Self {
        self.madd(a, b, |product| product >> 52)
    }
}

impl<const N: usize> Emulated<N, false> {
    #[inline(never)]
    fn float(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        self.zip(other, |a, b| {
            let result = f(f64::from_bits(a), f64::from_bits(b));
            assert!(result == 0.0 || result.is_normal(), "{result}");
            result.to_bits()
        })
    }
}

impl<const N: usize> Float for Emulated<N, false> {
    #[inline(never)]
    fn fused(a: Self, b: Self, c: Self) -> Self {
        Self(core::array::from_fn(|i| {
            let [a, b, c] = [a.0[i], b.0[i], c.0[i]].map(f64::from_bits);
            let result = a.mul_add(b, c);
            // The last place, which the arithmetic reads as an integer, must be 2^51 or 1.
            let exponent = (result.to_bits() >> 52) - 1023;
            assert!(exponent == 103 || exponent == 52, "{a} * {b} + {c}");
            result.to_bits()
        }))
    }

    #[inline(never)]
    fn float_add(self, other: Self) -> Self {
        self.float(other, |a, b| a + b)
    }

    #[inline(never)]
    fn float_sub(self, other: Self) -> Self {
        self.float(other, |a, b| a - b)
    }

    #[inline(never)]
    fn mul_32(self, other: Self) -> Self {
        self.zip(other, |a, b| {
            assert!(a >> 32 == 0 && b >> 32 == 0, "{a:#x} * {b:#x}");
            a * b
        })
    }
}
