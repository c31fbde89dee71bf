//! Against a directory over a real socket, which says what a test wants it to say.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use phix_proto::directory::nodes;
use serde_json::{Value, json};

use super::*;
use crate::mixnet::settings::Length;

fn key(seed: u8) -> [u8; 32] {
    crate::keyfile::KeyKind::Identity.public(&[seed; 32])
}

fn skimmed(id: u8, role: &nodes::Role) -> Value {
    let base58 = |bytes: [u8; 32]| bs58::encode(bytes).into_string();
    json!({"node_id": id, "ed25519_identity_pubkey": base58(key(id)),
        "ip_addresses": ["127.0.0.1"], "mix_port": 1789 + u16::from(id),
        "x25519_sphinx_pubkey": base58([id; 32]), "role": serde_json::to_value(role).unwrap(),
        "supported_roles": {"mixnode": true, "entry": true, "exit_nr": false, "exit_ipr": false},
        "entry": {"hostname": null, "ws_port": 9000, "wss_port": null}, "performance": "1.0"})
}

fn page(epoch: u32, total: usize, number: u32, nodes: &[Value]) -> Value {
    json!({"metadata": {"status": null, "absolute_epoch_id": epoch, "rotation_id": 3,
            "refreshed_at": "2026-11-24 22:15:00.0 +00:00:00"},
        "nodes": {"pagination": {"total": total, "page": number, "size": nodes.len()},
            "data": nodes}})
}

/// What a directory says, by path. `epochs` are those that its lists of gateways are of, the last
/// one from then on.
fn answer(path: &str, epochs: &Mutex<VecDeque<u32>>) -> Option<Value> {
    let mut mixes: Vec<_> =
        (1..=3).map(|layer| skimmed(layer, &nodes::Role::Mixnode { layer })).collect();
    // Two of three in the first layer have died, and the only one of the second.
    let dead = (5..=6).map(|id| skimmed(id, &nodes::Role::Mixnode { layer: 1 }));
    mixes.extend(dead);
    for (number, performance) in [(1, "0.2"), (3, "0.4999"), (4, "0")] {
        mixes[number]["performance"] = json!(performance);
    }
    if path == "/own/phix/v1/nodes" {
        return Some(json!({"nodes": [
            signed(true, Some(address(7))), signed(false, Some(address(8))), signed(true, None)]}));
    }
    let path = path.strip_prefix("/api")?;
    Some(match path {
        "/v1/epoch/key-rotation-info" => json!({
            "key_rotation_state": {"validity_epochs": 24, "initial_epoch_id": 0},
            "current_absolute_epoch_id": 80, "current_epoch_start": "2026-11-24T22:00:00Z",
            "epoch_duration": {"secs": 3600, "nanos": 0},
            "progress": {"current_key_rotation_id": 3, "current_rotation_starting_epoch": 72,
                "current_rotation_ending_epoch": 95}}),
        "/v1/nym-nodes/rewarded-set" => json!({"epoch_id": 80, "entry_gateways": [4],
            "exit_gateways": [7], "layer1": [1, 5, 6, 77], "layer2": [2], "layer3": [3],
            "standby": []}),
        "/v2/unstable/nym-nodes/skimmed/mixnodes/active?page=0" => page(80, 5, 0, &mixes[..2]),
        "/v2/unstable/nym-nodes/skimmed/mixnodes/active?page=1" => page(80, 5, 1, &mixes[2..]),
        "/v2/unstable/nym-nodes/skimmed/entry-gateways?page=0" => {
            let mut epochs = epochs.lock().unwrap();
            let epoch = if epochs.len() > 1 { epochs.pop_front() } else { epochs.front().copied() };
            page(epoch.unwrap(), 1, 0, &[skimmed(4, &nodes::Role::EntryGateway)])
        }
        "/v2/unstable/nym-nodes/skimmed/exit-gateways?page=0" => {
            page(80, 1, 0, &[skimmed(7, &nodes::Role::ExitGateway)])
        }
        "/v1/nym-nodes/described?page=0" => {
            json!({"pagination": {"total": 4, "page": 0, "size": 3},
            "data": [described(Some("nonsense".into())), described(Some(address(5))),
                described(None)]})
        }
        "/v1/nym-nodes/described?page=1" => {
            json!({"pagination": {"total": 4, "page": 1, "size": 1},
            "data": [described(Some(address(6)))]})
        }
        _ => return None,
    })
}

/// The address of a network requester.
fn address(seed: u8) -> String {
    Recipient::new(key(seed), [seed; 32], key(4)).unwrap().to_string()
}

/// What a stock directory has heard from a node; much of it does not matter here.
fn described(requester: Option<String>) -> Value {
    let requester = requester.map(|address| json!({"address": address, "uses_exit_policy": true}));
    json!({"node_id": 1, "contract_node_type": "nym_node",
        "description": {"last_polled": "2026-11-24 22:15:00.0 +00:00:00",
            "network_requester": requester, "ip_packet_router": null}})
}

/// What a node has told a directory of Phix.
fn signed(alive: bool, network_requester: Option<String>) -> Value {
    let description = registration::Description {
        identity: directory::PublicKey(key(4)),
        sphinx: vec![],
        noise: None,
        addresses: vec![],
        mix_port: 1789,
        entry: None,
        roles: nodes::SupportedRoles::default(),
        services: registration::Services { network_requester, ip_packet_router: None },
        software: String::new(),
        made_at_ms: 0,
    };
    json!({"node_id": 1, "performance": "1", "alive": alive, "description": description,
        "signature": ""})
}

fn requesters(url: String) -> Vec<String> {
    let settings = Settings {
        directory: Some(url),
        topology_timeout: Length::millis(60_000),
        ..Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let known = runtime.block_on(network_requesters(&settings)).unwrap();
    known.iter().map(ToString::to_string).collect()
}

#[test]
fn network_requesters_are_those_that_a_directory_of_either_kind_knows() {
    let directory = serve(&[80]);
    assert_eq!(requesters(format!("http://{directory}/api")), [address(5), address(6)]);
    assert_eq!(requesters(format!("http://{directory}/own")), [address(7)]);
    let settings = Settings { topology: Some("net.json".into()), ..Settings::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(network_requesters(&settings)).unwrap_err();
    assert!(error.to_string().contains("--exit"), "{error}");
}

/// A directory; it ends with the process.
fn serve(epochs: &[u32]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let epochs = Arc::new(Mutex::new(epochs.iter().copied().collect()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            let path = first.split(' ').nth(1).unwrap().to_owned();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let (status, body) = match answer(&path, &epochs) {
                Some(value) => ("200 OK", value.to_string()),
                None => ("404 Not Found", String::new()),
            };
            let len = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n");
            // A client that had enough may be gone.
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

fn fetch(url: &str) -> Result<Topology, DirectoryError> {
    fetch_with(url, Settings::default())
}

fn fetch_with(url: &str, settings: Settings) -> Result<Topology, DirectoryError> {
    let settings = Settings {
        directory: Some(url.into()),
        topology_timeout: Length::millis(60_000),
        ..settings
    };
    let source = Source::new(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(source.fetch())
}

fn layers(topology: &Topology) -> [Vec<NodeId>; 3] {
    let layers = topology.form().rewarded_set.layers();
    layers.map(|layer| layer.iter().copied().collect())
}

#[test]
fn nodes_that_perform_badly_are_passed_by_as_far_as_is_wanted() {
    let url = format!("http://{}/api", serve(&[80]));
    let least = |mix_performance| {
        let settings = Settings { mix_performance, ..Settings::default() };
        layers(&fetch_with(&url, settings).unwrap())
    };
    assert_eq!(least(50), [vec![1], vec![2], vec![3]], "a layer does not lose its last node");
    assert_eq!(least(49), [vec![1, 5], vec![2], vec![3]]);
    assert_eq!(least(0), [vec![1, 5, 6], vec![2], vec![3]]);
}

#[test]
fn pages_are_joined_to_a_topology() {
    let topology = fetch(&format!("http://{}/api/", serve(&[80]))).unwrap();
    let metadata = topology.metadata();
    assert_eq!((metadata.key_rotation_id, metadata.absolute_epoch_id), (3, 80));
    // Node 77 is in the set, and no list describes it; 5 and 6 let nothing through.
    assert_eq!(layers(&topology), [vec![1], vec![2], vec![3]]);
    let gateway = topology.entry_gateways().next().unwrap();
    assert_eq!(gateway.entry.as_ref().unwrap().clients_ws_port, 9000);
    assert_eq!(gateway.mix_host, "127.0.0.1:1793".parse().unwrap());
    assert_eq!(gateway.identity_key.0, key(4));
    assert_eq!(topology.entry_gateways().count(), 1);
    assert!(topology.node_by_identity(&key(7)).is_some(), "services are reached at exits");
}

#[test]
fn an_epoch_that_changes_meanwhile_is_asked_for_again_and_not_for_ever() {
    fetch(&format!("http://{}/api", serve(&[79, 80]))).unwrap();
    let error = fetch(&format!("http://{}/api", serve(&[79]))).unwrap_err();
    assert!(matches!(error, DirectoryError::Disagreement(..)), "{error}");
}

#[test]
fn what_is_no_directory_is_said() {
    let address = serve(&[80]);
    let said = |url: &str, what: &str| {
        let text = fetch(url).unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    };
    said(&format!("http://{address}/other"), "404");
    said("http://127.0.0.1:1", "cannot be reached");
    said("gopher://x", "is not a URL");
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", mute.local_addr().unwrap()), ["http", "https"]);
    let (url, patience) = (url.unwrap(), Duration::from_millis(50));
    let late = Source::Directory { url, patience, least: Least::new(&Settings::default()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(late.fetch()).unwrap_err();
    assert!(matches!(error, DirectoryError::Late(..)), "{error}");
}
