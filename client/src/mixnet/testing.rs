//! A network for tests: the keys of its nodes, and what they do to a packet.

use std::net::SocketAddr;

use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::FinalPayload;
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use x25519_dalek::{PublicKey as X25519, StaticSecret};

use crate::keyfile::KeyKind;
use crate::topology::{Entry, Metadata, Node, PublicKey, SupportedRoles, Topology};

/// The node that is the gateway of all clients.
const GATEWAY: u8 = 7;

/// The seed of the gateway's identity.
pub(super) const GATEWAY_SEED: [u8; 32] = [GATEWAY; 32];

/// Time that sockets and nodes take, beyond the delays that packets ask for.
const TRAVEL: Span = Span::from_millis(2);

/// The gateway's identity.
pub(super) fn gateway() -> [u8; 32] {
    KeyKind::Identity.public(&GATEWAY_SEED)
}

fn secret(generation: u8, node: u8) -> StaticSecret {
    StaticSecret::from([generation * 16 + node; 32])
}

fn host(node: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, node], 1789))
}

/// Two mixes in each layer, and a gateway that clients reach at `clients`. Another generation has
/// other keys.
pub(super) fn topology(generation: u8, clients: SocketAddr) -> Topology {
    let node = |number: u8| Node {
        node_id: number.into(),
        mix_host: host(number),
        entry: (number == GATEWAY).then(|| Entry {
            ip_addresses: vec![clients.ip()],
            clients_ws_port: clients.port(),
            hostname: None,
            clients_wss_port: None,
        }),
        identity_key: PublicKey(KeyKind::Identity.public(&[number; 32])),
        sphinx_key: PublicKey(X25519::from(&secret(generation, number)).to_bytes()),
        supported_roles: SupportedRoles::default(),
    };
    let layers = [[1, 2], [3, 4], [5, 6]].map(|layer| layer.map(node).to_vec());
    let metadata = Metadata::now(generation.into(), generation.into());
    Topology::assemble(metadata, layers, vec![node(GATEWAY)]).unwrap()
}

/// A packet at the end of its way.
pub(super) struct Travelled {
    pub(super) destination: [u8; 32],
    /// What the client gets.
    pub(super) message: Vec<u8>,
    /// First hop and packet of the acknowledgement.
    pub(super) ack: Option<(SocketAddr, Vec<u8>)>,
    /// How long it took.
    pub(super) time: Span,
}

/// Takes a packet through the network; nothing if it was made for other keys.
pub(super) fn travel(generation: u8, first: SocketAddr, bytes: &[u8]) -> Option<Travelled> {
    let size = PacketSize::from_packet_len(bytes.len()).unwrap();
    let (mut next, mut packet) = (first, SphinxPacket::from_bytes(bytes).unwrap());
    let mut nanos = 0;
    loop {
        let node = (1..=GATEWAY).find(|node| host(*node) == next).unwrap();
        let processed = packet.process(&secret(generation, node)).ok()?;
        nanos += TRAVEL.as_nanos();
        match processed.data {
            ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } => {
                nanos += delay.to_nanos();
                next = address::parse(&next_hop_address.to_bytes()).unwrap();
                packet = next_hop_packet;
            }
            ProcessedPacketData::FinalHop { destination, payload, .. } => {
                let plain = payload.recover_plaintext().unwrap();
                let payload = FinalPayload::parse(size, &plain).unwrap();
                return Some(Travelled {
                    destination: destination.as_bytes(),
                    message: payload.message.to_vec(),
                    ack: payload.ack.map(|ack| (ack.first_hop, ack.packet.to_vec())),
                    time: Span::from_nanos(nanos),
                });
            }
        }
    }
}
