//! How a registered client opens a session: it proves that it has its identity key and the shared
//! key, at this time and once.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use super::{ClientRequest, Nonce, SharedKey, bytes64};

/// By how many seconds the clocks of a client and a gateway may differ.
pub const MAX_SKEW_SECONDS: u64 = 120;

/// The content of [`ClientRequest::AuthenticateV2`]. Names are those of the JSON, in snake case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// The version that the client proposes.
    pub protocol_version: u8,
    /// The client's Ed25519 public key, by which the gateway knows it.
    pub client_identity: [u8; 32],
    /// The same key, sealed with the shared key.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub address_ciphertext: Vec<u8>,
    /// The nonce of that.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub nonce: Vec<u8>,
    /// When the client wrote this: seconds since 1970.
    pub request_unix_timestamp: u64,
    /// The client's Ed25519 signature of all of the above.
    #[serde(with = "bytes64")]
    pub request_signature: [u8; 64],
}

impl Authentication {
    /// What a client with these keys says at `now`, seconds since 1970. A gateway takes each
    /// second once only.
    pub fn new(
        protocol_version: u8,
        key: &SharedKey,
        identity: &SigningKey,
        nonce: Nonce,
        now: u64,
    ) -> Self {
        let client_identity = identity.verifying_key().to_bytes();
        let mut request = Self {
            protocol_version,
            client_identity,
            address_ciphertext: key.seal(&nonce, &client_identity),
            nonce: nonce.into(),
            request_unix_timestamp: now,
            request_signature: [0; 64],
        };
        request.request_signature = identity.sign(&request.signed()).to_bytes();
        request
    }

    /// The request with this content.
    pub fn into_request(self) -> ClientRequest {
        ClientRequest::AuthenticateV2(Box::new(self))
    }

    /// Whether the client whose shared key is `key` may have said this at `now`, seconds since
    /// 1970, its last accepted request being of the second `last`.
    ///
    /// # Errors
    /// If it is not this client, or too old, from the future, or heard before.
    pub fn verify(
        &self,
        key: &SharedKey,
        now: u64,
        last: Option<u64>,
    ) -> Result<(), AuthenticationError> {
        self.verify_time(now)?;
        self.verify_signature()?;
        let nonce =
            self.nonce.as_slice().try_into().map_err(|_| AuthenticationError::Ciphertext)?;
        let expected = key.seal(&nonce, &self.client_identity);
        if !bool::from(expected.ct_eq(&self.address_ciphertext)) {
            return Err(AuthenticationError::Ciphertext);
        }
        if last.is_some_and(|last| self.request_unix_timestamp <= last) {
            return Err(AuthenticationError::Replayed);
        }
        Ok(())
    }

    /// The part of [`Authentication::verify`] that needs no key.
    ///
    /// # Errors
    /// If the request is too old or from the future.
    pub fn verify_time(&self, now: u64) -> Result<(), AuthenticationError> {
        let sent = self.request_unix_timestamp;
        if sent.abs_diff(now) > MAX_SKEW_SECONDS {
            return Err(AuthenticationError::Skew { sent, now });
        }
        Ok(())
    }

    /// The part of [`Authentication::verify`] that needs no shared key.
    ///
    /// # Errors
    /// If the signature is not that of the identity.
    pub fn verify_signature(&self) -> Result<(), AuthenticationError> {
        let signature = Signature::from_bytes(&self.request_signature);
        VerifyingKey::from_bytes(&self.client_identity)
            .and_then(|identity| identity.verify_strict(&self.signed(), &signature))
            .map_err(|_| AuthenticationError::Signature)
    }

    /// `version | identity 32 | ciphertext | nonce | time, big endian`.
    fn signed(&self) -> Vec<u8> {
        [
            &[self.protocol_version][..],
            &self.client_identity,
            &self.address_ciphertext,
            &self.nonce,
            &self.request_unix_timestamp.to_be_bytes(),
        ]
        .concat()
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationError {
    /// The clocks differ by too much.
    Skew {
        /// The client's time, seconds since 1970.
        sent: u64,
        /// The gateway's.
        now: u64,
    },
    /// The signature is not that of the identity.
    Signature,
    /// The client does not have the shared key.
    Ciphertext,
    /// This request, or one of the same second or later, was heard before.
    Replayed,
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skew { sent, now } => write!(
                f,
                "the request is of {sent} s after 1970 and it is {now} here; clocks may differ by \
                 {MAX_SKEW_SECONDS} s"
            ),
            Self::Signature => f.write_str("the request is not signed by the client"),
            Self::Ciphertext => f.write_str("the request is not sealed with the client's key"),
            Self::Replayed => f.write_str("the request's time is not after that of the last one"),
        }
    }
}

impl std::error::Error for AuthenticationError {}
