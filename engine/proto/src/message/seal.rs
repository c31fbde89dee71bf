//! The encryption of a fragment from client to client, inside the Sphinx payload.
//!
//! ```text
//! ordinary:  ephemeral X25519 key 32 | fragment under AES-128-CTR
//! reply:     BLAKE3 of the block's key 32 | fragment under AES-128-CTR
//! ```
//!
//! Keys serve once, so the counter starts at zero. The key of an ordinary packet is HKDF with
//! BLAKE3 of what the ephemeral key and the recipient's share. Facts from nym-crypto and nym-sphinx
//! 2.0.0.

use std::fmt;

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use ctr::Ctr64BE;
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::keys::random;
use crate::kdf::hkdf;

/// Bytes in front of the fragment that say which key it is under.
pub const KEY_PART: usize = 32;

/// The key that the holder of a reply block encrypts its one message with.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ReplyKey([u8; 16]);

impl ReplyKey {
    /// Bytes of a key.
    pub const LEN: usize = 16;

    /// A new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(random(rng))
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What a reply under this key is recognised by.
    pub fn digest(&self) -> [u8; KEY_PART] {
        *blake3::hash(&self.0).as_bytes()
    }

    /// Encrypts or decrypts `data`.
    pub(super) fn apply(&self, data: &mut [u8]) {
        apply(&self.0, &[0; 16], data);
    }
}

impl fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyKey(..)")
    }
}

/// Encrypts or decrypts `data` under the key that two parties share.
pub(super) fn apply_shared(shared: &[u8; 32], data: &mut [u8]) {
    let derived = hkdf(&[], shared, &[]);
    let key = derived.first_chunk().expect("a key is the front of what HKDF gives");
    apply(key, &[0; 16], data);
}

/// What the key `own` shares with whoever has the private key of `other`.
pub(super) fn agree(own: &StaticSecret, other: [u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(own.diffie_hellman(&PublicKey::from(other)).to_bytes())
}

/// AES-128 in counter mode, whose counter is the last eight bytes of a block.
pub(super) fn apply(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) {
    Ctr64BE::<Aes128>::new(key.into(), iv.into()).apply_keystream(data);
}
