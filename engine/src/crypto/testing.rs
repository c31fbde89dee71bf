//! What the tests of all kernels share: seeded randomness, hexadecimal, digests of long outputs.

use alloc::vec::Vec;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::Kernels;

/// Batch lengths that reach below, at and beyond every vector width, and its tails.
pub(super) const LENGTHS: [usize; 13] = [0, 1, 2, 3, 4, 7, 8, 9, 15, 17, 26, 33, 64];

/// Every tier that this CPU has.
pub(super) fn tiers() -> Vec<Kernels> {
    super::tiers().into_iter().collect()
}

/// The same random numbers in every run.
pub(super) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// `count` random rows.
pub(super) fn rows<const N: usize>(rng: &mut StdRng, count: usize) -> Vec<[u8; N]> {
    let mut rows = alloc::vec![[0; N]; count];
    rows.iter_mut().for_each(|row| rng.fill_bytes(row));
    rows
}

/// The bytes 0, 1, 2, and so on, starting again after 250.
pub(super) fn counting<const N: usize>() -> [u8; N] {
    core::array::from_fn(|i| (i % 251) as u8)
}

/// Reads hexadecimal digits.
pub(super) fn hex<const N: usize>(digits: &str) -> [u8; N] {
    assert_eq!(digits.len(), 2 * N);
    core::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
}

/// Stands in for outputs too long to print.
pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}
