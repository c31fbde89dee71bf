//! The pseudonym of a sender that stays anonymous.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;

use super::keys::random;

/// What the recipient of repliable messages knows their sender by: 16 random bytes that the sender
/// keeps for that recipient. For people, base58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderTag([u8; SenderTag::LEN]);

impl SenderTag {
    /// Bytes of a tag.
    pub const LEN: usize = 16;

    /// A new tag.
    pub fn random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self(random(rng))
    }

    /// The tag with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes on the wire.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }
}

impl fmt::Display for SenderTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for SenderTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SenderTag({self})")
    }
}

impl FromStr for SenderTag {
    type Err = SenderTagError;

    fn from_str(text: &str) -> Result<Self, SenderTagError> {
        let mut bytes = [0; Self::LEN];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(Self::LEN) => Ok(Self(bytes)),
            _ => Err(SenderTagError),
        }
    }
}

/// The text is not 16 bytes in base58.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderTagError;

impl fmt::Display for SenderTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sender tag is 16 bytes in base58, as the received message showed it")
    }
}

impl std::error::Error for SenderTagError {}
