use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use x25519_dalek::PublicKey;

use super::super::{SharedKey, negotiate};
use super::secrets::{Agreed, KEY, PROOF, SALT, ephemeral, exactly, split};
use super::{HandshakeError, HandshakeMessage};

/// A gateway that has sent the second message and waits for the third.
pub struct GatewayHandshake {
    agreed: Agreed,
    client: VerifyingKey,
    version: u8,
}

/// What a gateway knows of a client that has registered.
#[derive(Debug)]
pub struct Registration {
    /// The client's Ed25519 public key.
    pub client: [u8; 32],
    /// The key that both have now.
    pub key: SharedKey,
    /// The version that both speak now.
    pub version: u8,
}

impl GatewayHandshake {
    /// Takes the first message, which is the content of a
    /// [`ClientRequest::RegisterHandshakeInitRequest`](super::ClientRequest), and gives the one to
    /// send. `identity` is the gateway's Ed25519 key.
    ///
    /// # Errors
    /// If the message is malformed, or the client too old.
    pub fn start(
        identity: &SigningKey,
        version: u8,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, HandshakeMessage), HandshakeError> {
        let version = negotiate(version).ok_or(HandshakeError::Version(version))?;
        let data: &[u8; 2 * KEY + SALT] = exactly(data)?;
        let (client, rest) = split::<KEY>(data);
        let (other, salt) = split::<KEY>(rest);
        let client = VerifyingKey::from_bytes(client).map_err(|_| HandshakeError::Key)?;
        let own = ephemeral(rng);
        let agreed = Agreed::new(&own, *other, split(salt).0)?;
        let mut data = PublicKey::from(&own).to_bytes().to_vec();
        data.extend_from_slice(&agreed.prove(identity, rng));
        let message = HandshakeMessage::HandshakePayload { protocol_version: version, data };
        Ok((Self { agreed, client, version }, message))
    }

    /// Who wants to register; not proved yet.
    pub fn client(&self) -> [u8; 32] {
        self.client.to_bytes()
    }

    /// Takes the third message. Gives what is to be remembered of the client, and the message to
    /// send once it is.
    ///
    /// # Errors
    /// If the client does not prove its identity.
    pub fn finish(
        self,
        proof: &HandshakeMessage,
    ) -> Result<(Registration, HandshakeMessage), HandshakeError> {
        let (_, data) = proof.payload()?;
        let proof: &[u8; PROOF] = exactly(data)?;
        self.agreed.check(proof, &self.client)?;
        let version = self.version;
        let last = HandshakeMessage::HandshakePayload { protocol_version: version, data: vec![1] };
        let client = self.client.to_bytes();
        Ok((Registration { client, key: self.agreed.key, version }, last))
    }
}
