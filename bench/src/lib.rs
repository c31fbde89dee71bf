//! What the benchmarks share: real packets, made by sphinx-packet, and timing.

pub mod build;
pub mod peel;
pub mod timing;

use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;

use phix_engine::crypto::{self, Kernels};
use phix_engine::secret::NodeSecret;
use phix_engine::wire::address;
use phix_engine::wire::geometry::PacketSize;
use x25519_dalek::PublicKey;

/// Hops of a packet as Nym clients build it: three mixes and the gateway.
pub const HOPS: usize = 4;

/// The engine's tiers, each first as it is and then as the programs run it, with the X25519 of
/// AWS-LC for lanes that stand alone; and what a table calls them.
pub fn contenders() -> Vec<(String, Kernels)> {
    let both = |(pure, whole): (Kernels, Kernels)| {
        [(pure.name.to_owned(), pure), (format!("{}+aws-lc", whole.name), whole)]
    };
    crypto::tiers().into_iter().zip(phix_io::crypto::tiers()).flat_map(both).collect()
}

/// `count` different packets of `size` whose first hop is `first`, each with the whole header
/// and payload work of a forward hop before it.
///
/// # Panics
/// If sphinx-packet cannot build them, which its bounds rule out.
pub fn packets(first: &NodeSecret, size: PacketSize, version: u16, count: usize) -> Vec<Vec<u8>> {
    let address = address::encode(([127, 0, 0, 1], 1789).into());
    let route: Vec<Node> = (0..HOPS)
        .map(|hop| {
            let key = if hop == 0 { first.clone() } else { NodeSecret::from_bytes([9; 32]) };
            Node::new(NodeAddressBytes::from_bytes(address), PublicKey::from(key.public()))
        })
        .collect();
    let delays = [const { Delay::new_from_nanos(0) }; HOPS];
    let destination = Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]);
    let builder = SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .with_version(Version::new(version));
    (0..count)
        .map(|_| {
            let message = vec![3; size.message_len()];
            let packet = builder.build_packet(message, &route, &destination, &delays);
            packet.expect("four hops and a message that fits").to_bytes()
        })
        .collect()
}
