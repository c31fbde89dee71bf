//! What clients and gateways say to each other over a WebSocket.
//!
//! Text messages are JSON: [`ClientRequest`] one way, [`ServerResponse`] the other, and between
//! the two, while a client registers, [`registration::HandshakeMessage`]. Binary messages carry
//! Sphinx packets to the gateway and delivered messages back ([`binary`]); they are sealed with
//! the key that both got from [`registration`]. A client that comes back proves that it has the
//! key ([`authentication`]).
//!
//! The formats are those of nym-gateway-requests 2.0.0, which versions 1.21 and 1.22 share; of its
//! protocol versions those with AuthenticateV2 are spoken here, 4 to 6.

pub mod authentication;
pub mod binary;
mod bytes64;
mod key;
pub mod registration;
mod request;
mod response;
mod sealed;
#[cfg(test)]
mod tests;

pub use authentication::Authentication;
pub use key::{NONCE, Nonce, NotSealed, SharedKey, TAG};
pub use request::ClientRequest;
pub use response::{ServerResponse, TypedError};
pub use sealed::{PrivateRequest, PrivateResponse, SealedError, SessionType};

/// The version with which [`Authentication`] came in, the oldest that is spoken.
pub const OLDEST_VERSION: u8 = 4;
/// The first version in which a forwarded packet names its key rotation.
pub const KEY_ROTATION_VERSION: u8 = 5;
/// The newest version that is spoken; it brought the field `upgrade_mode`.
pub const CURRENT_VERSION: u8 = 6;

/// The longest message, text or binary, that either side needs to take. The longest of the stock
/// software is the JSON of a zk-nym ticket, below 20 kB; then comes the largest packet, 33 kB.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// What both sides speak if the client proposes `version`: that, or the newest that we know;
/// nothing if the client is too old.
pub const fn negotiate(version: u8) -> Option<u8> {
    match version {
        ..OLDEST_VERSION => None,
        OLDEST_VERSION..=CURRENT_VERSION => Some(version),
        _ => Some(CURRENT_VERSION),
    }
}

/// A message whose JSON is no message of this protocol; the text says what is wrong with it, for
/// the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the message is malformed: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
