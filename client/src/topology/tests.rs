use std::path::Path;

use chacha20::ChaCha20Rng;
use rand::SeedableRng;
use serde_json::{Value, json};

use super::*;

/// The encoding of Ed25519's base point.
fn identity() -> PublicKey {
    let mut key = [0x66; 32];
    key[0] = 0x58;
    PublicKey(key)
}

fn node(id: NodeId, port: u16) -> Node {
    Node {
        node_id: id,
        mix_host: SocketAddr::from(([127, 0, 0, 1], port)),
        entry: None,
        identity_key: identity(),
        sphinx_key: PublicKey([id as u8; 32]),
        supported_roles: SupportedRoles { mixnode: true, ..SupportedRoles::default() },
    }
}

fn gateway() -> Node {
    Node {
        entry: Some(Entry {
            ip_addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            clients_ws_port: 9000,
            hostname: Some("gateway.example".into()),
            clients_wss_port: None,
        }),
        ..node(9, 1789)
    }
}

pub(crate) fn sample() -> Topology {
    let layers = [vec![node(1, 1), node(2, 2)], vec![node(3, 3)], vec![node(4, 4), node(5, 5)]];
    Topology::assemble(Metadata::now(3, 77), layers, vec![gateway()]).unwrap()
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::to_value(sample().form()).unwrap();
    change(&mut value);
    parse(value.to_string().as_bytes(), Path::new("t.json")).unwrap_err().to_string()
}

#[test]
fn round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topology.json");
    for topology in [sample(), sample()] {
        save(&topology, &path).unwrap();
        assert_eq!(load(&path).unwrap(), topology);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no file is left aside");
}

#[test]
fn shapes_are_those_of_stock_files() {
    let value = serde_json::to_value(sample().form()).unwrap();
    assert_eq!(value["node_details"]["3"]["sphinx_key"], json!(vec![3; 32]));
    assert_eq!(value["node_details"]["3"]["entry"], Value::Null);
    assert_eq!(value["node_details"]["3"]["mix_host"], json!("127.0.0.1:3"));
    assert_eq!(value["rewarded_set"]["layer1"], json!([1, 2]));
    assert!(value["metadata"]["refreshed_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn what_stock_readers_tolerate_is_read() {
    let mut value = serde_json::to_value(sample().form()).unwrap();
    value.as_object_mut().unwrap().remove("metadata");
    value["node_details"]["9"]["entry"].as_object_mut().unwrap().remove("hostname");
    value["node_details"]["9"]["performance"] = json!("1.0");
    let topology = parse(value.to_string().as_bytes(), Path::new("t.json")).unwrap();
    assert_eq!(topology.metadata().key_rotation_id, u32::MAX);
}

#[test]
fn refusals_are_sentences() {
    let missing = load(Path::new("/nonexistent/t.json")).unwrap_err().to_string();
    assert!(missing.starts_with("there is no topology file /nonexistent/t.json"), "{missing}");
    let text = parse(b"{ \"metadata\": ", Path::new("t.json")).unwrap_err().to_string();
    assert!(text.starts_with("the topology file t.json is not JSON"), "{text}");

    let said = |text: String, what: &str| assert!(text.contains(what), "{text}");
    said(refusal(|v| v["rewarded_set"]["layer2"] = json!([3, 8])), "layer2 names node 8");
    said(refusal(|v| v["rewarded_set"]["layer2"] = json!([])), "layer2 names no node");
    said(refusal(|v| v["rewarded_set"]["entry_gateways"] = json!([])), "entry_gateways names no");
    said(refusal(|v| v["node_details"]["3"]["node_id"] = json!(4)), "under 3 in node_details");
    said(refusal(|v| v["node_details"]["3"]["sphinx_key"] = json!([1, 2])), "this one 2");
    said(refusal(|v| v["node_details"]["3"]["sphinx_key"] = json!(vec![0; 33])), "this one 33");
    said(refusal(|v| v["node_details"]["3"]["sphinx_key"] = json!("abc")), "an array of 32 bytes");
    // No point of the curve has this y-coordinate.
    let mut bad = [0; 32];
    bad[0] = 2;
    said(
        refusal(|v| v["node_details"]["3"]["identity_key"] = json!(bad)),
        "identity_key of node 3",
    );
    said(refusal(|v| v["rewarded_set"] = json!({})), "not of the NymTopology form");
}

#[test]
fn an_unwritable_place_is_said_and_nothing_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing").join("t.json");
    let text = save(&sample(), &path).unwrap_err().to_string();
    assert!(text.contains("cannot be written"), "{text}");
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    assert!(save(&sample(), &dir.path().join("taken")).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn routes_take_every_node_of_a_layer_alike() {
    let (topology, mut rng) = (sample(), ChaCha20Rng::from_seed([1; 32]));
    let gateway = topology.entry_gateways().next().unwrap();
    let mut first = [0; 2];
    for _ in 0..2000 {
        let route = topology.random_route(&mut rng, gateway);
        let ids: Vec<_> = route.iter().map(|hop| hop.node).collect();
        assert!(matches!(ids[..], [1 | 2, 3, 4 | 5, 9]), "{ids:?}");
        assert_eq!(route[1].key, [3; 32]);
        first[ids[0] as usize - 1] += 1;
    }
    // Six standard deviations of a fair coin.
    assert!(first.iter().all(|&count| (866..=1134).contains(&count)), "{first:?}");
    assert_eq!(topology.node_by_identity(&identity().0).unwrap().node_id, 1);
}
