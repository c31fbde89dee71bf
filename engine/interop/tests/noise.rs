//! Noise: the stock software's initiator, a node of ours, and the stock software's responder, over
//! loopback sockets. Packets go in through one and come out through the other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nym_crypto::asymmetric::x25519;
use nym_noise::config::{
    NoiseConfig, NoiseNetworkView, NoiseNode, NoisePattern, NoiseVersion, VersionedNoiseKeyV1,
};
use nym_noise::{upgrade_noise_initiator, upgrade_noise_responder};
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::wire::address;
use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::{Noise, NoiseKey, Pattern, Plain};
use phix_io::{LinkChoice, PeerLimits, Refuse, Server, ServerConfig};
use sphinx_packet::crypto::PrivateKey;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::{ProcessedPacketData, SphinxPacketBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Packets that go through; several records of the stock initiator, which fills them.
const COUNT: usize = 60;
const FRAME: usize = 4 + 2413;
const LIMIT: Duration = Duration::from_secs(20);

/// Seeds of static keys, and the addresses by which nodes know each other.
const BEFORE: u8 = 2;
const OURS: u8 = 3;
const AFTER: u8 = 4;

fn host(number: u8, pattern: NoisePattern) -> IpAddr {
    IpAddr::from([127, 9, pattern as u8, number])
}

/// A stock end with the key of `own`, to which only our node is known.
fn stock(own: u8, pattern: NoisePattern) -> NoiseConfig {
    let pair = x25519::KeyPair::from(x25519::PrivateKey::from_secret([own; 32]));
    let ours = x25519::PrivateKey::from_secret([OURS; 32]).public_key();
    let key = VersionedNoiseKeyV1 { supported_version: NoiseVersion::V1, x25519_pubkey: ours };
    let node = (host(OURS, pattern), NoiseNode::new_nym_node(key));
    let view = NoiseNetworkView::new(HashMap::from([node]));
    NoiseConfig::new(Arc::new(pair), view, Duration::from_millis(1_500)).with_noise_pattern(pattern)
}

/// Our node, which speaks with the two stock ends, and with nobody in plain.
fn node(link: LinkChoice, pattern: NoisePattern) -> Server {
    let key = |own| NoiseKey::new(NodeSecret::from_bytes([own; 32]));
    let peers = [BEFORE, AFTER].map(|own| (host(own, pattern), *key(own).public()));
    let noise = Noise {
        key: Some(Arc::new(key(OURS))),
        pattern: match pattern {
            NoisePattern::IKpsk2 => Pattern::IkPsk2,
            _ => Pattern::XkPsk3,
        },
        peers: Arc::new(peers.into_iter().collect()),
        plain: Plain::Refused,
    };
    let config = ServerConfig {
        listen: SocketAddr::new(host(OURS, pattern), 0),
        shards: 1,
        pin: false,
        link,
        source: Some(host(OURS, pattern)),
        connections_max: 16,
        peers: PeerLimits::default(),
        noise,
        drain: Duration::from_secs(1),
        shard: Config {
            capacity: [16, 256, 4, 4, 4],
            batch: 16,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Drop,
            kernels: PORTABLE,
            seed: [0; 32],
        },
    };
    let primary = NodeKey {
        rotation: KeyRotation::Unknown,
        secret: NodeSecret::from_bytes([OURS; 32]),
        replay: Arc::new(ReplayFilter::new(1_000, [1; 32])),
    };
    let keys = Keys { primary, secondary: None };
    Server::start(config, keys, |_| Refuse).unwrap_or_else(|error| panic!("{error}"))
}

/// A frame for our node, and the packet that it must send to `to`.
fn build(to: SocketAddr) -> (Vec<u8>, Vec<u8>) {
    let secret = PrivateKey::from([OURS; 32]);
    let own = NodeAddressBytes::from_bytes([4; 32]);
    let next = NodeAddressBytes::from_bytes(address::encode(to));
    let route =
        [Node::new(own, (&secret).into()), Node::new(next, (&PrivateKey::from([9; 32])).into())];
    let destination = Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]);
    let packet = SphinxPacketBuilder::new()
        .with_payload_size(PacketSize::Regular.payload_len())
        .build_packet(b"through", &route, &destination, &[Delay::new_from_nanos(0); 2])
        .unwrap();
    let bytes = packet.to_bytes();
    let ProcessedPacketData::ForwardHop { next_hop_packet, .. } =
        packet.process(&secret).unwrap().data
    else {
        panic!("a packet with a next hop is forwarded");
    };
    let mut head = [0; FRAME_HEADER_MAX];
    FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown).write(&mut head);
    ([&head[..], &bytes].concat(), next_hop_packet.to_bytes())
}

async fn through(link: LinkChoice, pattern: NoisePattern) {
    let server = node(link, pattern);
    let hop = TcpListener::bind(SocketAddr::new(host(AFTER, pattern), 0)).await.unwrap();
    let (frames, mut expected): (Vec<_>, Vec<_>) =
        (0..COUNT).map(|_| build(hop.local_addr().unwrap())).unzip();
    let after = tokio::spawn(async move {
        let (stream, _) = hop.accept().await.unwrap();
        let config = stock(AFTER, pattern);
        let mut connection = upgrade_noise_responder(stream, &config).await.unwrap();
        assert!(connection.is_noise());
        let mut got = vec![0; COUNT * FRAME];
        connection.read_exact(&mut got).await.unwrap();
        got.chunks(FRAME).map(|frame| frame[4..].to_vec()).collect::<Vec<_>>()
    });
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(host(BEFORE, pattern), 0)).unwrap();
    let stream = socket.connect(server.address()).await.unwrap();
    let config = stock(BEFORE, pattern);
    let mut connection = upgrade_noise_initiator(stream, &config).await.unwrap();
    assert!(connection.is_noise());
    connection.write_all(&frames.concat()).await.unwrap();
    connection.flush().await.unwrap();
    let mut got = after.await.unwrap();
    got.sort();
    expected.sort();
    assert!(got == expected, "the stock responder reads what our node has sent");
    let counters = server.stop().counters;
    assert_eq!((counters.noise_handshakes, counters.noise_failed), (2, 0));
    assert_eq!((counters.forwarded, counters.forged), (COUNT as u64, 0));
}

fn run(pattern: NoisePattern) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    // Over whichever links this machine has; phix-io's own tests say aloud which those are.
    let mut links = vec![LinkChoice::Epoll];
    links.extend(phix_io::plan(LinkChoice::Uring).is_ok().then_some(LinkChoice::Uring));
    for link in links {
        let ran =
            runtime.block_on(async { tokio::time::timeout(LIMIT, through(link, pattern)).await });
        ran.unwrap_or_else(|_| panic!("nothing more comes, over {link:?}"));
    }
}

#[test]
fn packets_pass_between_stock_ends_in_the_usual_pattern() {
    run(NoisePattern::XKpsk3);
}

#[test]
fn packets_pass_between_stock_ends_in_the_other_pattern() {
    run(NoisePattern::IKpsk2);
}
