//! LIONESS with BLAKE2b in eight lanes and ChaCha20 in sixteen, or two interleaved groups of them.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline")]

use super::blake2b::{self, Block, Position, State};
use super::chacha20::{self, BLOCK, Start};
use super::portable;
use super::rounds::{self, Parts};
use crate::cpu::Avx512;
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::avx512::interleaved::mixing::{blake2b_rounds, chacha20_rounds};
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
            unsafe { stream_medium(self.0, keys, messages) }
        } else {
            // SAFETY: as above.
            unsafe { stream_long(self.0, keys, messages) }
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
) where
    Groups<G>: blake2b::Compress<Words64, HASHES, G>,
{
    blake2b::hash(blake, keys, messages, digests);
}

impl blake2b::Compress<Words64, HASHES, 1> for Groups<1> {
    #[inline(always)]
    fn cpu(self) -> Avx512 {
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

impl blake2b::Compress<Words64, HASHES, 2> for Groups<2> {
    #[inline(always)]
    fn cpu(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn compress(
        self,
        state: &mut State<Words64, 2>,
        block: &Block<Words64, 2>,
        position: Position,
    ) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress_two(self.0, state, block, position) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress(
    cpu: Avx512,
    state: &mut State<Words64, 1>,
    block: &Block<Words64, 1>,
    position: Position,
) {
    blake2b::compress(cpu, state, block, position);
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress_two(
    cpu: Avx512,
    state: &mut State<Words64, 2>,
    block: &Block<Words64, 2>,
    position: Position,
) {
    let mut v = blake2b::begin(cpu, state, position);
    blake2b_rounds(&mut v, block);
    blake2b::finish(state, &v);
}

/// Messages of a single block, side by side.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_short(cpu: Avx512, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_short(cpu, keys, messages, |start, data| stream(cpu, start, data));
}

/// Longer messages, one after the other.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_medium(cpu: Avx512, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_long::<_, BLOCKS, 1>(cpu, keys, messages, |start, data| {
        stream(cpu, start, data);
    });
}

/// Messages of more blocks than a group has.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_long(cpu: Avx512, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    chacha20::apply_long::<_, BLOCKS, 2>(cpu, keys, messages, |start, data| {
        stream_two(cpu, start, data);
    });
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream(cpu: Avx512, start: &Start<Words32>, data: &mut [u8]) {
    chacha20::stream::<_, BLOCKS, 1>(cpu, start, data);
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn stream_two(cpu: Avx512, start: &Start<Words32>, data: &mut [u8]) {
    let mut s = chacha20::begin(cpu, start);
    chacha20_rounds(&mut s);
    chacha20::finish(cpu, start, &mut s, data);
}
