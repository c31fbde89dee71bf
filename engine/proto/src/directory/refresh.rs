//! A node's request to be looked at again, as stock nodes sign it (nym-api-requests 2.0.0,
//! `models/node_status.rs`).

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::PublicKey;
use super::registration::Refusal;

const DOMAIN: &[u8] = b"describe-cache-refresh-request";

/// Seconds for which a request is good; stock directories give it as many.
pub const AGE_MAX: i64 = 30;

/// The request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// Who asks.
    pub node_identity: PublicKey,
    /// When, in seconds since the Unix epoch.
    pub request_timestamp: i64,
    /// Ed25519 signature over identity, time as eight bytes, highest first, and a fixed text.
    /// An array of 64 numbers in JSON.
    pub signature: Vec<u8>,
}

impl RefreshRequest {
    /// A request of the node with this key at `now`, in seconds since the Unix epoch.
    pub fn new(key: &SigningKey, now: i64) -> Self {
        let node_identity = PublicKey(key.verifying_key().to_bytes());
        let signature = key.sign(&plaintext(node_identity, now)).to_bytes().to_vec();
        Self { node_identity, request_timestamp: now, signature }
    }

    /// Checks time and signature.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, now: i64) -> Result<(), Refusal> {
        let age = now.saturating_sub(self.request_timestamp);
        if age > AGE_MAX {
            return Err(Refusal::Old);
        }
        // Clocks of two machines differ a little.
        if age < -AGE_MAX {
            return Err(Refusal::Future);
        }
        let signature: [u8; 64] =
            self.signature.as_slice().try_into().map_err(|_| Refusal::Signature)?;
        let key =
            VerifyingKey::from_bytes(&self.node_identity.0).map_err(|_| Refusal::Signature)?;
        let signed = plaintext(self.node_identity, self.request_timestamp);
        key.verify_strict(&signed, &Signature::from_bytes(&signature))
            .map_err(|_| Refusal::Signature)
    }
}

fn plaintext(identity: PublicKey, at: i64) -> Vec<u8> {
    [&identity.0[..], &at.to_be_bytes(), DOMAIN].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_good_for_half_a_minute_and_for_their_node() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let request = RefreshRequest::new(&key, 1_000);
        assert_eq!(request.verify(1_000), Ok(()));
        assert_eq!(request.verify(1_030), Ok(()));
        assert_eq!(request.verify(1_031), Err(Refusal::Old));
        assert_eq!(request.verify(969), Err(Refusal::Future));
        assert_eq!(request.verify(i64::MIN), Err(Refusal::Future));
        let other = PublicKey(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        let stolen = RefreshRequest { node_identity: other, ..request.clone() };
        assert_eq!(stolen.verify(1_000), Err(Refusal::Signature));
        let moved = RefreshRequest { request_timestamp: 1_001, ..request.clone() };
        assert_eq!(moved.verify(1_001), Err(Refusal::Signature));
        let cut = RefreshRequest { signature: request.signature[1..].to_vec(), ..request };
        assert_eq!(cut.verify(1_000), Err(Refusal::Signature));
    }
}
