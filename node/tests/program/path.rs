//! Packets through nodes that run as processes of their own, to a receiving end in this one.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use phix_client::packet::{Factory, Packet, PacketConfig};
use phix_client::topology::Hop;
use phix_engine::counters::Counters;
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, Delivery, FinalHops, Keys, NodeKey, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::{LinkChoice, PeerLimits, Server, ServerConfig};
use rustix::process::Signal;

use crate::common::{Node, PATIENCE, Running, done, has, phix};
use crate::gateway::hop;

/// The client that all packets are for.
pub(crate) const DESTINATION: [u8; 32] = [7; 32];

/// Hands what arrives to the test.
struct Letters(SyncSender<Vec<u8>>);

impl Sink for Letters {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        assert_eq!(*delivery.destination, DESTINATION);
        let message = final_message(delivery.payload).expect("a message of this test").to_vec();
        self.0.send(message).map_err(|_| Undelivered::NoRoom)
    }
}

/// Where every route ends.
pub(crate) struct End {
    server: Server,
    secret: NodeSecret,
    pub(crate) inbox: Receiver<Vec<u8>>,
}

impl End {
    pub(crate) fn start() -> Self {
        let secret = NodeSecret::from_bytes([9; 32]);
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            shards: 1,
            pin: false,
            link: LinkChoice::Auto,
            source: None,
            connections_max: 16,
            peers: PeerLimits::default(),
            noise: phix_io::noise::Noise::default(),
            drain: Duration::ZERO,
            shard: Config {
                // Whatever comes at once, while nobody takes the messages: what finds no room is lost.
                capacity: [64, 4096, 64, 64, 64],
                batch: 8,
                frames: FrameVersion::Current,
                final_hops: FinalHops::Deliver,
                kernels: PORTABLE,
                seed: [0; 32],
            },
        };
        let replay = Arc::new(ReplayFilter::new(100_000, [1; 32]));
        let primary = NodeKey { rotation: KeyRotation::Unknown, secret: secret.clone(), replay };
        let (letters, inbox) = sync_channel(100);
        let keys = Keys { primary, secondary: None };
        let server = Server::start(config, keys, |_| Letters(letters.clone())).unwrap();
        Self { server, secret, inbox }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// It as the last hop of a route.
    pub(crate) fn hop(&self) -> Hop {
        Hop { node: 0, address: self.address(), key: self.secret.public() }
    }

    /// What it has received and dropped, for those who miss something.
    pub(crate) fn stop(self) -> Counters {
        self.server.stop().counters
    }

    /// The next `count` messages, in any order, sorted.
    pub(crate) fn messages(&self, count: usize) -> Vec<Vec<u8>> {
        let next = |_| self.inbox.recv_timeout(PATIENCE).expect("another message arrives");
        let mut messages: Vec<_> = (0..count).map(next).collect();
        messages.sort_unstable();
        messages
    }
}

pub(crate) fn route(nodes: &[(Node, Running)], end: &End) -> Vec<Hop> {
    nodes.iter().map(|(node, running)| hop(node, running)).chain([end.hop()]).collect()
}

pub(crate) fn send<'a>(packets: impl IntoIterator<Item = &'a Packet>, to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    packets.into_iter().for_each(|packet| stream.write_all(&packet.frame).unwrap());
    stream
}

/// The number in a row of the report.
pub(crate) fn row(report: &str, name: &str) -> u64 {
    let rest = report.lines().find_map(|line| line.trim().strip_prefix(name));
    rest.unwrap_or_else(|| panic!("no {name} in {report}")).trim().parse().unwrap()
}

/// The sum of a row over the reports of several nodes that have one output.
pub(crate) fn rows(reports: &str, name: &str) -> u64 {
    let found = reports.lines().filter_map(|line| line.trim().strip_prefix(name));
    found.filter_map(|rest| rest.trim().parse::<u64>().ok()).sum()
}

fn three_nodes(link: &str) {
    if !has(link) {
        return;
    }
    let nodes: Vec<(Node, Running)> = (0..3)
        .map(|_| {
            let node = Node::new();
            let running = Running::start(&mut node.phix("run", &["--link", link]));
            (node, running)
        })
        .collect();
    let end = End::start();
    let route = route(&nodes, &end);
    let mean_delay = Duration::from_millis(5);
    let mut factory = Factory::new(PacketConfig { mean_delay, ..PacketConfig::default() });
    let mut build = |i: u8| factory.build(&[i; 100], &route, DESTINATION).unwrap();
    let mut packets: Vec<Packet> = (0..20).map(&mut build).collect();
    packets.push(packets[3].clone());
    let mut spoiled = build(0);
    *spoiled.frame.last_mut().unwrap() ^= 1;
    let at = spoiled.frame.len() - 2_200;
    spoiled.frame[at] ^= 1;
    packets.push(spoiled);
    let _open = send(&packets, route[0].address);
    let expected: Vec<Vec<u8>> = (0..20).map(|i| vec![i; 100]).collect();
    assert_eq!(end.messages(20), expected);
    for (index, (_node, running)) in nodes.into_iter().enumerate() {
        let report = running.stop(Signal::TERM);
        let (received, dropped) = if index == 0 { (22, 2) } else { (20, 0) };
        assert_eq!(row(&report, "received"), received, "{report}");
        assert_eq!(row(&report, "sent on"), 20, "{report}");
        assert_eq!(row(&report, "dropped"), dropped, "{report}");
        if index == 0 {
            assert_eq!((row(&report, "replay"), row(&report, "header_mac")), (1, 1), "{report}");
        }
    }
}

/// Three nodes, each at an address of its own, that know each other's Noise keys. Who sends to the
/// first and receives from the last is no node, and is spoken to plainly.
fn in_noise(link: &str, pattern: &str) {
    if !has(link) {
        return;
    }
    let third = if pattern == "xk" { 70 } else { 71 } + u8::from(link == "epoll") * 2;
    let nodes = [1, 2, 3].map(|number| {
        let address = format!("127.0.{third}.{number}");
        let listen = format!("{address}:17{number}9");
        let settings = ["--listen", &listen, "--source", &address, "--noise-pattern", pattern];
        Node::with(&settings)
    });
    let peers = nodes[0].dir.join("peers.toml");
    let network = nodes[0].dir.join("topology.json");
    let [first, second, last] = nodes.each_ref().map(Node::path);
    let paths = [&network, &peers].map(|path| path.to_str().unwrap());
    let mut write = phix(&[
        "topology",
        "--layer1",
        first,
        "--layer2",
        second,
        "--layer3",
        last,
        "--gateway",
        last,
        "--out",
        paths[0],
        "--noise-peers",
        paths[1],
    ]);
    assert!(done(&write.output().unwrap()).contains("Noise keys"));
    let nodes: Vec<(Node, Running)> = nodes
        .into_iter()
        .map(|node| {
            let arguments = ["--link", link, "--noise-peers", peers.to_str().unwrap()];
            let running = Running::start(&mut node.phix("run", &arguments));
            (node, running)
        })
        .collect();
    let end = End::start();
    let route = route(&nodes, &end);
    let mut factory = Factory::new(PacketConfig {
        mean_delay: Duration::from_millis(5),
        ..PacketConfig::default()
    });
    let packets: Vec<Packet> =
        (0..20).map(|i| factory.build(&[i; 100], &route, DESTINATION).unwrap()).collect();
    let _open = send(&packets, route[0].address);
    assert_eq!(end.messages(20), (0..20).map(|i| vec![i; 100]).collect::<Vec<_>>());
    for ((_node, running), handshakes) in nodes.into_iter().zip([1, 2, 1]) {
        let report = running.stop(Signal::TERM);
        assert_eq!(row(&report, "received"), 20, "{report}");
        assert_eq!(row(&report, "sent on"), 20, "{report}");
        assert_eq!(row(&report, "Noise handshakes"), handshakes, "{report}");
        assert!(!report.contains("that failed"), "{report}");
    }
}

#[test]
fn packets_cross_three_nodes_in_noise() {
    in_noise("epoll", "xk");
    in_noise("io_uring", "xk");
}

#[test]
fn packets_cross_three_nodes_in_the_other_pattern() {
    in_noise("epoll", "ik");
    in_noise("io_uring", "ik");
}

#[test]
fn packets_cross_three_nodes_over_epoll() {
    three_nodes("epoll");
}

#[test]
fn packets_cross_three_nodes_over_io_uring() {
    three_nodes("io_uring");
}

/// Delays that outlast the wait for a status line by far, and no more than needed.
const HELD: std::ops::Range<u64> = 3_000_000_000..4_500_000_000;

fn drained(link: &str) {
    if !has(link) {
        return;
    }
    let node = Node::new();
    let arguments = ["--link", link, "--drain", "30s", "--status-interval", "1s"];
    let running = Running::start(&mut node.phix("run", &arguments));
    let mut nodes = [(node, running)];
    let end = End::start();
    let route = route(&nodes, &end);
    let mean_delay = Duration::from_nanos(HELD.start);
    let mut factory = Factory::new(PacketConfig { mean_delay, ..PacketConfig::default() });
    let mut build = |i: u8| loop {
        let packet = factory.build(&[i; 10], &route, DESTINATION).unwrap();
        if HELD.contains(&packet.delays.as_nanos()) {
            return packet;
        }
    };
    let packets: Vec<Packet> = (0..3).map(&mut build).collect();
    let _open = send(&packets, route[0].address);
    let [(_node, running)] = &mut nodes;
    let mut line = String::new();
    while !line.starts_with("3 packets received") {
        line.clear();
        running.out.read_line(&mut line).unwrap();
    }
    assert!(line.contains(" 0 sent on"), "they are held: {line}");
    let [(_node, running)] = nodes;
    let report = running.stop(Signal::TERM);
    assert_eq!(end.messages(3), [[0; 10], [1; 10], [2; 10]]);
    assert_eq!((row(&report, "sent on"), row(&report, "dropped")), (3, 0), "{report}");
}

#[test]
fn a_node_that_stops_sends_what_it_holds_over_epoll() {
    drained("epoll");
}

#[test]
fn a_node_that_stops_sends_what_it_holds_over_io_uring() {
    drained("io_uring");
}
