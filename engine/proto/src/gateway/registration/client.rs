use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};

use super::super::{CURRENT_VERSION, OLDEST_VERSION, SharedKey};
use super::secrets::{Agreed, KEY, PROOF, SALT, ephemeral, exactly, split};
use super::{HandshakeError, HandshakeMessage};

/// A client that has sent the first message and waits for the second.
pub struct ClientHandshake<'a> {
    identity: &'a SigningKey,
    gateway: VerifyingKey,
    ephemeral: StaticSecret,
    salt: [u8; SALT],
}

/// A client that has sent the third message and waits for the last.
pub struct ClientFinish {
    key: SharedKey,
    version: u8,
}

impl<'a> ClientHandshake<'a> {
    /// Opens a handshake of the client `identity` with the gateway whose Ed25519 public key is
    /// `gateway`, and gives the message to send. `version` is what the client proposes.
    pub fn start(
        identity: &'a SigningKey,
        gateway: VerifyingKey,
        version: u8,
        rng: &mut impl CryptoRng,
    ) -> (Self, HandshakeMessage) {
        let ephemeral = ephemeral(rng);
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let own = PublicKey::from(&ephemeral).to_bytes();
        let data = [&identity.verifying_key().to_bytes()[..], &own, &salt].concat();
        let message = HandshakeMessage::HandshakePayload { protocol_version: version, data };
        (Self { identity, gateway, ephemeral, salt }, message)
    }

    /// Takes the gateway's answer and gives the message to send.
    ///
    /// # Errors
    /// If the answer is not that of the gateway, or it wants a version that is not spoken here.
    pub fn answer(
        self,
        answer: &HandshakeMessage,
        rng: &mut impl CryptoRng,
    ) -> Result<(ClientFinish, HandshakeMessage), HandshakeError> {
        let (version, data) = answer.payload()?;
        if !(OLDEST_VERSION..=CURRENT_VERSION).contains(&version) {
            return Err(HandshakeError::Version(version));
        }
        let data: &[u8; KEY + PROOF] = exactly(data)?;
        let (other, proof) = split::<KEY>(data);
        let agreed = Agreed::new(&self.ephemeral, *other, &self.salt)?;
        agreed.check(split(proof).0, &self.gateway)?;
        let data = agreed.prove(self.identity, rng);
        let message = HandshakeMessage::HandshakePayload { protocol_version: version, data };
        Ok((ClientFinish { key: agreed.key, version }, message))
    }
}

impl ClientFinish {
    /// Takes the last message and gives the shared key and the version that both speak now.
    ///
    /// # Errors
    /// If the gateway says that it did not work.
    pub fn finish(self, last: &HandshakeMessage) -> Result<(SharedKey, u8), HandshakeError> {
        match exactly(last.payload()?.1)? {
            [1] => Ok((self.key, self.version)),
            [_] => Err(HandshakeError::Refused),
        }
    }
}
