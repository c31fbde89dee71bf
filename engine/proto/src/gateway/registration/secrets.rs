//! What both sides do: agree on the key, seal their signature, check the other's.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::super::{NONCE, SharedKey, TAG, key::random_nonce};
use super::HandshakeError;
use crate::kdf::hkdf;

pub(super) const KEY: usize = 32;
pub(super) const SALT: usize = 16;
/// A sealed signature and its nonce.
pub(super) const PROOF: usize = 64 + TAG + NONCE;

/// A new ephemeral key.
pub(super) fn ephemeral(rng: &mut impl CryptoRng) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; KEY]);
    rng.fill_bytes(bytes.as_mut());
    StaticSecret::from(*bytes)
}

/// What both sides know once each has the other's ephemeral key.
pub(super) struct Agreed {
    pub(super) key: SharedKey,
    own: [u8; KEY],
    other: [u8; KEY],
}

impl Agreed {
    /// # Errors
    /// [`HandshakeError::Key`] if `other` is a point of small order, which would make a key that
    /// anyone knows.
    pub(super) fn new(
        own: &StaticSecret,
        other: [u8; KEY],
        salt: &[u8; SALT],
    ) -> Result<Self, HandshakeError> {
        let secret = own.diffie_hellman(&PublicKey::from(other));
        if !secret.was_contributory() {
            return Err(HandshakeError::Key);
        }
        let key = SharedKey::from_bytes(*hkdf(salt, secret.as_bytes(), &[]));
        Ok(Self { key, own: PublicKey::from(own).to_bytes(), other })
    }

    /// The signature by which the own side proves that it is `identity`, sealed.
    pub(super) fn prove(&self, identity: &SigningKey, rng: &mut impl CryptoRng) -> Vec<u8> {
        let signature = identity.sign(&[self.own, self.other].concat());
        let nonce = random_nonce(rng);
        let mut proof = self.key.seal(&nonce, &signature.to_bytes());
        proof.extend_from_slice(&nonce);
        proof
    }

    /// Whether the other side is `identity`.
    pub(super) fn check(
        &self,
        proof: &[u8; PROOF],
        identity: &VerifyingKey,
    ) -> Result<(), HandshakeError> {
        let (sealed, nonce) = proof.split_at(PROOF - NONCE);
        let nonce = nonce.try_into().expect("a proof ends with a nonce");
        let signature = self.key.open(&nonce, sealed).map_err(|_| HandshakeError::Signature)?;
        let signature = Signature::from_slice(&signature).map_err(|_| HandshakeError::Signature)?;
        identity
            .verify_strict(&[self.other, self.own].concat(), &signature)
            .map_err(|_| HandshakeError::Signature)
    }
}

/// `data` as the message of `N` bytes that it must be.
pub(super) fn exactly<const N: usize>(data: &[u8]) -> Result<&[u8; N], HandshakeError> {
    data.try_into().map_err(|_| HandshakeError::Length { received: data.len(), expected: N })
}

/// The first `N` bytes of a message that was found long enough, and the rest.
pub(super) fn split<const N: usize>(data: &[u8]) -> (&[u8; N], &[u8]) {
    data.split_first_chunk().expect("the message has the length that was asked for")
}
