//! How a client and a gateway get a shared key: both sides of the handshake, as state machines
//! that take one message and give the next.
//!
//! It is the station-to-station protocol. With x and y the sides' ephemeral X25519 keys, g^x and
//! g^y their public parts, and {..} sealed with the new shared key and followed by the nonce:
//!
//! ```text
//! client -> gateway   client identity 32 | g^x 32 | salt 16
//! gateway -> client   g^y 32 | { signature by the gateway of g^y | g^x }
//! client -> gateway   { signature by the client of g^x | g^y }
//! gateway -> client   1
//! ```
//!
//! The shared key is HKDF of g^xy over HMAC with BLAKE3, with the client's salt and no info. The
//! gateway says then that the client is registered, with
//! [`ServerResponse::Register`](super::ServerResponse). Facts from nym-gateway-requests 2.0.0.

mod client;
mod error;
mod gateway;
mod secrets;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{ClientRequest, Malformed};

pub use client::{ClientFinish, ClientHandshake};
pub use error::HandshakeError;
pub use gateway::{GatewayHandshake, Registration};

/// A text message of the handshake. Its first message is also a
/// [`ClientRequest::RegisterHandshakeInitRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum HandshakeMessage {
    /// One of the four.
    HandshakePayload {
        /// The version that the sender proposes or agrees to.
        #[serde(default)]
        protocol_version: u8,
        /// See the module.
        data: Vec<u8>,
    },
    /// The handshake is over.
    HandshakeError {
        /// Why, for a person.
        message: String,
    },
}

impl HandshakeMessage {
    /// Reads a text message.
    ///
    /// # Errors
    /// If it does not belong to a handshake.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Ok(serde_json::from_str(text)?)
    }

    /// The text message.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("messages have only what JSON can say")
    }

    /// What ends the handshake for the other side too.
    pub fn error(error: &HandshakeError) -> Self {
        Self::HandshakeError { message: error.to_string() }
    }

    /// The request that opens the handshake.
    ///
    /// # Errors
    /// Gives back a message that says that the handshake is over.
    pub fn into_request(self) -> Result<ClientRequest, Self> {
        match self {
            Self::HandshakePayload { protocol_version, data } => {
                Ok(ClientRequest::RegisterHandshakeInitRequest { protocol_version, data })
            }
            over @ Self::HandshakeError { .. } => Err(over),
        }
    }

    /// Version and data of a message that the handshake goes on with.
    fn payload(&self) -> Result<(u8, &[u8]), HandshakeError> {
        match self {
            Self::HandshakePayload { protocol_version, data } => Ok((*protocol_version, data)),
            Self::HandshakeError { message } => Err(HandshakeError::Remote(message.clone())),
        }
    }
}
