//! HKDF and HMAC lane by lane on the hkdf, hmac and sha2 crates.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::zeroize_bytes;

use super::{HOP_INFO, HopKeys, PAYLOAD_INFO, PAYLOAD_SALT};
use crate::crypto::PAYLOAD_KEY;
use crate::wire::geometry::{BETA_LEN, K};

/// See [`Expand`](super::Expand).
///
/// # Panics
/// If the slices differ in length.
pub fn expand(secrets: &[[u8; 32]], keys: &mut [HopKeys]) {
    assert_eq!(secrets.len(), keys.len());
    for (secret, keys) in secrets.iter().zip(keys) {
        derive(b"", secret, HOP_INFO, &mut keys.0);
    }
}

/// See [`PayloadKeys`](super::PayloadKeys).
///
/// # Panics
/// If the slices differ in length.
pub fn payload_keys(seeds: &[[u8; K]], out: &mut [[u8; PAYLOAD_KEY]]) {
    assert_eq!(seeds.len(), out.len());
    for (seed, out) in seeds.iter().zip(out) {
        derive(PAYLOAD_SALT, seed, PAYLOAD_INFO, out);
    }
}

/// See [`HeaderMacs`](super::HeaderMacs).
///
/// # Panics
/// If the slices differ in length.
pub fn header_macs(keys: &[[u8; K]], betas: &[&[u8; BETA_LEN]], out: &mut [[u8; K]]) {
    assert!(keys.len() == betas.len() && betas.len() == out.len());
    for ((key, beta), out) in keys.iter().zip(betas).zip(out) {
        authenticate(key, *beta, out);
    }
}

/// HKDF-SHA256, extract and expand.
pub(super) fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) {
    let hkdf = Hkdf::<Sha256>::new(Some(salt), secret);
    hkdf.expand(info, out).expect("every output here is shorter than 255 hashes");
}

/// HMAC-SHA256, cut to its first half.
pub(super) fn authenticate(key: &[u8], data: &[u8], out: &mut [u8; K]) {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    hmac.update(data);
    let mut full = hmac.finalize().into_bytes();
    out.copy_from_slice(&full[..K]);
    zeroize_bytes(&mut full);
}
