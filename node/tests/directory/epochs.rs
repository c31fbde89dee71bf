//! Epochs pass, nodes come and go, the directory is started again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use phix_node::directory::listing::Format;
use phix_node::directory::snapshot::Snapshot;
use phix_node::directory::window::Round;
use phix_proto::directory::epoch::{KeyRotationInfo, RewardedSet};
use phix_proto::directory::network::Network;
use phix_proto::directory::nodes::{Nodes, SemiSkimmed, Skimmed};
use phix_proto::directory::{NodeId, PublicKey, paths};
use serde::de::DeserializeOwned;

use crate::common::{BEGIN, EPOCH, address, desk, probe, register};

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn fixed<T: DeserializeOwned>(snapshot: &Snapshot, path: &'static str) -> T {
    serde_json::from_slice(&snapshot.fixed(path, Format::Json).unwrap().body).unwrap()
}

fn list<T: DeserializeOwned>(snapshot: &Snapshot, path: &'static str) -> Nodes<T> {
    let answer = snapshot.page(path, 0, None, Format::Json).unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

fn set(snapshot: &Snapshot) -> RewardedSet {
    fixed(snapshot, paths::REWARDED_SET)
}

fn members(set: &RewardedSet) -> BTreeSet<NodeId> {
    set.members().map(|(node, _)| node).collect()
}

/// What a client does: it joins the answers. That must work with those of any one snapshot.
fn network(snapshot: &Snapshot) -> Network {
    let info: KeyRotationInfo = fixed(snapshot, paths::KEY_ROTATION_INFO);
    let network =
        Network::join(set(snapshot), [list::<Skimmed>(snapshot, paths::SKIMMED)]).unwrap();
    assert_eq!(network.metadata().absolute_epoch_id, info.current_absolute_epoch_id);
    assert_eq!(network.metadata().rotation_id, info.progress.current_key_rotation_id);
    for (node, role) in network.rewarded_set().members() {
        assert_eq!(network.nodes()[&node].role, role, "the list says what the set says");
    }
    network
}

#[test]
fn nodes_appear_when_they_have_proved_themselves_and_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let nodes: Vec<NodeId> = (1..=6).map(|n| register(&desk, n, BEGIN)).collect();
    assert_eq!(nodes, [1, 2, 3, 4, 5, 6]);
    desk.turn(BEGIN).unwrap();
    assert!(network(&desk.snapshot()).nodes().is_empty(), "nobody believes what is only said");

    // Node 6 has announced a key that it cannot open packets with.
    let good: Vec<(NodeId, u32)> = (1..=5).map(|node| (node, 4)).chain([(6, 0)]).collect();
    probe(&desk, &good);
    desk.turn(BEGIN).unwrap();
    // The first set that packets can pass through does not wait for the next epoch.
    let first = network(&desk.snapshot());
    assert_eq!(members(first.rewarded_set()), BTreeSet::from([1, 2, 3, 4, 5]));
    assert_eq!(first.nodes().len(), 5);
    let key = PublicKey([3; 32]);
    assert_eq!(first.nodes()[&3].x25519_sphinx_pubkey, key, "the key of this rotation");

    // From then on the set stands until the epoch is over, whatever happens.
    probe(&desk, &(1..=6).map(|node| (node, if node == 2 { 0 } else { 4 })).collect::<Vec<_>>());
    probe(&desk, &(1..=6).map(|node| (node, if node == 2 { 0 } else { 4 })).collect::<Vec<_>>());
    let last = BEGIN + EPOCH - Duration::from_secs(11);
    desk.turn(last).unwrap();
    let same = network(&desk.snapshot());
    assert_eq!(same.rewarded_set(), first.rewarded_set());
    assert!(same.nodes()[&2].performance < first.nodes()[&2].performance);

    // The next one is without the node that died, and with the one that put its key right.
    desk.turn(last + Duration::from_secs(1)).unwrap();
    let second = network(&desk.snapshot());
    assert_eq!(second.metadata().absolute_epoch_id, first.metadata().absolute_epoch_id + 1);
    assert_eq!(members(second.rewarded_set()), BTreeSet::from([1, 3, 4, 5, 6]));
}

#[test]
fn the_next_key_takes_its_place_with_the_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    register(&desk, 1, BEGIN);
    probe(&desk, &[(1, 4)]);
    let key = |desk: &phix_node::directory::desk::Desk| {
        let nodes: Nodes<SemiSkimmed> = list(&desk.snapshot(), paths::SEMI_SKIMMED);
        nodes.nodes.data.first().map(|node| node.basic.x25519_sphinx_pubkey)
    };
    desk.turn(BEGIN + 21 * EPOCH).unwrap();
    assert_eq!(key(&desk), Some(PublicKey([1; 32])));
    desk.turn(BEGIN + 22 * EPOCH).unwrap();
    assert_eq!(key(&desk), Some(PublicKey([0; 32])), "announced as 1 ^ 1");
    assert_eq!(desk.targets(BEGIN + 22 * EPOCH).1[0].key, PublicKey([0; 32]));
    // A node that announced no key for a rotation has no part in it.
    desk.turn(BEGIN + 46 * EPOCH).unwrap();
    assert_eq!(key(&desk), None);
    assert!(desk.targets(BEGIN + 46 * EPOCH).1.is_empty());
    assert!(members(&set(&desk.snapshot())).is_empty());
}

#[test]
fn a_restart_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let before = desk(dir.path(), BEGIN);
    let nodes: Vec<_> =
        (1..=9).map(|n| (register(&before, n, BEGIN), u32::from(n % 4 + 1))).collect();
    probe(&before, &nodes);
    before.turn(BEGIN).unwrap();
    let (old, answers) = (before.snapshot(), network(&before.snapshot()));
    drop(before);

    let later = BEGIN + Duration::from_secs(60);
    let after = desk(dir.path(), later);
    let new = network(&after.snapshot());
    assert_eq!(new.rewarded_set(), answers.rewarded_set());
    assert_eq!(new.nodes(), answers.nodes());
    let tag = |snapshot: &Snapshot| snapshot.fixed(paths::REWARDED_SET, Format::Json).unwrap().tag;
    assert_eq!(tag(&after.snapshot()), tag(&old));
    // A node keeps its number, also when it comes back after it was forgotten.
    assert_eq!(register(&after, 4, later), 4);
    assert_eq!(register(&after, 20, later), 10);
}

#[test]
fn addresses_lead_to_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    register(&desk, 1, BEGIN);
    probe(&desk, &[(1, 4)]);
    desk.turn(BEGIN).unwrap();
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    let answer = desk.snapshot().by_addresses(&[address(1), address(2), mapped]);
    let expected = [(address(1), Some(1)), (address(2), None), (mapped, Some(1))];
    assert_eq!(answer.existence, expected.into());
}

/// Readers that never wait see whole epochs only, while these pass as fast as they can be made.
#[test]
fn no_answer_mixes_two_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let nodes: Vec<_> = (1..=12).map(|n| (register(&desk, n, BEGIN), 4)).collect();
    probe(&desk, &nodes);
    desk.turn(BEGIN).unwrap();
    let done = AtomicBool::new(false);
    let seen = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = desk.snapshot();
                    let network = network(&snapshot);
                    assert_eq!(network.metadata().absolute_epoch_id, snapshot.epoch());
                    seen.lock().unwrap().insert(snapshot.epoch());
                }
            });
        }
        let began = Instant::now();
        let enough = |epoch| epoch >= 20 && seen.lock().unwrap().len() > 5;
        for epoch in 0.. {
            desk.turn(BEGIN + EPOCH * epoch).unwrap();
            if enough(epoch) || began.elapsed() > PATIENCE {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen.into_inner().unwrap().len() > 5, "readers saw epochs pass");
}

/// A node that opens its entry only when that is its role is not asked before; one that then does
/// not open it is not drawn for it again so soon.
#[test]
fn an_entry_is_believed_until_it_is_found_shut() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let nodes: Vec<NodeId> = (1..=4).map(|n| register(&desk, n, BEGIN)).collect();
    let probe = |entry: Option<bool>| {
        let round = Round { sent: 4, delivered: 4, entry };
        desk.probed(&nodes.iter().map(|node| (*node, round)).collect::<Vec<_>>()).unwrap();
    };
    let entries = |now| {
        desk.turn(now).unwrap();
        set(&desk.snapshot()).entry_gateways.len()
    };
    probe(None);
    assert_eq!(entries(BEGIN), 1);
    assert_eq!(desk.targets(BEGIN).1.iter().filter(|target| target.is_entry).count(), 1);
    probe(Some(false));
    assert_eq!(entries(BEGIN + EPOCH), 0);
    probe(Some(true));
    probe(None);
    assert_eq!(entries(BEGIN + 2 * EPOCH), 1);
}
