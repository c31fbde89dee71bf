//! The same keys, as both sides hold them.

use ed25519_dalek::SigningKey;
use nym_crypto::asymmetric::ed25519;
use nym_gateway_requests::SharedSymmetricKey;
use phix_proto::gateway::SharedKey;

pub(crate) struct Shared {
    pub(crate) ours: SharedKey,
    pub(crate) theirs: SharedSymmetricKey,
}

pub(crate) fn shared(byte: u8) -> Shared {
    let bytes = [byte; 32];
    Shared {
        ours: SharedKey::from_bytes(bytes),
        theirs: SharedSymmetricKey::try_from_bytes(&bytes).unwrap(),
    }
}

pub(crate) struct Identity {
    pub(crate) ours: SigningKey,
    pub(crate) theirs: ed25519::KeyPair,
}

pub(crate) fn identity(byte: u8) -> Identity {
    let private = ed25519::PrivateKey::from_bytes(&[byte; 32]).unwrap();
    Identity { ours: SigningKey::from_bytes(&[byte; 32]), theirs: private.into() }
}
