//! The view of a network that packets are routed by: nodes, their keys, and who mixes where.
//!
//! The file is the JSON form of nym-topology 2.0.0, which stock Nym clients read with
//! `--custom-mixnet`. A [`Topology`] has been checked: every route that it draws can be built.

mod file;
mod model;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use ed25519_dalek::VerifyingKey;
use rand::{CryptoRng, RngExt};

pub use file::{TopologyError, load, parse, save};
pub use model::{Entry, Form, Metadata, Node, NodeId, PublicKey, RewardedSet, SupportedRoles};

/// One hop of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its number in the topology.
    pub node: NodeId,
    /// Where it takes packets.
    pub address: SocketAddr,
    /// Its X25519 key.
    pub key: [u8; 32],
}

impl From<&Node> for Hop {
    fn from(node: &Node) -> Self {
        Self { node: node.node_id, address: node.mix_host, key: node.sphinx_key.0 }
    }
}

/// Why the parts of a topology do not make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node of the rewarded set has no details.
    NoDetails {
        /// The set's name in the file.
        set: &'static str,
        /// The node.
        node: NodeId,
    },
    /// A node stands under another number than its own.
    Misnumbered {
        /// The number it stands under.
        key: NodeId,
        /// The number it gives itself.
        node: NodeId,
    },
    /// An identity key is not a point of Ed25519; stock clients refuse the whole file for it.
    Identity(NodeId),
    /// A mix layer, 1 to 3, has no node.
    EmptyLayer(u8),
    /// There is no entry gateway.
    NoEntryGateway,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDetails { set, node } => {
                write!(f, "{set} names node {node}, which is missing from node_details")
            }
            Self::Misnumbered { key, node } => {
                write!(f, "the node under {key} in node_details has node_id {node}")
            }
            Self::Identity(node) => {
                write!(f, "the identity_key of node {node} is not an Ed25519 public key")
            }
            Self::EmptyLayer(layer) => {
                write!(f, "layer{layer} names no node, and a route needs one of each layer")
            }
            Self::NoEntryGateway => f.write_str(
                "entry_gateways names no node, and clients enter and receive through one",
            ),
        }
    }
}

impl std::error::Error for Fault {}

/// A network that packets can be routed through.
///
/// Invariant: no mix layer is empty, and every node that has a role has details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    form: Form,
    layers: [Vec<Hop>; 3],
}

impl Topology {
    /// Checks the parts.
    ///
    /// # Errors
    /// The first fault that is found.
    pub fn new(form: Form) -> Result<Self, Fault> {
        for (&key, node) in &form.node_details {
            if key != node.node_id {
                return Err(Fault::Misnumbered { key, node: node.node_id });
            }
            if VerifyingKey::from_bytes(&node.identity_key.0).is_err() {
                return Err(Fault::Identity(key));
            }
        }
        for (set, members) in form.rewarded_set.named() {
            let missing = members.iter().find(|node| !form.node_details.contains_key(node));
            if let Some(&node) = missing {
                return Err(Fault::NoDetails { set, node });
            }
        }
        for (members, layer) in form.rewarded_set.layers().iter().zip(1..) {
            if members.is_empty() {
                return Err(Fault::EmptyLayer(layer));
            }
        }
        if form.rewarded_set.entry_gateways.is_empty() {
            return Err(Fault::NoEntryGateway);
        }
        let hops = |nodes: &std::collections::BTreeSet<NodeId>| {
            nodes.iter().map(|id| Hop::from(&form.node_details[id])).collect()
        };
        let layers = form.rewarded_set.layers().map(hops);
        Ok(Self { form, layers })
    }

    /// A topology of nodes that mix in one layer each, and of gateways for both directions.
    ///
    /// # Errors
    /// As [`Topology::new`]; two nodes of one number are not noticed, the later one stays.
    pub fn assemble(
        metadata: Metadata,
        layers: [Vec<Node>; 3],
        gateways: Vec<Node>,
    ) -> Result<Self, Fault> {
        let ids = |nodes: &[Node]| nodes.iter().map(|node| node.node_id).collect();
        let rewarded_set = RewardedSet {
            epoch_id: metadata.absolute_epoch_id,
            entry_gateways: ids(&gateways),
            exit_gateways: ids(&gateways),
            layer1: ids(&layers[0]),
            layer2: ids(&layers[1]),
            layer3: ids(&layers[2]),
            standby: [].into(),
        };
        let nodes = layers.into_iter().flatten().chain(gateways);
        let node_details: BTreeMap<_, _> = nodes.map(|node| (node.node_id, node)).collect();
        Self::new(Form { metadata, rewarded_set, node_details })
    }

    /// The parts, as they stand in a file.
    pub const fn form(&self) -> &Form {
        &self.form
    }

    /// Age and key rotation.
    pub const fn metadata(&self) -> &Metadata {
        &self.form.metadata
    }

    /// The node of this number.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.form.node_details.get(&id)
    }

    /// The node of this Ed25519 identity.
    pub fn node_by_identity(&self, identity: &[u8; 32]) -> Option<&Node> {
        self.form.node_details.values().find(|node| node.identity_key.0 == *identity)
    }

    /// The entry gateways of this epoch, by number.
    pub fn entry_gateways(&self) -> impl Iterator<Item = &Node> {
        self.form.rewarded_set.entry_gateways.iter().map(|id| &self.form.node_details[id])
    }

    /// One node of each layer, uniformly and independently, and the gateway at the end.
    pub fn random_route(&self, rng: &mut (impl CryptoRng + ?Sized), gateway: &Node) -> Vec<Hop> {
        let mixes = self.layers.iter().map(|layer| layer[rng.random_range(0..layer.len())]);
        mixes.chain([gateway.into()]).collect()
    }
}
