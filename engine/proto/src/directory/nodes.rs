//! Lists of nodes, whole or by the page.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{NodeId, Performance, PublicKey, instant};

/// What a node does in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It mixes.
    Mixnode {
        /// Where on the way, 1 to 3.
        layer: u8,
    },
    /// Clients enter through it.
    #[serde(alias = "entry", alias = "gateway")]
    EntryGateway,
    /// Traffic leaves through it.
    #[serde(alias = "exit")]
    ExitGateway,
    /// It is in the set and has no part.
    Standby,
    /// It is not in the set.
    #[default]
    Inactive,
}

/// What a node is able to do, whatever it does in this epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportedRoles {
    /// Mixing.
    pub mixnode: bool,
    /// Letting clients in.
    pub entry: bool,
    /// Letting traffic out by SOCKS5: a network requester.
    pub exit_nr: bool,
    /// Letting traffic out by IP: a packet router.
    pub exit_ipr: bool,
}

impl SupportedRoles {
    /// Whether it lets traffic out in any way.
    pub const fn exit(&self) -> bool {
        self.exit_nr || self.exit_ipr
    }

    /// Whether it does nothing at all.
    pub const fn none(&self) -> bool {
        !self.mixnode && !self.entry && !self.exit()
    }
}

/// How clients reach a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the DNS.
    pub hostname: Option<String>,
    /// Port of its WebSocket.
    pub ws_port: u16,
    /// Port of its WebSocket over TLS.
    pub wss_port: Option<u16>,
}

/// What is needed to send packets through a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skimmed {
    /// Its number.
    pub node_id: NodeId,
    /// Its Ed25519 identity.
    pub ed25519_identity_pubkey: PublicKey,
    /// Its addresses; packets go to the first.
    pub ip_addresses: Vec<IpAddr>,
    /// The port on which it takes packets.
    pub mix_port: u16,
    /// The X25519 key of this rotation, which packets are built for.
    pub x25519_sphinx_pubkey: PublicKey,
    /// What it does in this epoch.
    #[serde(alias = "epoch_role")]
    pub role: Role,
    /// What it is able to do.
    #[serde(default)]
    pub supported_roles: SupportedRoles,
    /// How clients reach it; nothing for a node that lets none in.
    pub entry: Option<Entry>,
    /// The share of packets that it passed on lately.
    pub performance: Performance,
}

impl Skimmed {
    /// Where it takes packets, if it has an address.
    pub fn mix_host(&self) -> Option<SocketAddr> {
        self.ip_addresses.first().map(|&address| SocketAddr::new(address, self.mix_port))
    }
}

/// A key for Noise and the version of its use; version 1 is the only one there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseKey {
    /// Version of how the pre-shared key is derived.
    pub supported_version: u8,
    /// The static key.
    pub x25519_pubkey: PublicKey,
}

/// What other nodes need to know of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemiSkimmed {
    /// What everybody needs.
    pub basic: Skimmed,
    /// Its key for Noise, if it speaks it.
    pub x25519_noise_versioned_key: Option<NoiseKey>,
}

/// The same with room for LP, a protocol that Phix does not speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemiSkimmedV3 {
    /// What everybody needs.
    pub basic: Skimmed,
    /// Its key for Noise, if it speaks it.
    pub noise_key: Option<NoiseKey>,
    /// Name and version of its software.
    pub build_version: String,
    /// Always nothing.
    pub lp: Option<()>,
}

/// The epoch within its interval, a period of rewards, as stock directories tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Number of the interval.
    pub id: u32,
    /// Its epochs.
    pub epochs_in_interval: u32,
    /// When the present one began.
    #[serde(with = "time::serde::rfc3339")]
    pub current_epoch_start: OffsetDateTime,
    /// Its number within the interval.
    pub current_epoch_id: u32,
    /// How long each lasts.
    pub epoch_length: Duration,
    /// Epochs since the first.
    pub total_elapsed_epochs: u32,
}

/// Whether there is news for someone who said what they know. Phix gives whole answers always and
/// says nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// There is none.
    NoUpdates,
    /// The answer is of this epoch.
    Fresh(Interval),
}

/// What an answer is true for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Whether there is news.
    pub status: Option<Status>,
    /// The epoch.
    pub absolute_epoch_id: u32,
    /// The rotation that the Sphinx keys belong to.
    pub rotation_id: u32,
    /// When the list was made.
    #[serde(with = "instant")]
    pub refreshed_at: OffsetDateTime,
}

impl Metadata {
    /// Whether both are true for the same epoch and keys. Lists that are not cannot be joined.
    pub fn agrees(&self, other: &Self) -> bool {
        (self.absolute_epoch_id, self.rotation_id) == (other.absolute_epoch_id, other.rotation_id)
    }
}

/// Which part of a list this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// Items in the whole list.
    pub total: u64,
    /// Number of this page, from 0.
    pub page: u32,
    /// Items on this page.
    pub size: u64,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Which part.
    pub pagination: Pagination,
    /// Its items.
    pub data: Vec<T>,
}

/// A page of nodes and what it is true for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes<T> {
    /// What it is true for.
    pub metadata: Metadata,
    /// The nodes.
    pub nodes: Page<T>,
}

/// The question which nodes have these addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByAddresses {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// The answer: the node of each, if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existence {
    /// Nodes by address.
    pub existence: BTreeMap<IpAddr, Option<NodeId>>,
}
