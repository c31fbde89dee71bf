//! HKDF and HMAC in eight lanes, for CPUs that have AVX2 but no SHA-256 instructions.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline")]

use super::sha256::{self, Block, Compress, Schedule, State};
use super::{HopKeys, batch, portable};
use crate::cpu::Avx2;
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::avx2::Words32;
use crate::wire::geometry::{BETA_LEN, K};

/// Lanes of a group.
const LANES: usize = 8;
/// So many lanes are faster one by one than as a group.
const FEW: usize = 2;

/// See [`Expand`](super::Expand).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn expand(secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    assert_eq!(secrets.len(), keys.len());
    let sha = Group(proof());
    for (secrets, keys) in secrets.chunks(LANES).zip(keys.chunks_mut(LANES)) {
        if secrets.len() <= FEW {
            portable::expand(secrets, keys);
        } else {
            // SAFETY: `sha` holds the proof that the CPU has the instructions.
            unsafe { expand_group(sha, secrets, keys) }
        }
    }
}

/// See [`PayloadKeys`](super::PayloadKeys).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn payload_keys(seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    assert_eq!(seeds.len(), out.len());
    let sha = Group(proof());
    for (seeds, out) in seeds.chunks(LANES).zip(out.chunks_mut(LANES)) {
        if seeds.len() <= FEW {
            portable::payload_keys(seeds, out);
        } else {
            // SAFETY: `sha` holds the proof that the CPU has the instructions.
            unsafe { payload_keys_group(sha, seeds, out) }
        }
    }
}

/// See [`HeaderMacs`](super::HeaderMacs).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn header_macs(keys: &[[u8; K]], betas: &[&[u8; BETA_LEN]], out: &mut [[u8; K]]) {
    assert!(keys.len() == betas.len() && betas.len() == out.len());
    let sha = Group(proof());
    let chunks = keys.chunks(LANES).zip(betas.chunks(LANES)).zip(out.chunks_mut(LANES));
    for ((keys, betas), out) in chunks {
        if keys.len() <= FEW {
            portable::header_macs(keys, betas, out);
        } else {
            // SAFETY: `sha` holds the proof that the CPU has the instructions.
            unsafe { header_macs_group(sha, keys, betas, out) }
        }
    }
}

fn proof() -> Avx2 {
    Avx2::detect().expect("these kernels are chosen where the CPU has AVX2")
}

#[target_feature(enable = "avx2")]
fn expand_group(sha: Group, secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    batch::expand(sha, secrets, keys);
}

#[target_feature(enable = "avx2")]
fn payload_keys_group(sha: Group, seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    batch::payload_keys(sha, seeds, out);
}

#[target_feature(enable = "avx2")]
fn header_macs_group(sha: Group, keys: &[[u8; K]], betas: &[&[u8; BETA_LEN]], out: &mut [[u8; K]]) {
    batch::header_macs(sha, keys, betas, out);
}

/// One group: two would not fit the 16 registers.
#[derive(Clone, Copy)]
struct Group(Avx2);

impl Compress<Words32, LANES, 1> for Group {
    #[inline(always)]
    fn cpu(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn compress(self, state: &mut State<Words32, 1>, block: &mut Block<Words32, 1>) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress(self.0, state, block) }
    }

    #[inline(always)]
    fn compress_fixed(self, state: &mut State<Words32, 1>, schedule: &Schedule) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress_fixed(self.0, state, schedule) }
    }
}

/// Called rather than inlined: there are many places where a block is taken in.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn compress(cpu: Avx2, state: &mut State<Words32, 1>, block: &Block<Words32, 1>) {
    sha256::compress(cpu, state, block);
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn compress_fixed(cpu: Avx2, state: &mut State<Words32, 1>, schedule: &Schedule) {
    sha256::compress_fixed(cpu, state, schedule);
}
