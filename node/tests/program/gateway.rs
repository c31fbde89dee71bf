//! A gateway as a process: what it acknowledged is there after it was killed.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use phix_client::topology::Hop;
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};

use crate::clients::{Client, acknowledged, factory, packet, text};
use crate::common::{Node, Running, refused};
use crate::path::{row, send};

pub(crate) const ENTRY: [&str; 6] =
    ["--role", "entry", "--entry", "127.0.0.1:0", "--free-bandwidth", "true"];

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The rest of a line that the running node says, once it says it.
pub(crate) fn said(running: &mut Running, begin: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(running.out.read_line(&mut line).unwrap() > 0, "it ended before {begin:?}");
        if let Some(rest) = line.trim_end().strip_prefix(begin) {
            return rest.to_owned();
        }
    }
}

/// Where clients connect to a node that has just become a gateway.
pub(crate) fn entry_of(running: &mut Running) -> SocketAddr {
    said(running, "clients on ws://").parse().unwrap()
}

pub(crate) fn hop(node: &Node, running: &Running) -> Hop {
    let keys = phix_node::keys::load(&node.dir.join("keys")).unwrap();
    Hop { node: 0, address: running.address(), key: keys.sphinx.0 }
}

pub(crate) fn identity(node: &Node) -> ed25519_dalek::VerifyingKey {
    phix_node::keys::load(&node.dir.join("keys")).unwrap().signing.verifying_key()
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_is_delivered_once() {
    const PACKETS: u32 = 200;
    const ACKNOWLEDGED: usize = 60;
    let (node, runtime) = (Node::new(), runtime());
    let mut running = Running::start(&mut node.phix("run", &ENTRY));
    let entry = entry_of(&mut running);
    let mut client = runtime.block_on(async {
        let mut client = Client::register(entry, identity(&node)).await;
        client.leave().await;
        client
    });
    let first_hop = TcpListener::bind("127.0.0.1:0").unwrap();
    let (route, mut factory) = ([hop(&node, &running)], factory(Duration::ZERO));
    let ack_hop = first_hop.local_addr().unwrap();
    let packets: Vec<_> = (0..PACKETS)
        .map(|number| packet(&mut factory, &route, client.id(), number, ack_hop))
        .collect();
    let _open = send(&packets, running.address());
    let acknowledged: BTreeSet<u32> = acknowledged(&first_hop, ACKNOWLEDGED).into_iter().collect();
    running.kill();
    assert_eq!(acknowledged.len(), ACKNOWLEDGED);

    let mut running = Running::start(&mut node.phix("run", &ENTRY));
    let entry = entry_of(&mut running);
    let mut delivered = BTreeSet::new();
    runtime.block_on(async {
        client.come_back(entry).await;
        while !acknowledged.is_subset(&delivered) {
            let message = client.delivered().await;
            let number = u32::from_be_bytes(*message.first_chunk().unwrap());
            assert_eq!(message, text(number), "as it was stored");
            assert!(delivered.insert(number), "{number} comes once");
        }
        client.leave().await;
    });
    let report = running.stop(Signal::TERM);
    assert_eq!(row(&report, "received"), 0, "{report}");
}

/// What a gateway has mixed in the last layer may be for a client of its own.
#[test]
fn a_packet_may_have_the_same_node_for_its_last_mix_and_its_gateway() {
    let (node, runtime) = (Node::new(), runtime());
    let mut running = Running::start(&mut node.phix("run", &ENTRY));
    let entry = entry_of(&mut running);
    let mut client = runtime.block_on(Client::register(entry, identity(&node)));
    let first_hop = TcpListener::bind("127.0.0.1:0").unwrap();
    let (route, mut factory) =
        ([hop(&node, &running), hop(&node, &running)], factory(Duration::ZERO));
    let letter = packet(&mut factory, &route, client.id(), 7, first_hop.local_addr().unwrap());
    let _open = send([&letter], running.address());
    let message = runtime.block_on(client.delivered());
    assert_eq!(message, text(7));
}

#[test]
fn a_gateway_without_an_address_for_clients_is_refused() {
    let node = Node::new();
    refused(&mut node.phix("run", &["--role", "mix", "--role", "entry"]), &["set `entry`"]);
    refused(&mut node.phix("run", &["--role", "gateway"]), &["--roles", "\"entry\""]);
    node.set("roles", "[\"mix\", \"exit\"]");
    refused(&mut node.phix("run", &[]), &["the role exit", "set `entry`"]);
}
