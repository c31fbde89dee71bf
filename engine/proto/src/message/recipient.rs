//! The address of a client.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;

/// Bytes of a recipient on the wire.
pub const RECIPIENT: usize = 96;

/// Where a client is reached: the key it is known by, the key that messages to it are encrypted to,
/// and the gateway that keeps its inbox.
///
/// On the wire the three keys stand one after the other; for people they are in base58, as
/// `identity.encryption@gateway`. Facts from nym-sphinx-addressing 2.0.0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient {
    identity: [u8; 32],
    encryption: [u8; 32],
    gateway: [u8; 32],
}

impl Recipient {
    /// The recipient with these keys.
    ///
    /// # Errors
    /// If `identity` or `gateway` is no Ed25519 public key.
    pub fn new(
        identity: [u8; 32],
        encryption: [u8; 32],
        gateway: [u8; 32],
    ) -> Result<Self, RecipientError> {
        let is_key = |bytes| VerifyingKey::from_bytes(bytes).is_ok();
        if !is_key(&identity) {
            return Err(RecipientError::Identity);
        }
        if !is_key(&gateway) {
            return Err(RecipientError::Gateway);
        }
        Ok(Self { identity, encryption, gateway })
    }

    /// The recipient that `bytes` stand for.
    ///
    /// # Errors
    /// As [`Recipient::new`].
    pub fn from_bytes(bytes: &[u8; RECIPIENT]) -> Result<Self, RecipientError> {
        let [identity, encryption, gateway] = bytes.as_chunks::<32>().0 else {
            unreachable!("96 bytes are three times 32")
        };
        Self::new(*identity, *encryption, *gateway)
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> [u8; RECIPIENT] {
        let mut bytes = [0; RECIPIENT];
        let keys = [self.identity, self.encryption, self.gateway];
        bytes.copy_from_slice(keys.as_flattened());
        bytes
    }

    /// The client's Ed25519 public key; also the destination in the header of packets to it.
    pub const fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// The client's X25519 public key.
    pub const fn encryption(&self) -> &[u8; 32] {
        &self.encryption
    }

    /// The Ed25519 public key of its gateway.
    pub const fn gateway(&self) -> &[u8; 32] {
        &self.gateway
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &[u8; 32]| bs58::encode(key).into_string();
        write!(f, "{}.{}@{}", text(&self.identity), text(&self.encryption), text(&self.gateway))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let (client, gateway) = text.split_once('@').ok_or(RecipientError::Parts)?;
        let (identity, encryption) = client.split_once('.').ok_or(RecipientError::Parts)?;
        Self::new(
            key(identity).ok_or(RecipientError::Identity)?,
            key(encryption).ok_or(RecipientError::Encryption)?,
            key(gateway).ok_or(RecipientError::Gateway)?,
        )
    }
}

fn key(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let len = bs58::decode(text).onto(&mut bytes).ok()?;
    (len == bytes.len()).then_some(bytes)
}

/// Why something is no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientError {
    /// The text is not three parts with a point and an at sign between them.
    Parts,
    /// The identity is no Ed25519 public key.
    Identity,
    /// The encryption key is not 32 bytes.
    Encryption,
    /// The gateway is no Ed25519 public key.
    Gateway,
}

impl fmt::Display for RecipientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parts => {
                "a client's address has the form identity.encryption@gateway, each part in base58"
            }
            Self::Identity => "the first part of the address is no Ed25519 public key in base58",
            Self::Encryption => "the second part of the address is no X25519 public key in base58",
            Self::Gateway => "the part after the @ is no gateway's Ed25519 public key in base58",
        })
    }
}

impl Error for RecipientError {}
