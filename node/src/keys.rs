//! The private keys of a node and the files that hold them.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use phix_client::keyfile::{self, KeyKind};
use phix_client::topology::PublicKey;
use phix_engine::secret::NodeSecret;
use phix_io::noise::NoiseKey;

use crate::fault::Fault;
use crate::noise;

/// Every kind of key that a node has, with the name of its file.
pub const FILES: [(KeyKind, &str); 3] =
    [(KeyKind::Identity, "identity.key"), (KeyKind::Sphinx, "sphinx.key"), (KeyKind::Noise, NOISE)];

const NOISE: &str = "noise.key";

/// What remains where a key is lost; `init` adds nothing to a directory that has a node in it.
const NEW_NODE: &str = ", or move the node's directory away and make a new node with `phix-node \
                        init --dir`";

/// A node's keys, read from their files.
#[derive(Debug)]
pub struct NodeKeys {
    /// The Ed25519 key under which the network knows the node.
    pub identity: PublicKey,
    /// The private part of it, boxed as the one below.
    pub signing: Box<SigningKey>,
    /// The X25519 key that senders encrypt to.
    pub sphinx: PublicKey,
    /// The private part of the latter. Boxed, so that handing the keys on leaves no copy of it
    /// behind on the stack.
    pub secret: Box<NodeSecret>,
    /// The X25519 key that it proves to other nodes. Nodes that were made before there was Noise
    /// have none.
    pub noise: Option<NoiseKey>,
}

/// The key files in `dir`.
pub fn paths(dir: &Path) -> [(KeyKind, PathBuf); 3] {
    FILES.map(|(kind, name)| (kind, dir.join(name)))
}

/// The file of the Noise key in `dir`.
pub fn noise_path(dir: &Path) -> PathBuf {
    dir.join(NOISE)
}

/// Reads the keys in `dir`.
///
/// # Errors
/// If one is missing, other than the Noise key, or open to others or corrupt.
pub fn load(dir: &Path) -> Result<NodeKeys, Fault> {
    let read = |(kind, name): (KeyKind, &str)| {
        keyfile::read(&dir.join(name), kind).map(|secret| (kind, secret))
    };
    let [identity, sphinx] = [FILES[0], FILES[1]].map(read);
    let refused = |error: keyfile::KeyFileError| {
        let way = if error.is_lost() { NEW_NODE } else { "" };
        Fault::refused(format!("{error}{way}."))
    };
    let (kind, secret) = identity.map_err(refused)?;
    let identity = PublicKey(kind.public(&secret));
    let signing = Box::new(SigningKey::from_bytes(&secret));
    let (kind, secret) = sphinx.map_err(refused)?;
    let sphinx = PublicKey(kind.public(&secret));
    let secret = Box::new(NodeSecret::from_bytes(*secret));
    let noise = noise::load(&noise_path(dir)).map_err(refused)?;
    Ok(NodeKeys { identity, signing, sphinx, secret, noise })
}
