//! What a client keeps secret.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::recipient::{Recipient, RecipientError};

/// The keys of one client.
#[derive(Clone)]
pub struct ClientKeys {
    identity: SigningKey,
    encryption: StaticSecret,
    ack: AckKey,
}

impl ClientKeys {
    /// New keys.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let identity = Zeroizing::new(random(rng));
        let encryption = Zeroizing::new(random(rng));
        Self::from_bytes(&identity, &encryption, AckKey::generate(rng))
    }

    /// The keys of a client that has been here before: seed of its Ed25519 key, scalar of its
    /// X25519 key, key of its acknowledgements.
    pub fn from_bytes(identity: &[u8; 32], encryption: &[u8; 32], ack: AckKey) -> Self {
        let identity = SigningKey::from_bytes(identity);
        Self { identity, encryption: StaticSecret::from(*encryption), ack }
    }

    /// The Ed25519 key that the client is known by, and signs with.
    pub fn identity(&self) -> &SigningKey {
        &self.identity
    }

    /// The X25519 key that messages to the client are encrypted to.
    pub fn encryption(&self) -> &StaticSecret {
        &self.encryption
    }

    /// The key of the acknowledgements that the client sends to itself.
    pub fn ack(&self) -> &AckKey {
        &self.ack
    }

    /// The address of this client at the gateway with the identity `gateway`.
    ///
    /// # Errors
    /// If `gateway` is no Ed25519 public key.
    pub fn recipient(&self, gateway: [u8; 32]) -> Result<Recipient, RecipientError> {
        let encryption = PublicKey::from(&self.encryption).to_bytes();
        Recipient::new(self.identity.verifying_key().to_bytes(), encryption, gateway)
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKeys(..)")
    }
}

/// The AES-128 key under which a client writes to itself which fragment an acknowledgement is for.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AckKey([u8; 16]);

impl AckKey {
    /// A new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(random(rng))
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored where nobody else reads them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for AckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckKey(..)")
    }
}

/// `N` random bytes.
pub(super) fn random<const N: usize, R: CryptoRng + ?Sized>(rng: &mut R) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
