//! Traffic for a world: real Sphinx packets along random routes, and what must become of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use chacha20::ChaCha8Rng;
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

/// Draws one packet: its first hop, its frame, and what is expected of it.
pub(crate) fn packet(
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
    let frame = frame(random, size, number, &route, &delays);
    let delay = Span::from_nanos(delays[..hops - 1].iter().sum());
    (path[0], frame, Expected { number, last: path[hops - 1], hops, sent, delay })
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
    frame(random, PacketSize::Regular, number, &route, &delays)
}

fn frame(
    random: &mut ChaCha8Rng,
    size: PacketSize,
    number: u32,
    route: &[Node],
    delays: &[u64],
) -> Vec<u8> {
    let mut secret = [0; 32];
    random.fill_bytes(&mut secret);
    let packet = SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .with_initial_secret(&StaticSecret::from(secret))
        .build_packet(
            number.to_be_bytes(),
            route,
            &Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]),
            &delays.iter().map(|&delay| Delay::from_bytes(delay.to_be_bytes())).collect::<Vec<_>>(),
        )
        .expect("a route of one to five hops and a message of four bytes");
    let header = match random.random_bool(0.5) {
        true => FrameHeader::legacy(size),
        false => FrameHeader::current(size, KeyRotation::Unknown),
    };
    let mut head = [0; FRAME_HEADER_MAX];
    let front = header.write(&mut head);
    [&head[..front], &packet.to_bytes()].concat()
}
