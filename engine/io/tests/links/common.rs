//! What the tests share: servers, packets with known outcomes, next hops.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phix_engine::counters::Counters;
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, Delivery, FinalHops, Keys, NodeKey, Sink, Undelivered};
use phix_engine::wire::address;
use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::Noise;
use phix_io::{LinkChoice, LinkKind, PeerLimits, Refuse, Server, ServerConfig, StopReport, plan};
use sphinx_packet::crypto::PrivateKey;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SphinxPacketBuilder};
use x25519_dalek::PublicKey;

pub(crate) const SECRET: [u8; 32] = [0x42; 32];

/// The links that this machine has. What is missing is said aloud.
pub(crate) fn links() -> Vec<LinkChoice> {
    let found = plan(LinkChoice::Auto).expect("auto never refuses");
    if found.kind == LinkKind::Uring {
        return vec![LinkChoice::Epoll, LinkChoice::Uring];
    }
    // Written past the capture of the test harness: it must be seen when tests pass, too.
    let _ = writeln!(io::stderr(), "ATTENTION: NOT TESTED over io_uring. {}", found.reason);
    vec![LinkChoice::Epoll]
}

/// Runs a test over each link, at the same time.
pub(crate) fn each(test: impl Fn(LinkChoice) + Sync) {
    let links = links();
    let ran = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for &link in &links {
            let (test, ran) = (&test, &ran);
            scope.spawn(move || {
                test(link);
                ran.lock().unwrap().push(link);
            });
        }
    });
    let ran = ran.into_inner().unwrap();
    assert!(links.iter().all(|link| ran.contains(link)), "the test ran over each of {links:?}");
}

pub(crate) fn config(link: LinkChoice) -> ServerConfig {
    ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: 1,
        pin: false,
        link,
        source: None,
        connections_max: 64,
        peers: PeerLimits::default(),
        noise: Noise::default(),
        drain: Duration::from_secs(2),
        shard: Config {
            capacity: [256, 4096, 64, 64, 128],
            batch: 16,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Drop,
            kernels: PORTABLE,
            seed: [0; 32],
        },
    }
}

pub(crate) fn keys() -> Keys {
    let replay = Arc::new(ReplayFilter::new(100_000, [1; 32]));
    let secret = NodeSecret::from_bytes(SECRET);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Keys { primary, secondary: None }
}

pub(crate) fn start(config: ServerConfig) -> Server {
    start_with(config, |_| Refuse)
}

pub(crate) fn start_with<S: Sink + Send + 'static>(
    config: ServerConfig,
    sinks: impl FnMut(usize) -> S,
) -> Server {
    let wanted = config.link;
    let server = Server::start(config, keys(), sinks).unwrap_or_else(|error| panic!("{error}"));
    let kind = if wanted == LinkChoice::Uring { LinkKind::Uring } else { LinkKind::Epoll };
    assert_eq!(server.link().kind, kind, "{}", server.link().reason);
    server
}

/// Collects delivered messages.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(pub(crate) Arc<Mutex<Vec<Vec<u8>>>>);

impl Sink for Mailbox {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = phix_engine::sphinx::final_message(delivery.payload);
        self.0.lock().unwrap().push(message.ok_or(Undelivered::Malformed)?.to_vec());
        Ok(())
    }
}

/// A packet for the server, and what it must send on.
pub(crate) struct Built {
    pub(crate) packet: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

/// A packet that the server is to send to `to` after `delay`.
pub(crate) fn build(to: SocketAddr, delay: Duration, size: PacketSize) -> Built {
    let packet = sphinx(Some((to, delay)), size, b"to be forwarded");
    let processed = SphinxPacket::from_bytes(&packet).unwrap();
    let processed = processed.process(&PrivateKey::from(SECRET)).unwrap();
    let ProcessedPacketData::ForwardHop { next_hop_packet, .. } = processed.data else {
        panic!("a packet with a next hop is forwarded");
    };
    Built { packet, expected: next_hop_packet.to_bytes() }
}

/// Packets of the usual size, to be sent on at once.
pub(crate) fn several(count: usize, to: SocketAddr) -> Vec<Built> {
    (0..count).map(|_| build(to, Duration::ZERO, PacketSize::Regular)).collect()
}

/// A packet that goes to `to`, or ends at the server.
pub(crate) fn sphinx(
    to: Option<(SocketAddr, Duration)>,
    size: PacketSize,
    message: &[u8],
) -> Vec<u8> {
    let public = NodeSecret::from_bytes(SECRET).public();
    let own = NodeAddressBytes::from_bytes([4; 32]);
    let mut route = vec![Node::new(own, PublicKey::from(public))];
    let mut delays = Vec::new();
    if let Some((to, delay)) = to {
        let next = NodeAddressBytes::from_bytes(address::encode(to));
        route.push(Node::new(next, PublicKey::from([77; 32])));
        delays.push(Delay::new_from_nanos(delay.as_nanos() as u64));
    }
    delays.push(Delay::new_from_nanos(0));
    let destination = Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]);
    let message = &message[..message.len().min(size.message_len())];
    SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .build_packet(message, &route, &destination, &delays)
        .unwrap()
        .to_bytes()
}

pub(crate) fn frame(packet: &[u8], version: FrameVersion) -> Vec<u8> {
    let size = PacketSize::from_packet_len(packet.len()).unwrap();
    let mut head = [0; FRAME_HEADER_MAX];
    let header = FrameHeader { version, size, rotation: KeyRotation::Unknown };
    let front = header.write(&mut head);
    [&head[..front], packet].concat()
}

/// The packets as one stream of frames.
pub(crate) fn stream(packets: &[Built]) -> Vec<u8> {
    packets.iter().flat_map(|built| frame(&built.packet, FrameVersion::Current)).collect()
}

pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends all packets over one connection that stays open.
pub(crate) fn send(server: &Server, packets: &[Built]) -> TcpStream {
    let mut connection = connect(server);
    connection.write_all(&stream(packets)).unwrap();
    connection
}

/// A next hop on an address of its own, so that no other test gets its port.
pub(crate) fn hop() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A next hop, its address, and a server of the usual kind.
pub(crate) fn relay(link: LinkChoice) -> (TcpListener, SocketAddr, Server) {
    let hop = hop();
    let to = hop.local_addr().unwrap();
    (hop, to, start(config(link)))
}

/// An address where nothing listens. Each call has a host of its own.
pub(crate) fn nowhere(host: u8, link: LinkChoice) -> SocketAddr {
    let ip = IpAddr::from([127, 0, 1 + u8::from(link == LinkChoice::Uring), host]);
    let listener = TcpListener::bind(SocketAddr::new(ip, 0)).unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn accept(hop: &TcpListener) -> TcpStream {
    let (stream, _) = hop.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads frames of `version`; gives back their packets.
pub(crate) fn read(from: &mut TcpStream, count: usize, version: FrameVersion) -> Vec<Vec<u8>> {
    (0..count).map(|_| read_one(from, version)).collect()
}

fn read_one(from: &mut TcpStream, version: FrameVersion) -> Vec<u8> {
    let mut head = vec![0; version.header_len()];
    from.read_exact(&mut head).unwrap();
    assert_eq!(head[0], version.byte());
    let size = PacketSize::from_tag(head[1]).unwrap();
    let mut packet = vec![0; size.packet_len()];
    from.read_exact(&mut packet).unwrap();
    let mut expected = vec![0; head.len()];
    FrameHeader { version, size, rotation: KeyRotation::Unknown }.write(&mut expected);
    assert_eq!(head, expected);
    packet
}

/// Asserts that exactly these packets came, in whatever order.
pub(crate) fn assert_same(mut got: Vec<Vec<u8>>, sent: &[Built]) {
    let mut expected: Vec<Vec<u8>> = sent.iter().map(|built| built.expected.clone()).collect();
    got.sort();
    expected.sort();
    assert!(got == expected, "{} packets came, {} expected", got.len(), expected.len());
}

/// Waits until the counts of the server are as wanted.
pub(crate) fn until(server: &Server, what: &str, wanted: impl Fn(&Counters) -> bool) {
    let start = Instant::now();
    while !wanted(&server.counters()) {
        let late = start.elapsed() > Duration::from_secs(20);
        assert!(!late, "{what}: {:?} {:?}", server.counters(), server.held());
        assert_eq!(server.failed(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the other side has closed the connection.
pub(crate) fn is_closed(connection: &mut TcpStream) -> bool {
    match connection.read(&mut [0; 16]) {
        Ok(0) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        Ok(_) => panic!("a server never sends on connections in"),
    }
}

/// Every packet that came in is accounted for.
pub(crate) fn assert_balance(report: &StopReport) {
    let c = &report.counters;
    assert_eq!(c.received, c.forwarded + c.delivered + c.dropped_total(), "{c:?}");
}
