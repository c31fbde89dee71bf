//! Requests and responses that go sealed inside of [`ClientRequest::EncryptedRequest`] and
//! [`ServerResponse::EncryptedResponse`].

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ClientRequest, Malformed, Nonce, NotSealed, ServerResponse, SharedKey};

/// What a client asks for under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivateRequest {
    /// Forget the client.
    ForgetMe {
        /// Its registration, its bandwidth and the messages that wait for it.
        client: bool,
        /// What was counted of its sessions.
        stats: bool,
    },
    /// Count this session as one of a kind.
    RememberMe {
        /// The kind.
        session_type: SessionType,
    },
}

/// What kind of program a client is, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SessionType {
    Vpn,
    Mixnet,
    Wasm,
    Native,
    Socks5,
    /// Also what a newer client says that we do not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a gateway answers under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivateResponse {
    /// The client is forgotten.
    ForgetMeAck {},
    /// The session is counted.
    RememberMeAck {},
}

impl PrivateRequest {
    /// The request that carries this one.
    pub fn seal(&self, key: &SharedKey, nonce: Nonce) -> ClientRequest {
        let ciphertext = key.seal(&nonce, &json(self));
        ClientRequest::EncryptedRequest { ciphertext, nonce: nonce.into() }
    }

    /// Reads the parts of a [`ClientRequest::EncryptedRequest`].
    ///
    /// # Errors
    /// If it was not sealed with `key`, or is none of these requests.
    pub fn open(key: &SharedKey, ciphertext: &[u8], nonce: &[u8]) -> Result<Self, SealedError> {
        open(key, ciphertext, nonce)
    }
}

impl PrivateResponse {
    /// The response that carries this one.
    pub fn seal(&self, key: &SharedKey, nonce: Nonce) -> ServerResponse {
        let ciphertext = key.seal(&nonce, &json(self));
        ServerResponse::EncryptedResponse { ciphertext, nonce: nonce.into() }
    }

    /// Reads the parts of a [`ServerResponse::EncryptedResponse`].
    ///
    /// # Errors
    /// If it was not sealed with `key`, or is none of these responses.
    pub fn open(key: &SharedKey, ciphertext: &[u8], nonce: &[u8]) -> Result<Self, SealedError> {
        open(key, ciphertext, nonce)
    }
}

fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages have only what JSON can say")
}

fn open<T: DeserializeOwned>(
    key: &SharedKey,
    ciphertext: &[u8],
    nonce: &[u8],
) -> Result<T, SealedError> {
    let nonce = nonce.try_into().map_err(|_| SealedError::Nonce)?;
    let plaintext = key.open(&nonce, ciphertext).map_err(|NotSealed| SealedError::NotSealed)?;
    serde_json::from_slice(&plaintext).map_err(|error| SealedError::Malformed(error.into()))
}

/// Why a sealed request or response was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedError {
    /// The nonce has another length than 12 bytes.
    Nonce,
    /// See [`NotSealed`].
    NotSealed,
    /// What was sealed is no message of this protocol.
    Malformed(Malformed),
}

impl fmt::Display for SealedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonce => f.write_str("the nonce does not have 12 bytes"),
            Self::NotSealed => NotSealed.fmt(f),
            Self::Malformed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SealedError {}
