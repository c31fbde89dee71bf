use std::net::SocketAddr;

use nym_gateway_requests::{BinaryRequest, BinaryResponse};
use nym_sphinx_addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx_forwarding::packet::MixPacket;
use nym_sphinx_params::{PacketType, SphinxKeyRotation};
use nym_sphinx_types::NymPacket;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::gateway::binary::{Forward, open_pushed, seal_pushed};
use phix_proto::gateway::{CURRENT_VERSION, OLDEST_VERSION};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::shared;

const HOPS: [&str; 3] = ["192.0.2.1:1789", "[2001:db8::1]:65535", "127.0.0.1:1"];

const ROTATIONS: [(KeyRotation, SphinxKeyRotation); 3] = [
    (KeyRotation::Unknown, SphinxKeyRotation::Unknown),
    (KeyRotation::Odd, SphinxKeyRotation::OddRotation),
    (KeyRotation::Even, SphinxKeyRotation::EvenRotation),
];

/// Whatever bytes these are, their length makes them a packet; only its group element has to be
/// one, and every string of 32 bytes is.
fn packet(size: PacketSize) -> Vec<u8> {
    let mut packet = vec![0; size.packet_len()];
    StdRng::seed_from_u64(size.index() as u64).fill_bytes(&mut packet);
    packet
}

#[test]
fn our_packets_are_read_by_theirs() {
    let key = shared(3);
    for (size, hop) in PacketSize::ALL.into_iter().zip(HOPS.into_iter().cycle()) {
        for (ours, theirs) in ROTATIONS {
            for version in OLDEST_VERSION..=CURRENT_VERSION {
                let (hop, packet): (SocketAddr, _) = (hop.parse().unwrap(), packet(size));
                let forward = Forward::new(hop, ours, &packet).unwrap();
                let sealed = forward.seal(version, &key.ours, &[4; 12]);
                let read = BinaryRequest::try_from_encrypted_tagged_bytes(sealed, &key.theirs);
                let (read, rotation) = match read.unwrap() {
                    BinaryRequest::ForwardSphinx { packet } => (packet, SphinxKeyRotation::Unknown),
                    BinaryRequest::ForwardSphinxV2 { packet } => (packet, theirs),
                    _ => panic!("it is neither kind of packet"),
                };
                assert_eq!(read.next_hop_address(), hop);
                assert_eq!(read.key_rotation(), rotation);
                assert_eq!(read.packet_type(), PacketType::Mix);
                assert_eq!(read.into_packet().to_bytes().unwrap(), packet);
            }
        }
    }
}

#[test]
fn their_packets_are_read_by_ours() {
    let key = shared(3);
    for (size, hop) in PacketSize::ALL.into_iter().zip(HOPS.into_iter().cycle()) {
        for (ours, theirs) in ROTATIONS {
            let (hop, bytes): (SocketAddr, _) = (hop.parse().unwrap(), packet(size));
            let make = || {
                let packet = NymPacket::sphinx_from_bytes(&bytes).unwrap();
                let hop = NymNodeRoutingAddress::from(hop);
                MixPacket::new(hop, packet, PacketType::Mix, theirs)
            };
            let old = BinaryRequest::ForwardSphinx { packet: make() };
            let new = BinaryRequest::ForwardSphinxV2 { packet: make() };
            for (request, rotation) in [(old, KeyRotation::Unknown), (new, ours)] {
                let mut sealed = request.into_encrypted_tagged_bytes(&key.theirs).unwrap();
                let read = Forward::open(&key.ours, &mut sealed).unwrap();
                assert_eq!(read.next_hop, hop);
                assert_eq!(read.rotation, rotation);
                assert_eq!(read.size, size);
                assert_eq!(read.packet, bytes);
            }
        }
    }
}

#[test]
fn pushed_messages_are_read_by_the_other() {
    let key = shared(6);
    for len in [0, 21, 1643, 32_768] {
        let message = vec![0x5a; len];
        let sealed = seal_pushed(&key.ours, &[1; 12], &message);
        let read = BinaryResponse::try_from_encrypted_tagged_bytes(sealed, &key.theirs).unwrap();
        let BinaryResponse::PushedMixMessage { message: read } = read else {
            panic!("it is a pushed message");
        };
        assert_eq!(read, message);
        let theirs = BinaryResponse::PushedMixMessage { message: message.clone() };
        let mut sealed = theirs.into_encrypted_tagged_bytes(&key.theirs).unwrap();
        assert_eq!(open_pushed(&key.ours, &mut sealed), Ok(&message[..]));
    }
}
