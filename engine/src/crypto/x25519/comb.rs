//! Multiplication of a point that is multiplied more than once: a comb with four teeth.
//!
//! A mix multiplies each alpha twice, with its own key and then with the blinding factor that the
//! first product leads to. The doublings, most of the work, are the same for both: from Q they lead
//! to the teeth Q, 2^63 Q, 2^126 Q and 2^189 Q, and the eight sums of the last tooth with the
//! others, each added or subtracted, are kept. A scalar is then 63 columns of four signs, one of
//! the eight sums and a sign for it per column (Lim and Lee: "More flexible exponentiation with
//! precomputation", CRYPTO '94; signs as in Hamburg: "Fast and compact elliptic-curve
//! cryptography", 2012). The sums are public, as alpha is; all of them are read for each column.
//! Their denominators are divided out, all of a batch with one inversion, which saves each column a
//! multiplication and reading a fourth coordinate.
//!
//! A clamped scalar is 8 m. Q is 8 P, which has the prime order l; m, or l - m if m is even, is odd
//! and below 2^252, hence a sum of 252 powers of two each with a sign. As u has no sign, the
//! product with l - m, which is the negative, serves as well.

use zeroize::optimization_barrier;

use super::batch;
use super::edwards::{Affine, Coordinates, Encoded, Point};
use super::field::{Factor, Field, Wide, product};
use super::lanes::{LANES_MAX, Lanes};
use super::multiples::VECTORS;
use super::words;

/// Columns of signs.
const COLUMNS: usize = 63;
/// Signs of a column.
pub(super) const TEETH: usize = 4;
/// Sums that are kept: all signs of the teeth but the last.
const SUMS: usize = 1 << (TEETH - 1);
/// Rows of a sum: three field elements of five limbs.
const SUM_ROWS: usize = 3 * 5;
/// Rows of a sum and the next, which is the same but for the sign of the first tooth.
const PAIR_ROWS: usize = 2 * SUM_ROWS;
/// Rows that the sums of one vector of points take.
pub(super) const ROWS: usize = SUMS * SUM_ROWS;

/// Pairs of sums of a batch.
const PAIRS: usize = VECTORS * SUMS / 2;

/// The limbs of one vector, aligned so that no load crosses a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Row(pub(super) [u64; LANES_MAX]);

/// The lower 63 bits.
const WORD: u64 = u64::MAX >> 1;
/// The order of the base point, l = 2^252 + 27742317777372353535851937790883648493 (RFC 7748,
/// section 4.1), but for its highest bit, in words of 63 bits.
const ORDER: [u64; TEETH] = [0x5812_631a_5cf5_d3ed, 0x29bd_f3bd_45ef_39ac, 0, 0];

/// The steps that take nearly all of the time. A vector for which the compiler's order of their
/// instructions is not good enough brings its own.
pub(super) trait Steps: Field + Sized {
    /// The point doubled so many times.
    #[inline(always)]
    fn doubled(mut point: Point<Self::Lanes>, times: usize) -> Point<Self::Lanes> {
        for _ in 0..times {
            point = point.double::<Self>().point::<Self>();
        }
        point
    }

    /// Twice the point, or its negative where the last of a column's masks says so, plus the sum
    /// that the others name.
    #[inline(always)]
    fn column(
        point: Point<Self::Lanes>,
        masks: Masks<Self::Lanes>,
        rows: &[Row; ROWS],
    ) -> Point<Self::Lanes> {
        let [first, second, third, negative] = masks;
        let sum = Selected { masks: [first, second, third], rows };
        point.double::<Self>().summand::<Self>().add::<Self>(negative, &sum).point::<Self>()
    }
}

/// A bit for each lane of each sign of a column.
type Masks<L> = [<L as Lanes>::Mask; TEETH];

/// Writes the sums of `N` vectors of points, with the u-coordinates `points`, to `rows`, one of
/// them per vector, as [`settle`] wants them; lanes whose u is not on the curve or is 0, one bit
/// each.
#[inline(always)]
pub(super) fn prepare<F: Steps, const N: usize>(
    points: &[[u8; 32]],
    rows: &mut [[Row; ROWS]],
) -> u64 {
    let width = F::Lanes::WIDTH;
    let mut all = [Encoded::new::<F>(words::to_limbs(words::gather(points))); N];
    for i in 1..N {
        all[i] = Encoded::new::<F>(words::to_limbs(words::gather(&points[i * width..])));
    }
    let candidates = Encoded::candidates::<F, N>(&all);
    let mut plain = 0;
    for (i, ((encoded, candidate), rows)) in all.iter().zip(&candidates).zip(rows).enumerate() {
        let (point, strangers) = encoded.decode::<F>(candidate);
        sums::<F>(&point, rows);
        plain |= F::Lanes::mask_bits(strangers) << (i * width);
    }
    plain
}

/// Writes the sums of one vector of points, as fractions: of each pair E and H of the one, F of the
/// one, which is G of the other, E and H of the other, and G of the one. See
/// [`Completed`](super::edwards::Completed).
#[inline(always)]
fn sums<F: Steps>(point: &Point<F::Lanes>, rows: &mut [Row; ROWS]) {
    let mut tooth = F::doubled(*point, 2).double::<F>();
    let mut teeth = [tooth.summand::<F>(); TEETH];
    for summand in &mut teeth[1..] {
        // Of the last doubling T is wanted as well.
        tooth = F::doubled(tooth.point::<F>(), COLUMNS - 1).double::<F>();
        *summand = tooth.summand::<F>();
    }
    // Sums that end with tooth t stand 2^t apart.
    let mut sums = [teeth[TEETH - 1]; SUMS];
    for t in (1..TEETH - 1).rev() {
        let tooth = teeth[t].second::<F>();
        for i in (0..SUMS).step_by(2 << t) {
            let both = sums[i].add_and_subtract::<F>(&tooth);
            [sums[i], sums[i + (1 << t)]] = both.summands::<F>();
        }
    }
    let tooth = teeth[0].second::<F>();
    let pairs = rows.as_chunks_mut::<PAIR_ROWS>().0;
    for (sum, rows) in sums.iter().step_by(2).zip(pairs) {
        let both = sum.add_and_subtract::<F>(&tooth);
        store(&both.added.e, rows, 0);
        store(&both.added.h, rows, 5);
        store(&both.added.f, rows, 10);
        store(&both.subtracted.e, rows, 15);
        store(&both.subtracted.h, rows, 20);
        store(&both.added.g, rows, 25);
    }
}

/// Divides what [`prepare`] has written, and makes of it what [`multiply`] reads. In no lane may a
/// denominator be zero.
#[inline(always)]
pub(super) fn settle<F: Steps>(rows: &mut [[Row; ROWS]]) {
    let pairs = rows.as_flattened_mut().as_chunks_mut::<PAIR_ROWS>().0;
    let mut halves = [Factor([F::Lanes::splat(0); 5]); PAIRS];
    let halves = &mut halves[..pairs.len()];
    for (product_of_both, rows) in halves.iter_mut().zip(&*pairs) {
        *product_of_both = product::<F>(&load(rows, 10), &load(rows, 25));
    }
    batch::invert::<F, PAIRS>(halves, &Affine::half::<F>());
    for (half, rows) in halves.iter().zip(pairs) {
        let over_f = product::<F>(half, &load(rows, 25));
        let over_g = product::<F>(half, &load(rows, 10));
        let [e, h] = [load(rows, 0), load(rows, 5)];
        let added = Affine::new::<F>([&e, &over_g], [&h, &over_f]);
        let [e, h] = [load(rows, 15), load(rows, 20)];
        let subtracted = Affine::new::<F>([&e, &over_f], [&h, &over_g]);
        for (sum, at) in [(added, 0), (subtracted, SUM_ROWS)] {
            store(&sum.plus, rows, at);
            store(&sum.minus, rows, at + 5);
            store(&sum.t, rows, at + 10);
        }
    }
}

/// Reads five limbs, from row `at` on.
#[inline(always)]
fn load<L: Lanes>(rows: &[Row; PAIR_ROWS], at: usize) -> Factor<L> {
    Factor([
        L::load(&rows[at].0),
        L::load(&rows[at + 1].0),
        L::load(&rows[at + 2].0),
        L::load(&rows[at + 3].0),
        L::load(&rows[at + 4].0),
    ])
}

/// Writes five limbs, from row `at` on.
#[inline(always)]
fn store<L: Lanes>(factor: &Factor<L>, rows: &mut [Row; PAIR_ROWS], at: usize) {
    let [a, b, c, d, e] = factor.0;
    a.store(&mut rows[at].0);
    b.store(&mut rows[at + 1].0);
    c.store(&mut rows[at + 2].0);
    d.store(&mut rows[at + 3].0);
    e.store(&mut rows[at + 4].0);
}

/// Numerators and denominators of `scalars` times the points whose sums are in `rows`.
#[inline(always)]
pub(super) fn multiply<F: Steps>(
    scalars: &[[u8; 32]],
    rows: &[Row; ROWS],
) -> [Factor<F::Lanes>; 2] {
    let mut signs = signs(words::gather::<F::Lanes>(scalars));
    let mut point = first::<F>(masks(&signs, COLUMNS - 1), rows);
    for column in (0..COLUMNS - 1).rev() {
        point = F::column(point, masks(&signs, column), rows);
    }
    signs = [F::Lanes::splat(0); TEETH];
    optimization_barrier(&signs);
    point.ratio::<F>()
}

/// The last column, whose sign is always positive.
#[inline(always)]
fn first<F: Field>(masks: Masks<F::Lanes>, rows: &[Row; ROWS]) -> Point<F::Lanes> {
    let [first, second, third, _] = masks;
    let sum = Selected { masks: [first, second, third], rows };
    let (plus, minus) = (Wide(sum.plus().0), Wide(sum.minus().0));
    let z = F::carry(Wide::small(1).biased::<F>());
    Point { x: F::carry(plus.biased::<F>().minus(&minus)), y: plus.plus(&minus), z }
}

/// The signs of a column.
#[inline(always)]
fn masks<L: Lanes>(signs: &[L; TEETH], column: usize) -> Masks<L> {
    [bit(signs[0], column), bit(signs[1], column), bit(signs[2], column), bit(signs[3], column)]
}

/// The sum of a column, its sign left aside.
struct Selected<'a, L: Lanes> {
    masks: [L::Mask; TEETH - 1],
    rows: &'a [Row; ROWS],
}

impl<L: Lanes> Selected<'_, L> {
    /// Five limbs, from row `at` of each sum on.
    #[inline(always)]
    fn factor(&self, at: usize) -> Factor<L> {
        Factor([
            limb(self.masks, self.rows, at),
            limb(self.masks, self.rows, at + 1),
            limb(self.masks, self.rows, at + 2),
            limb(self.masks, self.rows, at + 3),
            limb(self.masks, self.rows, at + 4),
        ])
    }
}

impl<L: Lanes> Coordinates<L> for Selected<'_, L> {
    #[inline(always)]
    fn plus(&self) -> Factor<L> {
        self.factor(0)
    }

    #[inline(always)]
    fn minus(&self) -> Factor<L> {
        self.factor(5)
    }

    #[inline(always)]
    fn t(&self) -> Factor<L> {
        self.factor(10)
    }
}

/// Row `at` of the sum that the masks name: a tree of selections.
#[inline(always)]
fn limb<L: Lanes>(masks: [L::Mask; TEETH - 1], rows: &[Row; ROWS], at: usize) -> L {
    let clear = L::select(masks[1], pair(masks[0], rows, at, 0), pair(masks[0], rows, at, 2));
    let set = L::select(masks[1], pair(masks[0], rows, at, 4), pair(masks[0], rows, at, 6));
    L::select(masks[2], clear, set)
}

/// Row `at` of sum `i` or of the next.
#[inline(always)]
fn pair<L: Lanes>(mask: L::Mask, rows: &[Row; ROWS], at: usize, i: usize) -> L {
    let row = i * SUM_ROWS + at;
    L::select(mask, L::load(&rows[row].0), L::load(&rows[row + SUM_ROWS].0))
}

/// Bit `column` of each lane.
#[inline(always)]
fn bit<L: Lanes>(word: L, column: usize) -> L::Mask {
    word.shl(63 - column as u32).top_bits()
}

/// Clamps scalars (RFC 7748, section 5) and turns them to signs. Bit j of the last word is set
/// where the sum of column j has another sign than that of column j + 1, and bit j of each other
/// word where that tooth has another sign than the last.
///
/// A sum that counts negative is not subtracted: the sum so far changes its sign before a sum that
/// has another one than the sum before. The whole then has the sign of column 0, which does not
/// matter as u has none.
#[inline(always)]
fn signs<L: Lanes>([w0, w1, w2, w3]: [L; 4]) -> [L; TEETH] {
    let word = L::splat(WORD);
    let m = [
        w0.shr(3).or(w1.shl(61)).and(word),
        w1.shr(2).or(w2.shl(62)).and(word),
        w2.shr(1).or(w3.shl(63)).and(word),
        w3.and(word).or(L::splat(1 << 62)),
    ];
    let [n0, n1, n2, n3] = odd(m);
    // With all signs positive the sum is 2^252 - 1, and each negative one takes twice its power
    // away: a sign is positive where (n + 2^252 - 1) / 2 has a bit.
    let positive = [
        n0.shr(1).or(n1.shl(62)).and(word),
        n1.shr(1).or(n2.shl(62)).and(word),
        n2.shr(1).or(n3.shl(62)).and(word),
        n3.shr(1).or(L::splat(1 << 62)),
    ];
    let [p0, p1, p2, last] = positive;
    [p0.xor(last), p1.xor(last), p2.xor(last), last.xor(last.shr(1))]
}

/// `m` where it is odd, and l - `m` where it is even; words of 63 bits, below 2^252.
#[inline(always)]
fn odd<L: Lanes>(m: [L; TEETH]) -> [L; TEETH] {
    let is_odd = m[0].shl(63).top_bits();
    let mut borrow = L::splat(0);
    let mut n = m;
    for (n, order) in n.iter_mut().zip(ORDER) {
        // Within 2^63 of zero on either side: adding 2^63 first keeps it from falling below.
        let difference = L::splat(order + (1 << 63)).sub(*n).sub(borrow);
        borrow = difference.shr(63).xor(L::splat(1));
        *n = L::select(is_odd, difference.and(L::splat(WORD)), *n);
    }
    n
}
