//! A node whose directory gives it one role after the other, while it has packets to send on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use phix_client::topology::Hop;
use phix_proto::directory::epoch::{KeyRotationInfo, KeyRotationState};
use phix_proto::directory::nodes::{
    Metadata, Nodes, Page, Pagination, Role, SemiSkimmed, Skimmed, SupportedRoles,
};
use phix_proto::directory::{Performance, PublicKey, paths};
use rustix::process::Signal;
use serde::Serialize;
use time::OffsetDateTime;

use crate::clients::{Client, factory, packet, text};
use crate::common::{Node, Running};
use crate::gateway::{entry_of, hop, identity, runtime, said};
use crate::path::{DESTINATION, End, row, send};

/// The roles of epochs 0, 1 and 2; the last goes on.
const ROLES: [Role; 3] =
    [Role::Mixnode { layer: 1 }, Role::EntryGateway, Role::Mixnode { layer: 3 }];
const EPOCH: Duration = Duration::from_millis(600);

/// A directory as a node sees it: the node's identity, its peer, and an epoch that the test sets.
struct Directory {
    listener: TcpListener,
    node: [u8; 32],
    peer: SocketAddr,
    epoch: Arc<AtomicU32>,
}

impl Directory {
    fn serve(self) {
        for stream in self.listener.incoming().map_while(Result::ok) {
            self.answer(&stream);
        }
    }

    fn answer(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut request, mut length) = (String::new(), 0);
        reader.read_line(&mut request).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
        let (status, body) = match path {
            paths::KEY_ROTATION_INFO => ("200 OK", json(&self.info())),
            paths::SEMI_SKIMMED => ("200 OK", json(&self.nodes())),
            _ => ("404 Not Found", String::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len(),
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn info(&self) -> KeyRotationInfo {
        let state = KeyRotationState { validity_epochs: 24, initial_epoch_id: 0 };
        KeyRotationInfo::new(state, self.epoch(), OffsetDateTime::now_utc(), EPOCH)
    }

    fn nodes(&self) -> Nodes<SemiSkimmed> {
        let epoch = self.epoch();
        let node = |id: u32, identity, address: SocketAddr, role| SemiSkimmed {
            basic: Skimmed {
                node_id: id,
                ed25519_identity_pubkey: PublicKey(identity),
                ip_addresses: vec![address.ip()],
                mix_port: address.port(),
                x25519_sphinx_pubkey: PublicKey([3; 32]),
                role,
                supported_roles: SupportedRoles::default(),
                entry: None,
                performance: Performance::FULL,
            },
            x25519_noise_versioned_key: None,
        };
        let own = node(1, self.node, "127.0.0.1:9".parse().unwrap(), ROLES[epoch as usize]);
        let data = vec![own, node(2, [2; 32], self.peer, Role::Standby)];
        let metadata = Metadata {
            status: None,
            absolute_epoch_id: epoch,
            rotation_id: 0,
            refreshed_at: OffsetDateTime::UNIX_EPOCH,
        };
        let pagination = Pagination { total: 2, page: 0, size: 2 };
        Nodes { metadata, nodes: Page { pagination, data } }
    }
}

fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap()
}

/// Starts the node under a directory that names `peer` as the other node; gives the epoch as well,
/// which the test may change.
fn directed(node: &Node, peer: SocketAddr) -> (Running, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (epoch, node_key) = (Arc::new(AtomicU32::new(0)), identity(node).to_bytes());
    let directory = Directory { listener, node: node_key, peer, epoch: Arc::clone(&epoch) };
    thread::spawn(move || directory.serve());
    let mut settings = vec!["--role", "mix", "--role", "entry", "--assigned-roles", "true"];
    settings.extend(["--role-overlap", "0s", "--entry", "127.0.0.1:0", "--directory", &url]);
    settings.extend(["--drain", "30s", "--status-interval", "1s"]);
    (Running::start(&mut node.phix("run", &settings)), epoch)
}

#[test]
fn a_node_passes_from_role_to_role_and_loses_no_packet_that_it_holds() {
    const HELD: u8 = 60;
    let (node, runtime, end) = (Node::new(), runtime(), End::start());
    let peer = end.address();
    let (mut running, epoch) = directed(&node, peer);
    let own = hop(&node, &running);
    said(&mut running, "epoch 0: role mix node in layer 1");

    // Packets that it holds for three seconds on average, through two changes of roles.
    let through: [Hop; 2] = [own, end.hop()];
    let mut slow = factory(Duration::from_secs(3));
    let held: Vec<_> =
        (0..HELD).map(|i| slow.build(&[i; 64], &through, DESTINATION).unwrap()).collect();
    let mut quick = factory(Duration::ZERO);
    let early = packet(&mut quick, std::slice::from_ref(&own), [5; 32], 1, peer);
    let _open = send(held.iter().chain([&early]), running.address());

    said(&mut running, "61 packets received");

    epoch.store(1, Ordering::Relaxed);
    let entry = entry_of(&mut running);
    let client = runtime.block_on(async {
        let mut client = Client::register(entry, identity(&node)).await;
        let message = packet(&mut quick, std::slice::from_ref(&own), client.id(), 2, peer);
        let _open = send([&message], running.address());
        assert_eq!(client.delivered().await, text(2));
        client
    });
    epoch.store(2, Ordering::Relaxed);
    said(&mut running, "roles mix");
    said(&mut running, "clients are served no longer");
    let expected: Vec<Vec<u8>> = (0..HELD).map(|i| vec![i; 64]).collect();
    assert_eq!(end.messages(HELD.into()), expected);
    let late = packet(&mut quick, std::slice::from_ref(&own), client.id(), 3, peer);
    let _late = send([&late], running.address());
    said(&mut running, "63 packets received");
    let report = running.stop(Signal::TERM);
    assert_eq!(row(&report, "received"), u64::from(HELD) + 3, "{report}");
    assert_eq!(row(&report, "delivered"), 1, "{report}");
    assert_eq!(row(&report, "final_hop_refused"), 2, "{report}");
    // The acknowledgement of the one that was delivered, and all that were held.
    assert_eq!(row(&report, "originated"), 1, "{report}");
    assert_eq!(row(&report, "sent on"), u64::from(HELD) + 1, "{report}");
}
