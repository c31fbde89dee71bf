//! HKDF and HMAC on the SHA-256 instructions, two messages at a time: one alone would spend half
//! its time waiting for its own last result.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline, loads and stores")]

use core::arch::x86_64::*;

use super::sha256::{Block, Compress, ROUND, Schedule, State};
use super::{HopKeys, batch};
use crate::cpu::Sha;
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::{each_group, unroll};
use crate::wire::geometry::{BETA_LEN, K};

/// See [`Expand`](super::Expand).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn expand(secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    assert_eq!(secrets.len(), keys.len());
    expand_on(proof(), secrets, keys);
}

/// See [`PayloadKeys`](super::PayloadKeys).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn payload_keys(seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    assert_eq!(seeds.len(), out.len());
    payload_keys_on(proof(), seeds, out);
}

/// See [`HeaderMacs`](super::HeaderMacs).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn header_macs(keys: &[[u8; K]], betas: &[&[u8; BETA_LEN]], out: &mut [[u8; K]]) {
    assert!(keys.len() == betas.len() && betas.len() == out.len());
    header_macs_on(proof(), keys, betas, out);
}

fn proof() -> Sha {
    Sha::detect().expect("these kernels are chosen where the CPU has SHA-256 instructions")
}

pub(super) fn expand_on(cpu: Sha, secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    for (secrets, keys) in secrets.chunks(2).zip(keys.chunks_mut(2)) {
        match secrets.len() {
            2 => batch::expand(Streams::<2>(cpu), secrets, keys),
            _ => batch::expand(Streams::<1>(cpu), secrets, keys),
        }
    }
}

pub(super) fn payload_keys_on(cpu: Sha, seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    for (seeds, out) in seeds.chunks(2).zip(out.chunks_mut(2)) {
        match seeds.len() {
            2 => batch::payload_keys(Streams::<2>(cpu), seeds, out),
            _ => batch::payload_keys(Streams::<1>(cpu), seeds, out),
        }
    }
}

pub(super) fn header_macs_on(
    cpu: Sha,
    keys: &[[u8; K]],
    betas: &[&[u8; BETA_LEN]],
    out: &mut [[u8; K]],
) {
    for ((keys, betas), out) in keys.chunks(2).zip(betas.chunks(2)).zip(out.chunks_mut(2)) {
        match keys.len() {
            2 => batch::header_macs(Streams::<2>(cpu), keys, betas, out),
            _ => batch::header_macs(Streams::<1>(cpu), keys, betas, out),
        }
    }
}

/// `G` messages under way at once.
#[derive(Clone, Copy)]
struct Streams<const G: usize>(Sha);

impl<const G: usize> Compress<u32, 1, G> for Streams<G> {
    #[inline(always)]
    fn cpu(self) {}

    #[inline(always)]
    fn compress(self, state: &mut State<u32, G>, block: &mut Block<u32, G>) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress(state, block) }
    }

    #[inline(always)]
    fn compress_fixed(self, state: &mut State<u32, G>, schedule: &Schedule) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress_fixed(state, schedule) }
    }
}

#[expect(clippy::cognitive_complexity, reason = "rounds, written out")]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress<const G: usize>(state: &mut State<u32, G>, block: &Block<u32, G>) {
    let zero = _mm_setzero_si128();
    let (mut s, mut w) = ([[zero; 2]; G], [[zero; 4]; G]);
    each_group!(g of G {
        s[g] = load_state(&state[g]);
        unroll!(i in [0 1 2 3] { w[g][i] = load(&block[g], i); });
    });
    unroll!(step in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        let constants = load(&ROUND, step);
        each_group!(g of G {
            if step >= 4 {
                w[g][step % 4] = next_words(&w[g], step);
            }
            s[g] = four_rounds(s[g], _mm_add_epi32(w[g][step % 4], constants));
        });
    });
    each_group!(g of G { add_to(&mut state[g], s[g]); });
}

#[expect(clippy::cognitive_complexity, reason = "rounds, written out")]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress_fixed<const G: usize>(state: &mut State<u32, G>, schedule: &Schedule) {
    let mut s = [[_mm_setzero_si128(); 2]; G];
    each_group!(g of G { s[g] = load_state(&state[g]); });
    unroll!(step in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
        let words = load(schedule, step);
        each_group!(g of G { s[g] = four_rounds(s[g], words); });
    });
    each_group!(g of G { add_to(&mut state[g], s[g]); });
}

/// The state as the instructions want it: `f e b a` and `h g d c`, lowest first.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load_state(state: &[u32; 8]) -> [__m128i; 2] {
    let badc = _mm_shuffle_epi32::<0b10_11_00_01>(load(state, 0));
    let hgfe = _mm_shuffle_epi32::<0b00_01_10_11>(load(state, 1));
    [_mm_alignr_epi8::<8>(badc, hgfe), _mm_blend_epi16::<0xf0>(hgfe, badc)]
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn add_to(state: &mut [u32; 8], [feba, hgdc]: [__m128i; 2]) {
    let abef = _mm_shuffle_epi32::<0b00_01_10_11>(feba);
    let ghcd = _mm_shuffle_epi32::<0b10_11_00_01>(hgdc);
    let abcd = _mm_blend_epi16::<0xf0>(abef, ghcd);
    let efgh = _mm_alignr_epi8::<8>(ghcd, abef);
    let sums = [_mm_add_epi32(load(state, 0), abcd), _mm_add_epi32(load(state, 1), efgh)];
    for (place, sum) in state.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
        unsafe { _mm_storeu_si128(place.as_mut_ptr().cast(), sum) }
    }
}

/// Four rounds, given the message's words with the round constants added.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn four_rounds([feba, hgdc]: [__m128i; 2], words: __m128i) -> [__m128i; 2] {
    let hgdc = _mm_sha256rnds2_epu32(hgdc, feba, words);
    let feba = _mm_sha256rnds2_epu32(feba, hgdc, _mm_shuffle_epi32::<0b00_00_11_10>(words));
    [feba, hgdc]
}

/// The four words of the schedule that take the place of those 16 earlier.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn next_words(w: &[__m128i; 4], step: usize) -> __m128i {
    let back = |n: usize| w[(step + 4 - n) % 4];
    let early = _mm_sha256msg1_epu32(back(4), back(3));
    let middle = _mm_alignr_epi8::<4>(back(1), back(2));
    _mm_sha256msg2_epu32(_mm_add_epi32(early, middle), back(1))
}

/// Four words, number `at` of their kind.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load<const N: usize>(words: &[u32; N], at: usize) -> __m128i {
    let words: &[u32; 4] = words[4 * at..].first_chunk().expect("a multiple of four words");
    // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}
