//! HKDF and HMAC in sixteen lanes, or in two interleaved groups of sixteen.

#![expect(unsafe_code, reason = "instructions beyond the target's baseline")]

use core::ops::Range;

use super::sha256::{self, Block, Compress, Schedule, State};
use super::{HopKeys, batch, portable, sha_ni};
use crate::cpu::{Avx512, Sha};
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::avx512::{Words32, interleaved};
use crate::wire::geometry::{BETA_LEN, K};

/// Lanes of a group.
const LANES: usize = 16;

/// See [`Expand`](super::Expand).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn expand(secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    expand_on(Sha::detect(), secrets, keys);
}

/// With the SHA-256 instructions for what does not fill a group, if there are any.
pub(super) fn expand_on(sha: Option<Sha>, secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    assert_eq!(secrets.len(), keys.len());
    let cpu = proof();
    for (lanes, width) in parts(secrets.len(), sha) {
        let (secrets, keys) = (&secrets[lanes.clone()], &mut keys[lanes]);
        match width {
            // SAFETY: `cpu` is the proof that the CPU has the instructions.
            Width::TwoGroups => unsafe { expand_groups(Groups::<2>(cpu), secrets, keys) },
            // SAFETY: as above.
            Width::Group => unsafe { expand_groups(Groups::<1>(cpu), secrets, keys) },
            Width::Streams(sha) => sha_ni::expand_on(sha, secrets, keys),
            Width::Single => portable::expand(secrets, keys),
        }
    }
}

/// See [`PayloadKeys`](super::PayloadKeys).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn payload_keys(seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    payload_keys_on(Sha::detect(), seeds, out);
}

/// With the SHA-256 instructions for what does not fill a group, if there are any.
pub(super) fn payload_keys_on(sha: Option<Sha>, seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    assert_eq!(seeds.len(), out.len());
    let cpu = proof();
    for (lanes, width) in parts(seeds.len(), sha) {
        let (seeds, out) = (&seeds[lanes.clone()], &mut out[lanes]);
        match width {
            // SAFETY: `cpu` is the proof that the CPU has the instructions.
            Width::TwoGroups => unsafe { payload_keys_groups(Groups::<2>(cpu), seeds, out) },
            // SAFETY: as above.
            Width::Group => unsafe { payload_keys_groups(Groups::<1>(cpu), seeds, out) },
            Width::Streams(sha) => sha_ni::payload_keys_on(sha, seeds, out),
            Width::Single => portable::payload_keys(seeds, out),
        }
    }
}

/// See [`HeaderMacs`](super::HeaderMacs).
///
/// # Panics
/// If the slices differ in length, or if the CPU lacks the instructions.
pub fn header_macs(keys: &[[u8; K]], betas: &[&[u8; BETA_LEN]], out: &mut [[u8; K]]) {
    header_macs_on(Sha::detect(), keys, betas, out);
}

/// With the SHA-256 instructions for what does not fill a group, if there are any.
pub(super) fn header_macs_on(
    sha: Option<Sha>,
    keys: &[[u8; K]],
    betas: &[&[u8; BETA_LEN]],
    out: &mut [[u8; K]],
) {
    assert!(keys.len() == betas.len() && betas.len() == out.len());
    let cpu = proof();
    for (lanes, width) in parts(keys.len(), sha) {
        let (keys, betas, out) = (&keys[lanes.clone()], &betas[lanes.clone()], &mut out[lanes]);
        match width {
            // SAFETY: `cpu` is the proof that the CPU has the instructions.
            Width::TwoGroups => unsafe { header_macs_groups(Groups::<2>(cpu), keys, betas, out) },
            // SAFETY: as above.
            Width::Group => unsafe { header_macs_groups(Groups::<1>(cpu), keys, betas, out) },
            Width::Streams(sha) => sha_ni::header_macs_on(sha, keys, betas, out),
            Width::Single => portable::header_macs(keys, betas, out),
        }
    }
}

fn proof() -> Avx512 {
    Avx512::detect().expect("these kernels are chosen where the CPU has AVX-512")
}

/// How a part of a batch is done.
#[derive(Clone, Copy)]
enum Width {
    TwoGroups,
    Group,
    Streams(Sha),
    Single,
}

/// Cuts a batch into parts. A group takes as long for one lane as for all, about as long as the
/// SHA-256 instructions for twelve, and less than twice as long as half of two groups.
fn parts(len: usize, sha: Option<Sha>) -> impl Iterator<Item = (Range<usize>, Width)> {
    let (few, narrow) = match sha {
        Some(sha) => (10, Width::Streams(sha)),
        None => (2, Width::Single),
    };
    let mut from = 0;
    core::iter::from_fn(move || {
        let (width, most) = match len - from {
            0 => return None,
            left if left <= few => (narrow, left),
            left if left <= LANES + few => (Width::Group, LANES),
            _ => (Width::TwoGroups, 2 * LANES),
        };
        let lanes = from..len.min(from + most);
        from = lanes.end;
        Some((lanes, width))
    })
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn expand_groups<const G: usize>(sha: Groups<G>, secrets: &[[u8; 32]], keys: &mut [HopKeys])
where
    Groups<G>: Compress<Words32, LANES, G>,
{
    batch::expand(sha, secrets, keys);
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn payload_keys_groups<const G: usize>(
    sha: Groups<G>,
    seeds: &[[u8; K]],
    out: &mut [[u8; PAYLOAD_KEY]],
) where
    Groups<G>: Compress<Words32, LANES, G>,
{
    batch::payload_keys(sha, seeds, out);
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn header_macs_groups<const G: usize>(
    sha: Groups<G>,
    keys: &[[u8; K]],
    betas: &[&[u8; BETA_LEN]],
    out: &mut [[u8; K]],
) where
    Groups<G>: Compress<Words32, LANES, G>,
{
    batch::header_macs(sha, keys, betas, out);
}

/// `G` groups; two of them fill the 32 registers.
#[derive(Clone, Copy)]
struct Groups<const G: usize>(Avx512);

impl Compress<Words32, LANES, 1> for Groups<1> {
    #[inline(always)]
    fn cpu(self) -> Avx512 {
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

impl Compress<Words32, LANES, 2> for Groups<2> {
    #[inline(always)]
    fn cpu(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn compress(self, state: &mut State<Words32, 2>, block: &mut Block<Words32, 2>) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress_two(state, block) }
    }

    #[inline(always)]
    fn compress_fixed(self, state: &mut State<Words32, 2>, schedule: &Schedule) {
        // SAFETY: `self` holds the proof that the CPU has the instructions.
        unsafe { compress_fixed(self.0, state, schedule) }
    }
}

/// Called rather than inlined: there are many places where a block is taken in.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress(cpu: Avx512, state: &mut State<Words32, 1>, block: &Block<Words32, 1>) {
    sha256::compress(cpu, state, block);
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress_two(state: &mut State<Words32, 2>, block: &mut Block<Words32, 2>) {
    let mut s = *state;
    interleaved::sha256::rounds(&mut s, block, &sha256::ROUND);
    sha256::add_to(state, &s);
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn compress_fixed<const G: usize>(cpu: Avx512, state: &mut State<Words32, G>, schedule: &Schedule) {
    sha256::compress_fixed(cpu, state, schedule);
}
