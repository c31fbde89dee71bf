//! X25519 on AVX-512 IFMA: 8 lanes in a vector of 512 bits, and 4 in one of 256.
//!
//! The short vectors serve where no more than four lanes are left. They have the same instructions
//! and the same latencies, and CPUs that run the long ones in two passes need half the time.
#![expect(unsafe_code, reason = "vector instructions")]

mod limbs;
mod steps;

use core::arch::x86_64::*;

use self::steps::Chained;
use super::X25519;
use super::batch::{self, Batch};
use super::comb::{self, ROWS, Row, Steps, TEETH};
use super::edwards::Point;
use super::field::{Factor, Field, Wide, product};
use super::ifma::Ifma;
use super::lanes::{LANES_MAX, Lanes, Madd52};
use super::multiples::{Again, Multiples};
use crate::cpu::Avx512;

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;
/// Lanes of a short one.
const SHORT: usize = 4;

/// This tier's kernel, for who has asked the CPU.
pub(crate) fn kernel(_: Avx512) -> X25519 {
    x25519
}

/// This tier's kernels for points that are multiplied again.
pub(crate) fn again(_: Avx512) -> Again {
    Again { prepare, multiply: multiply_again }
}

fn x25519(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    // SAFETY: nothing but `kernel` gives this function away, and it has the proof that the CPU has
    // what `ladders` requires.
    unsafe { ladders(scalars, points, out) }
}

fn prepare(points: &mut Multiples) {
    // SAFETY: nothing but `again` gives this function away, and it has the proof that the CPU has
    // what `combs` requires.
    unsafe { combs(points) }
}

fn multiply_again(scalars: &[[u8; 32]], wanted: u64, points: &Multiples, out: &mut [[u8; 32]]) {
    // SAFETY: nothing but `again` gives this function away, and it has the proof that the CPU has
    // what `columns` requires.
    unsafe { columns(scalars, wanted, points, out) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn ladders(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    let rest = out.len() % LANES;
    let short = if rest <= SHORT { rest } else { 0 };
    let (scalars, last_scalars) = scalars.split_at(scalars.len() - short);
    let (points, last_points) = points.split_at(points.len() - short);
    let (out, last_out) = out.split_at_mut(out.len() - short);
    batch::multiply::<Ifma<Zmm>>(scalars, points, out);
    batch::multiply::<Ifma<Ymm>>(last_scalars, last_points, last_out);
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn combs(points: &mut Multiples) {
    let mut plain = 0;
    for (at, points, rows) in points.parts_mut(2 * LANES) {
        let plain_here = if points.len() <= SHORT {
            let plain = comb::prepare::<Ifma<Ymm>, 1>(points, rows);
            // No lane may be zero where vectors are settled together.
            rows[0].iter_mut().for_each(|row| row.0.copy_within(..SHORT, SHORT));
            plain
        } else if points.len() <= LANES {
            comb::prepare::<Ifma<Zmm>, 1>(points, rows)
        } else {
            comb::prepare::<Ifma<Zmm>, 2>(points, rows)
        };
        plain |= plain_here << at;
    }
    points.set_plain(plain);
    if points.points().len() <= SHORT {
        comb::settle::<Ifma<Ymm>>(points.used_rows_mut());
    } else {
        comb::settle::<Ifma<Zmm>>(points.used_rows_mut());
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn columns(scalars: &[[u8; 32]], wanted: u64, points: &Multiples, out: &mut [[u8; 32]]) {
    let mut batch = Batch::<Ifma<Zmm>>::new();
    for (place, scalars, rows) in points.vectors(LANES, scalars, wanted) {
        // Rows of long vectors serve short ones as well.
        let fraction = if scalars.len() > SHORT {
            comb::multiply::<Ifma<Zmm>>(scalars, rows)
        } else {
            lengthen(comb::multiply::<Ifma<Ymm>>(scalars, rows))
        };
        batch.push(place, fraction);
    }
    batch.finish(out);
}

/// A vector of 8 lanes. Named by [`ladders`], [`combs`] and [`columns`] only, and private, so that
/// none exists outside of them.
#[derive(Clone, Copy)]
struct Zmm(__m512i);

/// A vector of 4 lanes; as [`Zmm`].
#[derive(Clone, Copy)]
struct Ymm(__m256i);

/// One instruction on vectors, with a constant in brackets if it takes one.
macro_rules! op {
    ($($instruction:ident)::+$([$constant:literal])?($($argument:expr),*)) => {{
        // SAFETY: only the functions above that require the instruction name the vectors, so this
        // runs inside of them, where the CPU is known to have it; it touches nothing but registers.
        unsafe { $($instruction)::+$(::<$constant>)?($($argument),*) }
    }};
}

impl Steps for Ifma<Zmm> {
    #[inline(always)]
    fn doubled(point: Point<Zmm>, times: usize) -> Point<Zmm> {
        let mut point = Chained { x: point.x, y: Self::carry(point.y), z: Wide(point.z.0) };
        for _ in 0..times {
            point = op!(steps::double(point));
        }
        Point { x: point.x, y: Wide(point.y.0), z: Self::carry(point.z) }
    }

    #[inline(always)]
    fn column(point: Point<Zmm>, masks: [__mmask8; TEETH], rows: &[Row; ROWS]) -> Point<Zmm> {
        op!(steps::column(point, masks, rows))
    }
}

impl Steps for Ifma<Ymm> {}

/// The same lanes, and four of zeros.
#[inline(always)]
fn lengthen(factors: [Factor<Ymm>; 2]) -> [Factor<Zmm>; 2] {
    let mut long = [Factor([Zmm::splat(0); 5]); 2];
    for (long, short) in long.iter_mut().zip(&factors) {
        for (long, short) in long.0.iter_mut().zip(&short.0) {
            *long = Zmm(op!(_mm512_zextsi256_si512(short.0)));
        }
    }
    long
}

/// 1 / `x`, which is zero in no lane. The steps of an inversion wait for each other and leave long
/// vectors half idle, so the halves are multiplied and their product inverted.
#[inline(always)]
fn by_halves(x: &Factor<Zmm>) -> Factor<Zmm> {
    let zero = Ymm::splat(0);
    let (mut low, mut high) = (Factor([zero; 5]), Factor([zero; 5]));
    for ((x, low), high) in x.0.iter().zip(&mut low.0).zip(&mut high.0) {
        *low = Ymm(op!(_mm512_castsi512_si256(x.0)));
        *high = Ymm(op!(_mm512_extracti64x4_epi64[1](x.0)));
    }
    let inverse = Ifma::<Ymm>::inverse(&product::<Ifma<Ymm>>(&low, &high));
    let low_inverse = product::<Ifma<Ymm>>(&inverse, &high);
    let high_inverse = product::<Ifma<Ymm>>(&inverse, &low);
    let [mut long, _] = lengthen([low_inverse, low_inverse]);
    for (long, high) in long.0.iter_mut().zip(&high_inverse.0) {
        *long = Zmm(op!(_mm512_inserti64x4[1](long.0, high.0)));
    }
    long
}

/// The traits' methods, an instruction each, for a vector of `$width` lanes.
macro_rules! vector {
    (
        $vector:ident, $width:expr,
        set1: $set1:ident, loadu: $loadu:ident, storeu: $storeu:ident, add: $add:ident,
        sub: $sub:ident, and: $and:ident, or: $or:ident, xor: $xor:ident, sll: $sll:ident,
        srl: $srl:ident, movepi64_mask: $movepi64_mask:ident, mask_blend: $mask_blend:ident,
        madd52lo: $madd52lo:ident, madd52hi: $madd52hi:ident
        $(, $own:item)?
    ) => {
        impl Lanes for $vector {
            const WIDTH: usize = $width;
            type Mask = __mmask8;

            #[inline(always)]
            fn splat(x: u64) -> Self {
                Self(op!($set1(x.cast_signed())))
            }

            #[inline(always)]
            fn load(words: &[u64; LANES_MAX]) -> Self {
                // SAFETY: the pointer is to 64 readable bytes, no more of which are read, and may
                // be unaligned; for the instruction itself see `op`.
                Self(unsafe { $loadu(words.as_ptr().cast()) })
            }

            #[inline(always)]
            fn store(self, words: &mut [u64; LANES_MAX]) {
                // SAFETY: the pointer is to 64 writable bytes, no more of which are written, and
                // may be unaligned; for the instruction itself see `op`.
                unsafe { $storeu(words.as_mut_ptr().cast(), self.0) }
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(op!($add(self.0, other.0)))
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(op!($sub(self.0, other.0)))
            }

            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(op!($and(self.0, other.0)))
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(op!($or(self.0, other.0)))
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Self(op!($xor(self.0, other.0)))
            }

            #[inline(always)]
            fn shl(self, count: u32) -> Self {
                let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
                Self(op!($sll(self.0, count)))
            }

            #[inline(always)]
            fn shr(self, count: u32) -> Self {
                let count = op!(_mm_cvtsi32_si128(count.cast_signed()));
                Self(op!($srl(self.0, count)))
            }

            #[inline(always)]
            fn top_bits(self) -> __mmask8 {
                op!($movepi64_mask(self.0))
            }

            #[inline(always)]
            fn mask_bits(mask: __mmask8) -> u64 {
                u64::from(mask)
            }

            #[inline(always)]
            fn select(mask: __mmask8, clear: Self, set: Self) -> Self {
                Self(op!($mask_blend(mask, clear.0, set.0)))
            }
        }

        impl Madd52 for $vector {
            #[inline(always)]
            fn madd_lo(self, a: Self, b: Self) -> Self {
                Self(op!($madd52lo(self.0, a.0, b.0)))
            }

            #[inline(always)]
            fn madd_hi(self, a: Self, b: Self) -> Self {
                Self(op!($madd52hi(self.0, a.0, b.0)))
            }

            $($own)?
        }
    };
}

vector!(
    Zmm, LANES,
    set1: _mm512_set1_epi64,
    loadu: _mm512_loadu_epi64,
    storeu: _mm512_storeu_epi64,
    add: _mm512_add_epi64,
    sub: _mm512_sub_epi64,
    and: _mm512_and_si512,
    or: _mm512_or_si512,
    xor: _mm512_xor_si512,
    sll: _mm512_sll_epi64,
    srl: _mm512_srl_epi64,
    movepi64_mask: _mm512_movepi64_mask,
    mask_blend: _mm512_mask_blend_epi64,
    madd52lo: _mm512_madd52lo_epu64,
    madd52hi: _mm512_madd52hi_epu64,
    #[inline(always)]
    fn inverse(x: &Factor<Self>) -> Factor<Self> {
        by_halves(x)
    }
);

vector!(
    Ymm, SHORT,
    set1: _mm256_set1_epi64x,
    loadu: _mm256_loadu_epi64,
    storeu: _mm256_storeu_epi64,
    add: _mm256_add_epi64,
    sub: _mm256_sub_epi64,
    and: _mm256_and_si256,
    or: _mm256_or_si256,
    xor: _mm256_xor_si256,
    sll: _mm256_sll_epi64,
    srl: _mm256_srl_epi64,
    movepi64_mask: _mm256_movepi64_mask,
    mask_blend: _mm256_mask_blend_epi64,
    madd52lo: _mm256_madd52lo_epu64,
    madd52hi: _mm256_madd52hi_epu64
);
