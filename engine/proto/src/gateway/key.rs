//! The key that a client and its gateway share.

use std::fmt;

use aes_gcm_siv::aead::AeadInOut;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Bytes by which sealing makes a message longer.
pub const TAG: usize = 16;

/// What makes one sealed message different from the next. AES-GCM-SIV (RFC 8452) forgives one that
/// comes twice: it then only tells that two messages are the same.
pub type Nonce = [u8; NONCE];

/// The key of AES-256-GCM-SIV that a client and its gateway got from registration. It is wiped
/// when dropped and absent from debug output.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedKey([u8; 32]);

impl SharedKey {
    /// The key with these bytes, as registration gave them or as they were stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored where nobody else reads them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `plaintext` sealed: the ciphertext and the tag after it, without the nonce.
    pub fn seal(&self, nonce: &Nonce, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG);
        sealed.extend_from_slice(plaintext);
        self.seal_from(nonce, &mut sealed, 0);
        sealed
    }

    /// Seals what stands in `message` from `start` on where it stands, and appends the tag.
    pub(super) fn seal_from(&self, nonce: &Nonce, message: &mut Vec<u8>, start: usize) {
        let tag = self
            .cipher()
            .encrypt_inout_detached(&(*nonce).into(), &[], (&mut message[start..]).into())
            .expect("messages are shorter than the 64 GiB that AES-GCM-SIV can seal");
        message.extend_from_slice(&tag);
    }

    /// What [`SharedKey::seal`] was given.
    ///
    /// # Errors
    /// If it was sealed with another key or nonce, or changed since.
    pub fn open(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let mut bytes = sealed.to_vec();
        let len = self.open_in_place(nonce, &mut bytes)?.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Opens `sealed` where it stands.
    ///
    /// # Errors
    /// As [`SharedKey::open`].
    pub fn open_in_place<'a>(
        &self,
        nonce: &Nonce,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], NotSealed> {
        let len = sealed.len().checked_sub(TAG).ok_or(NotSealed)?;
        let (message, tag) = sealed.split_at_mut(len);
        let tag = <[u8; TAG]>::try_from(&*tag).expect("it was split off with this length");
        self.cipher()
            .decrypt_inout_detached(&(*nonce).into(), &[], (&mut *message).into(), &tag.into())
            .map_err(|_| NotSealed)?;
        Ok(message)
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new(&self.0.into())
    }
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SharedKey {}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// Twelve random bytes.
pub(super) fn random_nonce(rng: &mut impl CryptoRng) -> Nonce {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// A message that was not sealed with this key and nonce, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSealed;

impl fmt::Display for NotSealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message was not sealed with the shared key")
    }
}

impl std::error::Error for NotSealed {}
