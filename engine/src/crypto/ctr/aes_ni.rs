//! AES-128 (FIPS 197) in counter mode on the AES instructions, eight blocks at a time.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline, loads and stores")]

use core::arch::x86_64::*;

use zeroize::{optimization_barrier, zeroize_bytes};

use crate::cpu::Aes;
use crate::wire::geometry::{K, STREAM_LEN};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Blocks under way at once: an instruction's result takes four cycles or so, and two instructions
/// can begin in each.
const WIDTH: usize = 8;
/// Blocks of key stream, rounded up to whole groups.
pub(super) const BLOCKS: usize = STREAM_LEN.div_ceil(WIDTH * BLOCK) * WIDTH;

/// Key stream of one packet.
pub(super) type Stream = [[u8; BLOCK]; BLOCKS];

/// Round keys.
pub(super) type RoundKeys = [__m128i; 11];

/// See [`HeaderStream`](super::HeaderStream).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn header_stream(keys: &[[u8; K]], blocks: &mut [[u8; STREAM_LEN]]) {
    assert_eq!(keys.len(), blocks.len());
    let _proof = Aes::detect().expect("this kernel is chosen where the CPU has AES instructions");
    // SAFETY: the CPU has just proved that it has the instructions.
    unsafe { apply(keys, blocks) }
}

#[target_feature(enable = "aes,sse4.1,ssse3")]
fn apply(keys: &[[u8; K]], blocks: &mut [[u8; STREAM_LEN]]) {
    let mut stream = [[0; BLOCK]; BLOCKS];
    let mut round_keys = [_mm_setzero_si128(); 11];
    for (key, block) in keys.iter().zip(blocks) {
        expand_key(key, &mut round_keys);
        fill(&round_keys, &mut stream);
        block.iter_mut().zip(stream.as_flattened()).for_each(|(byte, stream)| *byte ^= stream);
    }
    round_keys = [_mm_setzero_si128(); 11];
    optimization_barrier(&round_keys);
    zeroize_bytes(stream.as_flattened_mut());
}

#[inline]
#[target_feature(enable = "aes,sse4.1,ssse3")]
fn fill(round_keys: &RoundKeys, stream: &mut Stream) {
    let (groups, _) = stream.as_chunks_mut::<WIDTH>();
    for (group, blocks) in groups.iter_mut().enumerate() {
        let mut states = [_mm_setzero_si128(); WIDTH];
        for (i, state) in states.iter_mut().enumerate() {
            let counter = (WIDTH * group + i) as u64;
            *state = _mm_set_epi64x(counter.swap_bytes() as i64, 0);
            *state = _mm_xor_si128(*state, round_keys[0]);
        }
        for key in &round_keys[1..10] {
            for state in &mut states {
                *state = _mm_aesenc_si128(*state, *key);
            }
        }
        for (state, block) in states.iter().zip(blocks) {
            let state = _mm_aesenclast_si128(*state, round_keys[10]);
            // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
            unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), state) }
        }
    }
}

/// The key schedule (section 5.2).
#[inline]
#[target_feature(enable = "aes,sse4.1,ssse3")]
pub(super) fn expand_key(key: &[u8; K], keys: &mut RoundKeys) {
    // SAFETY: a reference to 16 bytes, and the instruction asks for no alignment.
    let mut last = unsafe { _mm_loadu_si128(key.as_ptr().cast()) };
    keys[0] = last;
    macro_rules! next {
        ($($round:literal $constant:literal),+) => {$(
            last = next_key(last, _mm_aeskeygenassist_si128::<$constant>(last));
            keys[$round] = last;
        )+};
    }
    next!(1 0x01, 2 0x02, 3 0x04, 4 0x08, 5 0x10, 6 0x20, 7 0x40, 8 0x80, 9 0x1b, 10 0x36);
}

/// Each word is the exclusive or of all words up to it in the last key, and of the substituted
/// word that ends `assist`.
#[inline]
#[target_feature(enable = "aes,sse4.1,ssse3")]
fn next_key(last: __m128i, assist: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(last, _mm_slli_si128::<4>(last));
    let sums = _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs));
    _mm_xor_si128(sums, _mm_shuffle_epi32::<0b11_11_11_11>(assist))
}
