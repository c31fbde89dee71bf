//! LIONESS with BLAKE2b in four lanes and ChaCha20 in eight.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline")]

use super::blake2b::{self, Block, Position, State};
use super::chacha20::{self, BLOCK, Start};
use super::portable;
use super::rounds::{self, Parts};
use crate::cpu::Avx2;
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::avx2::{Words32, Words64};

/// Lanes of the hash.
const HASHES: usize = 4;
/// Lanes of the stream cipher.
const BLOCKS: usize = 8;
/// So many messages are hashed faster one by one than as a group.
const FEW: usize = 2;

/// Takes a layer off; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, if a payload has no right half, or if the CPU lacks the
/// instructions.
pub fn decrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    rounds::decrypt(Avx2Parts(proof()), keys, payloads);
}

/// Puts a layer on; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, if a payload has no right half, or if the CPU lacks the
/// instructions.
pub fn encrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    rounds::encrypt(Avx2Parts(proof()), keys, payloads);
}

fn proof() -> Avx2 {
    Avx2::detect().expect("these kernels are chosen where the CPU has AVX2")
}

#[derive(Clone, Copy)]
struct Avx2Parts(Avx2);

impl Parts for Avx2Parts {
    const GROUP: usize = 2 * HASHES;

    fn hash(self, keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; 32]]) {
        let chunks = keys.chunks(HASHES).zip(messages.chunks(HASHES));
        for ((keys, messages), digests) in chunks.zip(digests.chunks_mut(HASHES)) {
            if messages.len() <= FEW {
                portable::hashes(keys, messages, digests);
            } else {
                // SAFETY: `self` holds the proof that the CPU has the instructions.
                unsafe { hash(self, keys, messages, digests) }
            }
        }
    }

    fn stream(self, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
        let short = messages.iter().all(|message| message.len() <= BLOCK);
        if short && messages.len() == 1 {
            portable::streams(keys, messages);
        } else if short {
            // SAFETY: `self` holds the proof that the CPU has the instructions.
            unsafe { stream_short(self.0, keys, messages) }
        } else {
            // SAFETY: as above.
            unsafe { stream_long(self.0, keys, messages) }
        }
    }
}

#[target_feature(enable = "avx2")]
fn hash(blake: Avx2Parts, keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; 32]]) {
    blake2b::hash(blake, keys, messages, digests);
}

impl blake2b::Compress<Words64, HASHES, 1> for Avx2Parts {
    #[inline(always)]
    fn cpu(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn compress(
        self,
        state: &mut State<Words64, 1>,
        block: &Block<Words64, 1>,
        position: Position,
    ) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress(self.0, state, block, position) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn compress(
    cpu: Avx2,
    state: &mut State<Words64, 1>,
    block: &Block<Words64, 1>,
    position: Position,
) {
    blake2b::compress(cpu, state, block, position);
}

/// Messages of a single block, side by side.
#[target_feature(enable = "avx2")]
fn stream_short(cpu: Avx2, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_short(cpu, keys, messages, |start, data| stream(cpu, start, data));
}

/// Longer messages, one after the other.
#[target_feature(enable = "avx2")]
fn stream_long(cpu: Avx2, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_long::<_, BLOCKS, 1>(cpu, keys, messages, |start, data| {
        stream(cpu, start, data);
    });
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn stream(cpu: Avx2, start: &Start<Words32>, data: &mut [u8]) {
    chacha20::stream::<_, BLOCKS, 1>(cpu, start, data);
}
