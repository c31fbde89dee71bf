//! Traffic for a world: real Sphinx packets along random routes, and what must become of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use chacha20::ChaCha8Rng;
use phix_engine::shard::Origin;
use phix_engine::units::{Span, Time};
use phix_engine::wire::address;
use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use rand::{Rng, RngExt};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::{PublicKey, StaticSecret};

/// One packet that was sent into a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its number, which its message carries.
    pub number: u32,
    /// Position of the node where it ends.
    pub last: usize,
    /// How many hops it passes, the last one included.
    pub hops: usize,
    /// When its sender sends it.
    pub sent: Time,
    /// The delays that its header asks for, added up.
    pub delay: Span,
}

/// The address of the node at `index` in a world.
pub(crate) fn node_address(index: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, index as u8 + 1)), 1789)
}

/// A packet that a node's client hands to it.
#[derive(Debug)]
pub(crate) struct OwnPacket {
    first: SocketAddr,
    packet: Vec<u8>,
}

impl OwnPacket {
    pub(crate) fn origin(&self) -> Origin<'_> {
        let Self { first, packet } = self;
        Origin { next_hop: *first, rotation: KeyRotation::Unknown, packet }
    }
}

/// Draws one packet for a client to hand to its node, and what is expected of it.
pub(crate) fn own(
    random: &mut ChaCha8Rng,
    keys: &[[u8; 32]],
    number: u32,
    sent: Time,
    delay_max: Span,
) -> (OwnPacket, Expected) {
    let (first, packet, expected) = sphinx(random, keys, number, sent, delay_max);
    (OwnPacket { first: node_address(first), packet }, expected)
}

/// Draws one packet: its first hop, its frame, and what is expected of it.
pub(crate) fn packet(
    random: &mut ChaCha8Rng,
    keys: &[[u8; 32]],
    number: u32,
    sent: Time,
    delay_max: Span,
) -> (usize, Vec<u8>, Expected) {
    let (first, packet, expected) = sphinx(random, keys, number, sent, delay_max);
    (first, framed(random, &packet), expected)
}

fn sphinx(
    random: &mut ChaCha8Rng,
    keys: &[[u8; 32]],
    number: u32,
    sent: Time,
    delay_max: Span,
) -> (usize, Vec<u8>, Expected) {
    let hops = random.random_range(1..=5);
    let path: Vec<usize> = (0..hops).map(|_| random.random_range(0..keys.len())).collect();
    let route: Vec<Node> = path
        .iter()
        .map(|&node| {
            let to = NodeAddressBytes::from_bytes(address::encode(node_address(node)));
            Node::new(to, PublicKey::from(keys[node]))
        })
        .collect();
    let delays: Vec<u64> =
        path.iter().map(|_| random.random_range(0..=delay_max.as_nanos())).collect();
    let size = PacketSize::ALL[random.random_range(0..2)];
    let packet = build(random, size, number, &route, &delays);
    let delay = Span::from_nanos(delays[..hops - 1].iter().sum());
    (path[0], packet, Expected { number, last: path[hops - 1], hops, sent, delay })
}

/// Draws one packet for the node with this key, which is to send it on to an address where nobody
/// is. Each number has an address of its own.
pub(crate) fn astray(
    random: &mut ChaCha8Rng,
    key: [u8; 32],
    number: u32,
    delay_max: Span,
) -> Vec<u8> {
    let nobody = SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0001 + number).into(), 1789);
    let node = |to, key| {
        let to = NodeAddressBytes::from_bytes(address::encode(to));
        Node::new(to, PublicKey::from(key))
    };
    let route = [node(node_address(0), key), node(nobody, [77; 32])];
    let delays = [random.random_range(0..=delay_max.as_nanos()), 0];
    let packet = build(random, PacketSize::Regular, number, &route, &delays);
    framed(random, &packet)
}

fn build(
    random: &mut ChaCha8Rng,
    size: PacketSize,
    number: u32,
    route: &[Node],
    delays: &[u64],
) -> Vec<u8> {
    let mut secret = [0; 32];
    random.fill_bytes(&mut secret);
    SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .with_initial_secret(&StaticSecret::from(secret))
        .build_packet(
            number.to_be_bytes(),
            route,
            &Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]),
            &delays.iter().map(|&delay| Delay::from_bytes(delay.to_be_bytes())).collect::<Vec<_>>(),
        )
        .expect("a route of one to five hops and a message of four bytes")
        .to_bytes()
}

/// The packet behind a frame header of either version.
fn framed(random: &mut ChaCha8Rng, packet: &[u8]) -> Vec<u8> {
    let size = PacketSize::from_packet_len(packet.len()).expect("built with one of the sizes");
    let header = match random.random_bool(0.5) {
        true => FrameHeader::legacy(size),
        false => FrameHeader::current(size, KeyRotation::Unknown),
    };
    let mut head = [0; FRAME_HEADER_MAX];
    let front = header.write(&mut head);
    [&head[..front], packet].concat()
}
