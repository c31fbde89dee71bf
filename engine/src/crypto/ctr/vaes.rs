//! AES-128 (FIPS 197) in counter mode, four blocks to a register and six registers at a time: all
//! blocks of a packet at once.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline, loads and stores")]

use core::arch::x86_64::*;

use zeroize::{optimization_barrier, zeroize_bytes};

use super::aes_ni::expand_key;
use crate::cpu::Vaes;
use crate::wire::geometry::{K, STREAM_LEN};

/// Bytes of a register.
const WIDTH: usize = 64;
/// Registers that the key stream fills.
const REGISTERS: usize = STREAM_LEN.div_ceil(WIDTH);

/// See [`HeaderStream`](super::HeaderStream).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn header_stream(keys: &[[u8; K]], blocks: &mut [[u8; STREAM_LEN]]) {
    assert_eq!(keys.len(), blocks.len());
    let _proof = Vaes::detect().expect("this kernel is chosen where the CPU has VAES");
    // SAFETY: the CPU has just proved that it has the instructions.
    unsafe { apply(keys, blocks) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,vaes,aes")]
fn apply(keys: &[[u8; K]], blocks: &mut [[u8; STREAM_LEN]]) {
    let mut stream = [[0; WIDTH]; REGISTERS];
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
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,vaes,aes")]
fn fill(round_keys: &[__m128i; 11], stream: &mut [[u8; WIDTH]; REGISTERS]) {
    let first = _mm512_broadcast_i32x4(round_keys[0]);
    let mut states = [first; REGISTERS];
    for (i, state) in states.iter_mut().enumerate() {
        let counter = |block: u64| (4 * i as u64 + block).swap_bytes() as i64;
        let (a, b, c, d) = (counter(0), counter(1), counter(2), counter(3));
        *state = _mm512_xor_si512(first, _mm512_setr_epi64(0, a, 0, b, 0, c, 0, d));
    }
    for key in &round_keys[1..10] {
        let key = _mm512_broadcast_i32x4(*key);
        for state in &mut states {
            *state = _mm512_aesenc_epi128(*state, key);
        }
    }
    let last = _mm512_broadcast_i32x4(round_keys[10]);
    for (state, bytes) in states.iter().zip(stream) {
        let state = _mm512_aesenclast_epi128(*state, last);
        // SAFETY: a reference to 64 bytes, and the instruction asks for no alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), state) }
    }
}
