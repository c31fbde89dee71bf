//! LIONESS with BLAKE2b in eight lanes and ChaCha20 in sixteen, or two interleaved groups of them.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline")]

use super::blake2b::{self, Position};
use super::chacha20::{self, BLOCK, Start, Stream};
use super::portable;
use super::rounds::{self, Parts};
use crate::cpu::Avx512;
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::avx512::{Words32, Words64};

/// Lanes of a group of the hash.
const HASHES: usize = 8;
/// Lanes of a group of the stream cipher.
const BLOCKS: usize = 16;

/// Takes a layer off; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, if a payload has no right half, or if the CPU lacks the
/// instructions.
pub fn decrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    rounds::decrypt(Avx512Parts(proof()), keys, payloads);
}

/// Puts a layer on; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, if a payload has no right half, or if the CPU lacks the
/// instructions.
pub fn encrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    rounds::encrypt(Avx512Parts(proof()), keys, payloads);
}

fn proof() -> Avx512 {
    Avx512::detect().expect("these kernels are chosen where the CPU has AVX-512")
}

#[derive(Clone, Copy)]
struct Avx512Parts(Avx512);

impl Parts for Avx512Parts {
    const GROUP: usize = 2 * HASHES;

    /// A group takes as long for one message as for eight, and two groups less than twice that.
    fn hash(self, keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; 32]]) {
        match messages.len() {
            0 | 1 => portable::hashes(keys, messages, digests),
            // SAFETY: `self` holds the proof that the CPU has the instructions.
            2..=HASHES => unsafe { hash::<1>(Groups(self.0), keys, messages, digests) },
            // SAFETY: as above.
            _ => unsafe { hash::<2>(Groups(self.0), keys, messages, digests) },
        }
    }

    fn stream(self, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
        let longest = messages.iter().map(|message| message.len()).max().unwrap_or(0);
        if longest <= BLOCK && messages.len() == 1 {
            portable::streams(keys, messages);
        } else if longest <= BLOCK {
            // SAFETY: `self` holds the proof that the CPU has the instructions.
            unsafe { stream_short(self.0, keys, messages) }
        } else if longest <= BLOCKS * BLOCK {
            // SAFETY: as above.
            unsafe { stream_long::<1>(self.0, keys, messages) }
        } else {
            // SAFETY: as above.
            unsafe { stream_long::<2>(self.0, keys, messages) }
        }
    }
}

/// `G` groups; two of them fill the 32 registers.
#[derive(Clone, Copy)]
struct Groups<const G: usize>(Avx512);

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn hash<const G: usize>(
    blake: Groups<G>,
    keys: &[&[u8; 64]],
    messages: &[&[u8]],
    digests: &mut [[u8; 32]],
) {
    blake2b::hash(blake, keys, messages, digests);
}

impl<const G: usize> blake2b::Compress<Words64, HASHES, G> for Groups<G> {
    #[inline(always)]
    fn cpu(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn compress(
        self,
        state: &mut blake2b::State<Words64, G>,
        block: &blake2b::Block<Words64, G>,
        position: Position,
    ) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress(self.0, state, block, position) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress<const G: usize>(
    cpu: Avx512,
    state: &mut blake2b::State<Words64, G>,
    block: &blake2b::Block<Words64, G>,
    position: Position,
) {
    blake2b::compress(cpu, state, block, position);
}

/// Messages of a single block, side by side.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_short(cpu: Avx512, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_short(cpu, keys, messages, |start, stream: &mut Stream<BLOCKS, 1>| {
        blocks(start, stream);
    });
}

/// Longer messages, one after the other.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_long<const G: usize>(cpu: Avx512, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_long(cpu, keys, messages, |start, stream: &mut Stream<BLOCKS, G>| {
        blocks(start, stream);
    });
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn blocks<const G: usize>(start: &Start<Words32, G>, stream: &mut Stream<BLOCKS, G>) {
    chacha20::stream(start, stream);
}
