//! What a client asks for in text.

use serde::{Deserialize, Serialize};

use super::{Authentication, Malformed, Nonce, SharedKey};

/// A text message of a client. Names and fields are those of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ClientRequest {
    /// Which version does the gateway speak? Answered by
    /// [`ServerResponse::SupportedProtocol`](super::ServerResponse).
    SupportedProtocol {},
    /// The client has a shared key already and opens a session.
    AuthenticateV2(Box<Authentication>),
    /// The client wants to register: the first message of [`registration`](super::registration).
    /// Clients send it under either name.
    #[serde(alias = "handshakePayload")]
    RegisterHandshakeInitRequest {
        /// The version that the client proposes.
        #[serde(default)]
        protocol_version: u8,
        /// See [`registration`](super::registration).
        data: Vec<u8>,
    },
    /// A zk-nym ticket, sealed.
    EcashCredential {
        /// The sealed ticket.
        enc_credential: Vec<u8>,
        /// Its nonce, under the name that it had when there were initialisation vectors.
        #[serde(rename = "iv", alias = "nonce")]
        nonce: Vec<u8>,
    },
    /// A token by which a client shows that the network is being upgraded.
    UpgradeModeJWT {
        /// The token; public.
        token: String,
    },
    /// Bandwidth for nothing, on networks that give it.
    ClaimFreeTestnetBandwidth,
    /// A [`PrivateRequest`](super::PrivateRequest), sealed.
    EncryptedRequest {
        /// The sealed request.
        ciphertext: Vec<u8>,
        /// Its nonce.
        nonce: Vec<u8>,
    },
    /// How clients before version 4 opened a session; refused.
    Authenticate {
        /// The client's version.
        #[serde(default)]
        protocol_version: Option<u8>,
        /// The client's address.
        address: String,
        /// The same, encrypted.
        enc_address: String,
        /// What it was encrypted with.
        iv: String,
    },
    /// A credential of a kind that is gone; refused.
    BandwidthCredential {
        /// The encrypted credential.
        enc_credential: Vec<u8>,
        /// What it was encrypted with.
        iv: Vec<u8>,
    },
    /// A credential of a kind that is gone; refused.
    BandwidthCredentialV2 {
        /// The encrypted credential.
        enc_credential: Vec<u8>,
        /// What it was encrypted with.
        iv: Vec<u8>,
    },
}

impl ClientRequest {
    /// Reads a text message.
    ///
    /// # Errors
    /// If it is none of the requests.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Ok(serde_json::from_str(text)?)
    }

    /// The text message.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("requests have only what JSON can say")
    }

    /// The request with the bytes of a zk-nym ticket, sealed.
    pub fn ecash_credential(key: &SharedKey, nonce: Nonce, ticket: &[u8]) -> Self {
        Self::EcashCredential { enc_credential: key.seal(&nonce, ticket), nonce: nonce.into() }
    }

    /// The request's name in the JSON, for counts and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SupportedProtocol {} => "supportedProtocol",
            Self::AuthenticateV2(_) => "authenticateV2",
            Self::RegisterHandshakeInitRequest { .. } => "registerHandshakeInitRequest",
            Self::EcashCredential { .. } => "ecashCredential",
            Self::UpgradeModeJWT { .. } => "upgradeModeJWT",
            Self::ClaimFreeTestnetBandwidth => "claimFreeTestnetBandwidth",
            Self::EncryptedRequest { .. } => "encryptedRequest",
            Self::Authenticate { .. } => "authenticate",
            Self::BandwidthCredential { .. } => "bandwidthCredential",
            Self::BandwidthCredentialV2 { .. } => "bandwidthCredentialV2",
        }
    }
}
