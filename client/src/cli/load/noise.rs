//! The arguments about Noise, and the keys that they come to.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use phix_engine::secret::NodeSecret;
use phix_io::noise::{NoiseKey, Pattern};
use serde_json::Value;

use crate::cli::{Refusal, values};
use crate::keyfile::{self, KeyKind};
use crate::packet::os_seed;
use crate::tester::noise::Speech;
use crate::tester::prepare::Target;

#[derive(Debug, Args)]
pub(super) struct NoiseArguments {
    /// Speak Noise with the node, on the connections to it and on those that it makes. The node
    /// must know the tester's key for the address that the tester connects from.
    #[arg(long, conflicts_with = "topology")]
    pub(super) noise: bool,

    /// The node's Noise key.
    #[arg(long, value_name = "BASE58", requires = "noise", requires = "node")]
    #[arg(value_parser = values::key)]
    node_noise_key: Option<[u8; 32]>,

    /// The tester's own key for Noise, made by `phix-client keygen --noise`; with --echo one is
    /// made for the run.
    #[arg(long, value_name = "FILE", requires = "noise")]
    noise_key: Option<PathBuf>,

    /// The protocol: Noise_XKpsk3_25519_AESGCM_SHA256 or Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s.
    #[arg(long, value_name = "xk|ik", default_value = "xk", requires = "noise")]
    #[arg(value_parser = values::pattern)]
    noise_pattern: Pattern,
}

impl NoiseArguments {
    /// How the target is spoken to; plainly, if nothing is said.
    pub(super) fn speech(&self, target: &Target) -> Result<Option<Speech>, Refusal> {
        if !self.noise {
            return Ok(None);
        }
        let secret = match (&self.noise_key, target) {
            (Some(path), _) => *keyfile::read(path, KeyKind::Noise)?,
            (None, Target::Echo(_)) => *os_seed(),
            (None, _) => {
                return Err(Refusal(
                    "with --noise the node must know the tester's key: make one by `phix-client \
                     keygen --noise FILE`, tell the node its public part, and name the file by \
                     --noise-key"
                        .into(),
                ));
            }
        };
        let key = NoiseKey::new(NodeSecret::from_bytes(secret));
        let node = match (self.node_noise_key, target) {
            (Some(node), _) => node,
            // What comes back comes from the tester itself.
            (None, Target::Echo(_)) => *key.public(),
            (None, _) => {
                return Err(Refusal(
                    "with --noise the node's key is needed: name it by --node-noise-key (a \
                     phix-node's is printed by `phix-node check-config`)"
                        .into(),
                ));
            }
        };
        Ok(Some(Speech { key: Arc::new(key), node, pattern: self.noise_pattern }))
    }

    /// For reports: the protocol, or that there is none.
    pub(super) fn describe(&self) -> Value {
        if self.noise { self.noise_pattern.protocol().into() } else { Value::Bool(false) }
    }
}
