//! What a node learns from a directory.

use std::net::SocketAddr;

use phix_engine::egress::NextHops;
use phix_io::noise::NoisePeers;
use phix_proto::directory::nodes::{Nodes, Role, SemiSkimmed};
use phix_proto::directory::{NodeId, PublicKey};

/// The version of how Noise is used that Phix speaks.
const NOISE_VERSION: u8 = 1;

/// The network as a node needs it.
#[derive(Clone, Debug)]
pub struct News {
    /// The epoch that it is true for.
    pub epoch: u32,
    /// The number of this node, if the directory lists it.
    pub node: Option<NodeId>,
    /// What this node does in the epoch.
    pub role: Role,
    /// Nodes in the list.
    pub nodes: usize,
    /// The Noise keys of all nodes.
    pub noise: NoisePeers,
    /// All nodes, and where probes come back to. This node is among them: what it has mixed in the
    /// last layer may be for a client of its own.
    pub next_hops: NextHops,
}

impl News {
    /// What `list` says to the node `own`, of which probes go on to `probes`.
    pub fn of(list: &Nodes<SemiSkimmed>, own: PublicKey, probes: Option<SocketAddr>) -> Self {
        let all = &list.nodes.data;
        let me = all.iter().find(|node| node.basic.ed25519_identity_pubkey == own);
        let keys = all.iter().flat_map(|node| {
            let key = node.x25519_noise_versioned_key;
            let key = key.filter(|key| key.supported_version == NOISE_VERSION);
            let addresses = node.basic.ip_addresses.iter();
            addresses.filter_map(move |address| Some((*address, key?.x25519_pubkey.0)))
        });
        let hops = all.iter().flat_map(|node| {
            let port = node.basic.mix_port;
            node.basic.ip_addresses.iter().map(move |ip| SocketAddr::new(*ip, port))
        });
        Self {
            epoch: list.metadata.absolute_epoch_id,
            node: me.map(|node| node.basic.node_id),
            role: me.map(|node| node.basic.role).unwrap_or_default(),
            nodes: all.len(),
            noise: keys.collect(),
            next_hops: NextHops::only(hops.chain(probes)),
        }
    }
}

/// A role in words.
pub fn words(role: Role) -> String {
    match role {
        Role::Mixnode { layer } => format!("mix node in layer {layer}"),
        Role::EntryGateway => "entry gateway".to_owned(),
        Role::ExitGateway => "exit gateway".to_owned(),
        Role::Standby => "none, it stands by".to_owned(),
        Role::Inactive => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use phix_proto::directory::Performance;
    use phix_proto::directory::nodes::{Metadata, NoiseKey, Page, Pagination, Skimmed};

    use super::*;

    fn node(id: u8, version: u8) -> SemiSkimmed {
        let basic = Skimmed {
            node_id: id.into(),
            ed25519_identity_pubkey: PublicKey([id; 32]),
            ip_addresses: vec![[192, 0, 2, id].into()],
            mix_port: 1789,
            x25519_sphinx_pubkey: PublicKey([0; 32]),
            role: Role::Mixnode { layer: id },
            supported_roles: phix_proto::directory::nodes::SupportedRoles::default(),
            entry: None,
            performance: Performance::FULL,
        };
        let x25519_pubkey = PublicKey([id + 100; 32]);
        let key = NoiseKey { supported_version: version, x25519_pubkey };
        SemiSkimmed { basic, x25519_noise_versioned_key: Some(key) }
    }

    #[test]
    fn a_node_learns_of_the_others_and_of_its_role() {
        let data = vec![node(1, 1), node(2, 1), node(3, 2)];
        let pagination = Pagination { total: 3, page: 0, size: 3 };
        let metadata = Metadata {
            status: None,
            absolute_epoch_id: 9,
            rotation_id: 1,
            refreshed_at: time::OffsetDateTime::UNIX_EPOCH,
        };
        let list = Nodes { metadata, nodes: Page { pagination, data } };
        let probes: SocketAddr = "192.0.2.99:7".parse().unwrap();
        let news = News::of(&list, PublicKey([2; 32]), Some(probes));
        assert_eq!((news.node, news.role), (Some(2), Role::Mixnode { layer: 2 }));
        assert_eq!((news.epoch, news.nodes), (9, 3));
        // Node 3 speaks another Noise.
        assert_eq!(news.noise.len(), 2);
        assert_eq!(news.noise.key([192, 0, 2, 1].into()), Some(&[101; 32]));
        let hops = ["192.0.2.1:1789", "192.0.2.2:1789", "192.0.2.3:1789", "192.0.2.99:7"];
        assert_eq!(news.next_hops, NextHops::only(hops.map(|hop| hop.parse().unwrap())));
        let stranger = News::of(&list, PublicKey([9; 32]), None);
        assert_eq!((stranger.node, stranger.role), (None, Role::Inactive));
    }
}
