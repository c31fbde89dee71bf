//! A directory and nodes that register with it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use phix_node::directory::desk::{Desk, Rules};
use phix_node::directory::draw::Sizes;
use phix_node::directory::epochs::Epochs;
use phix_node::directory::store::Store;
use phix_node::directory::window::Round;
use phix_proto::directory::nodes::{Entry, NoiseKey, SupportedRoles};
use phix_proto::directory::registration::{Description, Services, SphinxKey};
use phix_proto::directory::{NodeId, PublicKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// When the tests begin: 10 s into an epoch, the third of its rotation.
pub(crate) const BEGIN: Duration = Duration::from_secs(3_600 * 24 * 20_000 + 2 * 3_600 + 10);
pub(crate) const EPOCH: Duration = Duration::from_secs(3_600);

/// The directory whose file is in `dir`.
pub(crate) fn desk(dir: &Path, now: Duration) -> Desk {
    let rules = Rules {
        epochs: Epochs::new(EPOCH, Some(24), 0),
        sizes: Sizes { entries: 70, exits: 50, mixnodes: 120, standby: 0 },
        check_source: true,
        probes: "192.0.2.200:1".parse().unwrap(),
    };
    let rng = StdRng::seed_from_u64(7);
    Desk::open(rules, Store::open(dir).unwrap(), rng, now).unwrap()
}

/// Node number `n` as it would describe itself at `now`.
pub(crate) fn description(n: u8, now: Duration) -> Description {
    let rotation = (now.as_secs() / (24 * 3_600)) as u32;
    let sphinx = [0, 1].map(|later| SphinxKey {
        rotation_id: rotation + later,
        public_key: PublicKey([n ^ later as u8; 32]),
    });
    Description {
        identity: PublicKey(key(n).verifying_key().to_bytes()),
        sphinx: sphinx.to_vec(),
        noise: Some(NoiseKey { supported_version: 1, x25519_pubkey: PublicKey([n; 32]) }),
        addresses: vec![address(n)],
        mix_port: 1789,
        entry: Some(Entry { hostname: None, ws_port: 9000, wss_port: None }),
        roles: SupportedRoles { mixnode: true, entry: true, exit_nr: true, exit_ipr: false },
        services: Services::default(),
        software: format!("test/{n}"),
        made_at_ms: now.as_millis() as u64,
    }
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(crate) fn address(n: u8) -> IpAddr {
    [192, 0, 2, n].into()
}

/// The bytes with which node `n` registers at `now`.
pub(crate) fn registration(n: u8, now: Duration) -> Vec<u8> {
    serde_json::to_vec(&description(n, now).sign(&key(n))).unwrap()
}

/// Registers node `n`, which is as it should be.
pub(crate) fn register(desk: &Desk, n: u8, now: Duration) -> NodeId {
    desk.register(&registration(n, now), address(n), now).unwrap().node_id
}

/// One round of probes, of which each node delivers as many as are given for it.
pub(crate) fn probe(desk: &Desk, delivered: &[(NodeId, u32)]) {
    let round = |delivered: u32| Round { sent: 4, delivered, entry: Some(delivered > 0) };
    let results: Vec<_> = delivered.iter().map(|(node, count)| (*node, round(*count))).collect();
    desk.probed(&results).unwrap();
}
