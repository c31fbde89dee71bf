//! LIONESS payload by payload on the chacha20 and blake2 crates.

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::zeroize_bytes;

use super::LEFT;
use crate::crypto::PAYLOAD_KEY;

/// Takes a layer off; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, or if a payload has no right half.
pub fn decrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    assert_eq!(keys.len(), payloads.len());
    for (key, payload) in keys.iter().zip(payloads) {
        let ([k1, k3], [k2, k4]) = split_key(key);
        let (left, right) = split_payload(payload);
        mix_hash(k4, left, right);
        mix_stream(k3, left, right);
        mix_hash(k2, left, right);
        mix_stream(k1, left, right);
    }
}

/// Puts a layer on; see [`Lioness`](super::Lioness).
///
/// # Panics
/// If the slices differ in length, or if a payload has no right half.
pub fn encrypt(keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    assert_eq!(keys.len(), payloads.len());
    for (key, payload) in keys.iter().zip(payloads) {
        let ([k1, k3], [k2, k4]) = split_key(key);
        let (left, right) = split_payload(payload);
        mix_stream(k1, left, right);
        mix_hash(k2, left, right);
        mix_stream(k3, left, right);
        mix_hash(k4, left, right);
    }
}

/// The stream keys (first and third round) and the hash keys (second and fourth).
fn split_key(key: &[u8; PAYLOAD_KEY]) -> ([&[u8; 32]; 2], [&[u8; 64]; 2]) {
    let (k1, rest) = key.split_first_chunk().expect("192 bytes hold 32");
    let (k2, rest) = rest.split_first_chunk().expect("160 bytes hold 64");
    let (k3, rest) = rest.split_first_chunk().expect("96 bytes hold 32");
    ([k1, k3], [k2, rest.try_into().expect("64 bytes are left")])
}

fn split_payload(payload: &mut [u8]) -> (&mut [u8; LEFT], &mut [u8]) {
    assert!(payload.len() > LEFT, "a payload of {} bytes has no right half", payload.len());
    payload.split_first_chunk_mut().expect("longer than the left half")
}

/// `right ^= ChaCha20(left ^ key)`.
pub(super) fn mix_stream(key: &[u8; 32], left: &[u8; LEFT], right: &mut [u8]) {
    let mut round_key = *left;
    round_key.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    ChaCha20::new((&round_key).into(), &[0; 12].into()).apply_keystream(right);
    zeroize_bytes(&mut round_key);
}

/// `left ^= BLAKE2b(key, right)`.
pub(super) fn mix_hash(key: &[u8; 64], left: &mut [u8; LEFT], right: &[u8]) {
    let mut hash = Blake2bMac::<U32>::new(key.into());
    hash.update(right);
    let mut digest = hash.finalize().into_bytes();
    left.iter_mut().zip(&digest).for_each(|(byte, digest)| *byte ^= digest);
    zeroize_bytes(&mut digest);
}

/// What [`mix_hash`] adds, for several messages.
pub(super) fn hashes(keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; LEFT]]) {
    for ((key, message), digest) in keys.iter().zip(messages).zip(digests) {
        digest.fill(0);
        mix_hash(key, digest, message);
    }
}

/// What [`mix_stream`] does, for several messages and keys that are complete.
pub(super) fn streams(keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
    for (key, message) in keys.iter().zip(messages) {
        mix_stream(key, &[0; LEFT], message);
    }
}
