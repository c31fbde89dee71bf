//! What a gateway answers in text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Malformed;

/// A text message of a gateway. Names and fields are those of the JSON; bandwidth is in bytes.
///
/// With `upgrade_mode` the gateway says that it meters nothing while the network is upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ServerResponse {
    /// The version that the gateway speaks.
    SupportedProtocol {
        /// The newest of them.
        version: u8,
    },
    /// The client's session is open, or it is not known here.
    Authenticate {
        /// The version for this session.
        #[serde(default)]
        protocol_version: u8,
        /// Whether the session is open.
        status: bool,
        /// What the client has left.
        bandwidth_remaining: i64,
        /// See the type.
        #[serde(default)]
        upgrade_mode: bool,
    },
    /// The client is registered, and its session is open.
    Register {
        /// The version for this session.
        #[serde(default)]
        protocol_version: u8,
        /// Whether it is.
        status: bool,
        /// See the type.
        #[serde(default)]
        upgrade_mode: bool,
    },
    /// A [`PrivateResponse`](super::PrivateResponse), sealed.
    EncryptedResponse {
        /// The sealed response.
        ciphertext: Vec<u8>,
        /// Its nonce.
        nonce: Vec<u8>,
    },
    /// Bandwidth was added.
    Bandwidth {
        /// What the client has now.
        available_total: i64,
        /// See the type.
        #[serde(default)]
        upgrade_mode: bool,
    },
    /// A packet was accepted and is on its way to its first hop.
    Send {
        /// What the client has left.
        remaining_bandwidth: i64,
        /// See the type.
        #[serde(default)]
        upgrade_mode: bool,
    },
    /// Something was refused.
    Error {
        /// Why, for a person.
        message: String,
    },
    /// Something was refused for a reason that a program can act on.
    TypedError {
        /// The reason.
        error: TypedError,
    },
}

impl ServerResponse {
    /// Reads a text message.
    ///
    /// # Errors
    /// If it is none of the responses.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Ok(serde_json::from_str(text)?)
    }

    /// The text message.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("responses have only what JSON can say")
    }

    /// An [`ServerResponse::Error`] that says `message`.
    pub fn error(message: impl fmt::Display) -> Self {
        Self::Error { message: message.to_string() }
    }
}

/// A reason for a refusal that a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypedError {
    /// The client has too little bandwidth left.
    OutOfBandwidth {
        /// What the packet costs, bytes.
        required: i64,
        /// What there is, bytes.
        available: i64,
    },
    /// The zk-nym ticket was spent before.
    TicketReplay,
}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBandwidth { required, available } => {
                write!(f, "the packet costs {required} bytes and {available} are left")
            }
            Self::TicketReplay => f.write_str("the ticket was spent before"),
        }
    }
}

impl std::error::Error for TypedError {}
