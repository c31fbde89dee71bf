//! Between bytes and limbs: one lane per row of 32 bytes, little-endian (RFC 7748, section 5).

use zeroize::Zeroize;

use super::field::LIMB;
use super::lanes::{LANES_MAX, Lanes};

/// Four 64-bit words of each row; lanes without a row are zero.
#[inline(always)]
pub(super) fn gather<L: Lanes>(rows: &[[u8; 32]]) -> [L; 4] {
    let mut words = [[0; LANES_MAX]; 4];
    for (lane, row) in rows.iter().take(L::WIDTH).enumerate() {
        for (word, bytes) in words.iter_mut().zip(row.as_chunks().0) {
            word[lane] = u64::from_le_bytes(*bytes);
        }
    }
    let vectors = [L::load(&words[0]), L::load(&words[1]), L::load(&words[2]), L::load(&words[3])];
    words.zeroize();
    vectors
}

/// The opposite of [`gather`].
#[inline(always)]
pub(super) fn scatter<L: Lanes>(vectors: [L; 4], rows: &mut [[u8; 32]]) {
    let mut words = [[0; LANES_MAX]; 4];
    for (vector, word) in vectors.into_iter().zip(&mut words) {
        vector.store(word);
    }
    for (lane, row) in rows.iter_mut().take(L::WIDTH).enumerate() {
        for (word, bytes) in words.iter().zip(row.as_chunks_mut().0) {
            *bytes = word[lane].to_le_bytes();
        }
    }
    words.zeroize();
}

/// Limbs of a u-coordinate, its top bit dropped; p and above are taken as they are.
#[inline(always)]
pub(super) fn to_limbs<L: Lanes>([w0, w1, w2, w3]: [L; 4]) -> [L; 5] {
    let mask = L::splat(LIMB);
    [
        w0.and(mask),
        w0.shr(51).or(w1.shl(13)).and(mask),
        w1.shr(38).or(w2.shl(26)).and(mask),
        w2.shr(25).or(w3.shl(39)).and(mask),
        w3.shr(12).and(mask),
    ]
}

/// Words of limbs that [`freeze`] has seen.
#[inline(always)]
pub(super) fn from_limbs<L: Lanes>([l0, l1, l2, l3, l4]: [L; 5]) -> [L; 4] {
    [
        l0.or(l1.shl(51)),
        l1.shr(13).or(l2.shl(38)),
        l2.shr(26).or(l3.shl(25)),
        l3.shr(39).or(l4.shl(12)),
    ]
}

/// The one representative below p, its limbs below 2^51.
///
/// Takes limbs below 2^62. The first pass leaves a number below 2^255 + 2^17, the second one below
/// 2^255, which is p + 19; p is then subtracted if adding 19 carries out of the top.
#[inline(always)]
pub(super) fn freeze<L: Lanes>(limbs: [L; 5]) -> [L; 5] {
    let (limbs, over) = ripple(limbs, L::splat(0));
    let (limbs, over) = ripple(limbs, over.times_19());
    let last = over.times_19();
    let (_, over) = ripple(limbs, last.add(L::splat(19)));
    // What leaves at the top is 2^255, and 19 comes in for it at the bottom: p is gone.
    ripple(limbs, last.add(over.times_19())).0
}

/// Adds `low` at the bottom and cuts the limbs to 51 bits; returns what is left over at the top.
#[inline(always)]
fn ripple<L: Lanes>([l0, l1, l2, l3, l4]: [L; 5], low: L) -> ([L; 5], L) {
    let mask = L::splat(LIMB);
    let l0 = l0.add(low);
    let l1 = l1.add(l0.shr(51));
    let l2 = l2.add(l1.shr(51));
    let l3 = l3.add(l2.shr(51));
    let l4 = l4.add(l3.shr(51));
    ([l0.and(mask), l1.and(mask), l2.and(mask), l3.and(mask), l4.and(mask)], l4.shr(51))
}

/// Lanes in which frozen limbs are not all zero.
#[inline(always)]
pub(super) fn nonzero<L: Lanes>([l0, l1, l2, l3, l4]: [L; 5]) -> L::Mask {
    let any = l0.or(l1).or(l2.or(l3)).or(l4);
    any.add(L::splat(u64::MAX >> 1)).top_bits()
}
