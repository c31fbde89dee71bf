//! X25519 lane by lane on x25519-dalek.

use x25519_dalek::{PublicKey, StaticSecret};

/// See [`X25519`](super::X25519).
///
/// # Panics
/// If the slices differ in length.
pub fn x25519(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    assert!(scalars.len() == points.len() && points.len() == out.len());
    for ((scalar, point), out) in scalars.iter().zip(points).zip(out) {
        // These two types wipe themselves; the bare function of the same crate does not.
        let secret = StaticSecret::from(*scalar);
        out.copy_from_slice(secret.diffie_hellman(&PublicKey::from(*point)).as_bytes());
    }
}
