//! The JSON form of a topology: field names and shapes of nym-topology 2.0.0.
//!
//! Keys are arrays of 32 numbers, not strings: that is how the dalek crates serialize into JSON,
//! and the only form that stock clients read. Unknown fields are passed over, as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// The number under which a node is known in a topology.
pub type NodeId = u32;

/// A public key of 32 bytes: X25519 (little-endian u-coordinate) or Ed25519 (compressed point).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KeyVisitor).map(Self)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key as an array of 32 bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Self::Value, A::Error> {
        let mut key = [0; 32];
        let mut len = 0;
        while let Some(byte) = bytes.next_element::<u8>()? {
            if let Some(place) = key.get_mut(len) {
                *place = byte;
            }
            len += 1;
        }
        if len != key.len() {
            return Err(de::Error::custom(format_args!("a key has 32 bytes, this one {len}")));
        }
        Ok(key)
    }
}

/// How old a topology is, and which Sphinx keys it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The rotation that the Sphinx keys belong to; 0 and the largest number mean "not known".
    pub key_rotation_id: u32,
    /// The epoch that the topology was taken in.
    pub absolute_epoch_id: u32,
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub refreshed_at: OffsetDateTime,
}

impl Metadata {
    /// Of a topology that is made now.
    pub fn now(key_rotation_id: u32, absolute_epoch_id: u32) -> Self {
        Self { key_rotation_id, absolute_epoch_id, refreshed_at: OffsetDateTime::now_utc() }
    }
}

impl Default for Metadata {
    /// What a topology without metadata is taken for: rotation not known, epoch 0, of now.
    fn default() -> Self {
        Self::now(u32::MAX, 0)
    }
}

/// Which nodes do what in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardedSet {
    /// The epoch of this assignment.
    pub epoch_id: u32,
    /// Nodes through which clients enter.
    pub entry_gateways: BTreeSet<NodeId>,
    /// Nodes through which traffic leaves.
    pub exit_gateways: BTreeSet<NodeId>,
    /// First hops.
    pub layer1: BTreeSet<NodeId>,
    /// Second hops.
    pub layer2: BTreeSet<NodeId>,
    /// Third hops.
    pub layer3: BTreeSet<NodeId>,
    /// Nodes without a part in this epoch.
    pub standby: BTreeSet<NodeId>,
}

impl RewardedSet {
    /// The three mix layers, first hop first.
    pub const fn layers(&self) -> [&BTreeSet<NodeId>; 3] {
        [&self.layer1, &self.layer2, &self.layer3]
    }

    /// Every set with its name in the file.
    pub(super) const fn named(&self) -> [(&'static str, &BTreeSet<NodeId>); 6] {
        [
            ("entry_gateways", &self.entry_gateways),
            ("exit_gateways", &self.exit_gateways),
            ("layer1", &self.layer1),
            ("layer2", &self.layer2),
            ("layer3", &self.layer3),
            ("standby", &self.standby),
        ]
    }
}

/// What a node that clients can connect to says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// Port of its WebSocket.
    pub clients_ws_port: u16,
    /// Its name in the DNS.
    pub hostname: Option<String>,
    /// Port of its WebSocket over TLS.
    pub clients_wss_port: Option<u16>,
}

/// What a node is able to do, whatever it does in this epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportedRoles {
    /// Mixing.
    pub mixnode: bool,
    /// Letting clients in.
    pub mixnet_entry: bool,
    /// Letting traffic out.
    pub mixnet_exit: bool,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number; the same as its key in [`Form::node_details`].
    pub node_id: NodeId,
    /// Where it takes packets.
    pub mix_host: SocketAddr,
    /// How clients reach it; nothing for a node that lets none in.
    pub entry: Option<Entry>,
    /// Its Ed25519 identity.
    pub identity_key: PublicKey,
    /// The X25519 key that packets are built for.
    pub sphinx_key: PublicKey,
    /// What it is able to do.
    pub supported_roles: SupportedRoles,
}

/// The file as a whole, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// Age and key rotation; stock clients read a file without it.
    #[serde(default)]
    pub metadata: Metadata,
    /// Who does what.
    pub rewarded_set: RewardedSet,
    /// The nodes by number.
    pub node_details: BTreeMap<NodeId, Node>,
}
