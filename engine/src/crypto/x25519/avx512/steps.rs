//! A doubling and a column of the comb in assembly, in the order of execution.
//!
//! Products and squares follow each other in an order in which most of what one needs was made by
//! the one before the last, and elements are carried beside the products: of two instructions in a
//! cycle, one can be a multiplication. The compiler finds no such order, and stored 81 registers
//! per column, each of which delays a multiplication on CPUs whose units share their third read
//! port with the stores (perf/README.md).
#![expect(unsafe_code, reason = "assembly")]

use core::arch::asm;

use super::super::comb::{ROWS, Row, TEETH};
use super::super::edwards::Point;
use super::super::field::{Factor, Wide};
use super::Zmm;
use super::limbs::{
    CONSTANTS, carry_into, column, cut, fold, instruction, limbs, lowest, piece, product, register,
    shift, square, task, times, turn_limb,
};

/// X, Y and Z in a, b and c lead to twice the point: F in e, G in f, H in a, not carried, and in b
/// what is to be subtracted from H for E.
macro_rules! doubling {
    () => {
        concat!(
            square!(e = c; carry b b),
            limbs!("vpaddq" d, a, b),
            square!(f = a, biased; carry d d),
            square!(c = b),
            limbs!("vpaddq" a, f, c),
            limbs!("vpsubq" f, f, c),
            limbs!("vpaddq" e, e, e),
            limbs!("vpaddq" e, e, f),
            square!(b = d; carry f f, carry e e),
        )
    };
}

/// Row `at` of sum `n` of a table.
macro_rules! entry {
    ($at:literal $n:literal) => {
        concat!("zmmword ptr [{rows} + 64 * ", $at, " + 64 * 15 * ", $n, "]")
    };
}

/// A limb out of row `at` of the sum that masks 1 to 3 name. All eight are read. Masks 5 and 6 are
/// those of the lanes in which 2 is set and 1 is too, or is not.
macro_rules! select_limb {
    ($x:ident $k:tt, $at:literal) => {
        concat!(
            "vmovdqa64 zmm", register!($x $k), ", ", entry!($at 0), "\n",
            "vmovdqa64 zmm", register!($x $k), "{{k1}}, ", entry!($at 1), "\n",
            "vmovdqa64 zmm", register!($x $k), "{{k6}}, ", entry!($at 2), "\n",
            "vmovdqa64 zmm", register!($x $k), "{{k5}}, ", entry!($at 3), "\n",
            "vmovdqa64 zmm31, ", entry!($at 4), "\n",
            "vmovdqa64 zmm31{{k1}}, ", entry!($at 5), "\n",
            "vmovdqa64 zmm31{{k6}}, ", entry!($at 6), "\n",
            "vmovdqa64 zmm31{{k5}}, ", entry!($at 7), "\n",
            "vmovdqa64 zmm", register!($x $k), "{{k3}}, zmm31\n",
        )
    };
}

/// Five limbs out of the sum that masks 1 to 3 name.
macro_rules! select {
    ($x:ident, $a0:literal $a1:literal $a2:literal $a3:literal $a4:literal) => {
        concat!(
            select_limb!($x 0, $a0),
            select_limb!($x 1, $a1),
            select_limb!($x 2, $a2),
            select_limb!($x 3, $a3),
            select_limb!($x 4, $a4),
        )
    };
}

/// Assembly on the coordinates of a point.
macro_rules! on_point {
    ($point:ident, { $($code:expr),+ $(,)? } $($others:tt)+) => {
        asm!(
            concat!($($code),+),
            constants = in(reg) &CONSTANTS,
            inout("zmm0") $point.x.0[0].0, inout("zmm1") $point.x.0[1].0,
            inout("zmm2") $point.x.0[2].0, inout("zmm3") $point.x.0[3].0,
            inout("zmm4") $point.x.0[4].0, inout("zmm5") $point.y.0[0].0,
            inout("zmm6") $point.y.0[1].0, inout("zmm7") $point.y.0[2].0,
            inout("zmm8") $point.y.0[3].0, inout("zmm9") $point.y.0[4].0,
            inout("zmm10") $point.z.0[0].0, inout("zmm11") $point.z.0[1].0,
            inout("zmm12") $point.z.0[2].0, inout("zmm13") $point.z.0[3].0,
            inout("zmm14") $point.z.0[4].0,
            out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _,
            out("zmm30") _, out("zmm31") _,
            $($others)+
        )
    };
}

/// Coordinates as they are between two doublings: Z is made last and not carried yet.
#[derive(Clone, Copy)]
pub(super) struct Chained {
    pub(super) x: Factor<Zmm>,
    pub(super) y: Factor<Zmm>,
    pub(super) z: Wide<Zmm>,
}

/// Twice the point.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
pub(super) fn double(mut point: Chained) -> Chained {
    // SAFETY: reads `CONSTANTS` and otherwise touches nothing but registers, with instructions of
    // the target features.
    unsafe {
        on_point!(point, {
            limbs!("vpaddq" d, a, b),
            square!(e = a, biased; carry c c),
            square!(f = b; carry d d),
            limbs!("vpaddq" a, e, f),
            limbs!("vpsubq" e, e, f),
            square!(f = d; carry e e),
            limbs!("vpsubq" f, a, f),
            square!(d = c; carry a a),
            limbs!("vpaddq" d, d, d),
            limbs!("vpaddq" d, d, e),
            product!(b = e * a; carry f f, carry d d),
            product!(a = f * d; carry b b),
            product!(c = d * e; carry a a),
        } options(pure, readonly, nostack));
    }
    point
}

/// Twice the point, or in the lanes of the last mask its negative, plus the sum of `rows` that the
/// other masks name.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
pub(super) fn column(
    mut point: Point<Zmm>,
    [first, second, third, negative]: [u8; TEETH],
    rows: &[Row; ROWS],
) -> Point<Zmm> {
    // SAFETY: reads `CONSTANTS` and eight sums of fifteen rows, which are all that `rows` has, and
    // otherwise touches nothing but registers, with instructions of the target features.
    unsafe {
        on_point!(point, {
            "kandb k5, k1, k2\n",
            "kandnb k6, k1, k2\n",
            doubling!(),
            limbs!("vpsubq" b, a, b),
            product!(c = e * f, biased; carry b b, carry d a),
            product!(a = f * d, biased),
            product!(f = b * d),
            product!(d = b * e; carry f f),
            select!(b, 10 11 12 13 14),
            // Y + X and Y - X, exchanged if the point counts negative.
            product!(e = f * b; turn a d a d, carry a a, carry d d),
            select!(f, 5 6 7 8 9),
            // G and F, exchanged as well.
            product!(b = d * f; turn e c c e),
            select!(f, 0 1 2 3 4),
            product!(d = a * f, biased; carry c c, carry e e),
            limbs!("vpaddq" f, d, b),
            limbs!("vpsubq" b, d, b),
            product!(d = c * e; carry b b, carry f f),
            product!(a = b * c),
            product!(b = e * f; carry c d, carry a a),
        }
        rows = in(reg) rows,
        in("k1") first, in("k2") second, in("k3") third, in("k4") negative,
        out("k5") _, out("k6") _,
        options(pure, readonly, nostack));
    }
    point
}

const _: () = assert!(ROWS == 8 * 15);
