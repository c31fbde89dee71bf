//! A network of three mixes and two gateways, in which packets are taken through by hand, with the
//! stock crates' processing; and two clients, each in its stock form and in ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nym_crypto::asymmetric::{ed25519, x25519};
use nym_sphinx::acknowledgements::AckKey as StockAckKey;
use nym_sphinx::acknowledgements::surb_ack::SurbAck;
use nym_sphinx::addressing::clients::Recipient as StockRecipient;
use nym_sphinx::addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx::message::NymMessage;
use nym_sphinx::params::{PacketSize as StockSize, PacketType};
use nym_sphinx::preparer::MessagePreparer;
use nym_sphinx::{NymPacket, NymProcessedPacket, PrivateKey, ProcessedPacketData};
use nym_topology::{NymRouteProvider, NymTopology};
use phix_engine::crypto::PORTABLE;
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::build::Hop;
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    ClientKeys, FinalPayload, Fragment, Message, Packer, Packet, Parcel, Recipient, Routes,
    SurbFormat, split,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// The rotation of the network, which is odd.
const ROTATION: u32 = 7;
/// Nodes 1 to 3 mix, these two are gateways.
pub(crate) const GATEWAYS: [u8; 2] = [4, 5];

pub(crate) struct World {
    pub(crate) topology: NymRouteProvider,
    nodes: BTreeMap<SocketAddr, NodeSecret>,
}

/// A client in both forms.
pub(crate) struct Client {
    pub(crate) keys: ClientKeys,
    pub(crate) recipient: Recipient,
    pub(crate) stock_recipient: StockRecipient,
    pub(crate) stock_ack: StockAckKey,
    pub(crate) stock_encryption: x25519::PrivateKey,
}

/// What a packet brought to its last hop.
pub(crate) struct Arrived {
    pub(crate) destination: [u8; 32],
    pub(crate) plaintext: Vec<u8>,
    /// The last hop.
    pub(crate) at: SocketAddr,
}

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn host(node: u8) -> SocketAddr {
    format!("192.0.2.{node}:1789").parse().unwrap()
}

fn secret(node: u8) -> NodeSecret {
    NodeSecret::from_bytes([node; 32])
}

fn identity(node: u8) -> [u8; 32] {
    *ed25519_dalek::SigningKey::from_bytes(&[node; 32]).verifying_key().as_bytes()
}

fn hop(node: u8) -> Hop {
    Hop {
        address: address::encode(host(node)),
        public_key: secret(node).public(),
        delay: Span::from_millis(node.into()),
    }
}

/// The way to `gateway`.
pub(crate) fn route(gateway: u8) -> [Hop; 4] {
    [1, 2, 3, gateway].map(hop)
}

impl World {
    pub(crate) fn new() -> Self {
        let node = |id: u8| {
            let gateway = GATEWAYS.contains(&id);
            let entry = json!({
                "ip_addresses": [host(id).ip()], "clients_ws_port": 9000,
                "hostname": null, "clients_wss_port": null,
            });
            json!({
                "node_id": id, "mix_host": host(id),
                "entry": if gateway { entry } else { Value::Null },
                "identity_key": identity(id), "sphinx_key": secret(id).public(),
                "supported_roles": {
                    "mixnode": !gateway, "mixnet_entry": gateway, "mixnet_exit": gateway,
                },
            })
        };
        let topology = json!({
            "metadata": {
                "key_rotation_id": ROTATION, "absolute_epoch_id": 1,
                "refreshed_at": "2026-01-01T00:00:00Z",
            },
            "rewarded_set": {
                "epoch_id": 1, "entry_gateways": GATEWAYS, "exit_gateways": GATEWAYS,
                "layer1": [1], "layer2": [2], "layer3": [3], "standby": [],
            },
            "node_details": {
                "1": node(1), "2": node(2), "3": node(3), "4": node(4), "5": node(5),
            },
        });
        let topology: NymTopology = serde_json::from_value(topology).expect("it is a topology");
        let nodes = (1..=5).map(|id| (host(id), secret(id))).collect();
        Self { topology: topology.into(), nodes }
    }

    /// Takes a packet through all its hops.
    pub(crate) fn walk(&self, first_hop: SocketAddr, packet: NymPacket) -> Arrived {
        let (mut at, mut packet) = (first_hop, packet);
        loop {
            let key = PrivateKey::from(*self.nodes[&at].as_bytes());
            let NymProcessedPacket::Sphinx(processed) = packet.process(&key).expect("it is for it")
            else {
                panic!("all packets are Sphinx packets");
            };
            match processed.data {
                ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, .. } => {
                    at = NymNodeRoutingAddress::try_from(next_hop_address).unwrap().into();
                    packet = NymPacket::Sphinx(next_hop_packet);
                }
                ProcessedPacketData::FinalHop { destination, payload, .. } => {
                    let plaintext = payload.recover_plaintext().unwrap();
                    return Arrived { destination: destination.as_bytes(), plaintext, at };
                }
            }
        }
    }

    pub(crate) fn walk_ours(&self, packet: &Packet) -> Arrived {
        assert_eq!(packet.rotation, KeyRotation::from_id(ROTATION));
        self.walk(packet.first_hop, NymPacket::sphinx_from_bytes(&packet.bytes).unwrap())
    }

    /// Takes apart what a gateway got, as it does and as ours does, which must agree: the message,
    /// and what the acknowledgement brings to where it goes.
    pub(crate) fn at_gateway(&self, size: PacketSize, arrived: &Arrived) -> (Vec<u8>, Arrived) {
        let ours = FinalPayload::parse(size, &arrived.plaintext).expect("it is well formed");
        let ack = ours.ack.expect("it brings an acknowledgement");
        let len = arrived.plaintext.len() - ours.message.len();
        assert_eq!(len, SurbAck::len(None));
        let stock_part = &arrived.plaintext[..len];
        let (hop, packet) =
            SurbAck::try_recover_first_hop_packet(stock_part, PacketType::Mix).unwrap();
        assert_eq!(SocketAddr::from(hop), ack.first_hop);
        assert_eq!(packet.to_bytes().unwrap(), ack.packet);
        (ours.message.to_vec(), self.walk(ack.first_hop, packet))
    }
}

impl Client {
    pub(crate) fn new(seed: u64, gateway: u8) -> Self {
        let keys = ClientKeys::generate(&mut rng(seed));
        let recipient = keys.recipient(identity(gateway)).unwrap();
        let stock_recipient = StockRecipient::try_from_bytes(recipient.to_bytes()).unwrap();
        let stock_ack = StockAckKey::try_from_bytes(keys.ack().as_bytes()).unwrap();
        let encryption = keys.encryption().to_bytes();
        let stock_encryption = x25519::PrivateKey::from_bytes(&encryption).unwrap();
        let stock_identity = ed25519::PublicKey::from_bytes(recipient.identity()).unwrap();
        assert_eq!(*stock_recipient.identity(), stock_identity);
        Self { keys, recipient, stock_recipient, stock_ack, stock_encryption }
    }

    pub(crate) fn packer(&self, format: SurbFormat) -> Packer {
        Packer::new(PORTABLE, self.recipient, self.keys.ack().clone(), format)
    }

    pub(crate) fn preparer(&self, seed: u64) -> MessagePreparer<StdRng> {
        let mean = std::time::Duration::from_millis(20);
        MessagePreparer::new(rng(seed), false, self.stock_recipient, mean, mean, false)
    }

    /// The packets of `message` to `to`, which is at the second gateway as this client is at the
    /// first.
    pub(crate) fn send(
        &self,
        message: &Message,
        size: PacketSize,
        format: SurbFormat,
        to: &Self,
    ) -> Vec<Packet> {
        let fragments = split(message.encode(), size, &mut rng(9));
        self.send_fragments(&fragments, format, to)
    }

    pub(crate) fn send_fragments(
        &self,
        fragments: &[Fragment],
        format: SurbFormat,
        to: &Self,
    ) -> Vec<Packet> {
        let (there, back) = (route(GATEWAYS[1]), route(GATEWAYS[0]));
        let routes = Routes { there: &there, back: &back, rotation: rotation() };
        let recipient = &to.recipient;
        let parcels: Vec<_> =
            fragments.iter().map(|fragment| Parcel { fragment, recipient, routes }).collect();
        self.packer(format).pack(&parcels, &mut rng(10)).expect("the routes are well formed")
    }

    /// The packets that the stock software makes of `message` to `to`.
    pub(crate) fn send_stock(
        &self,
        world: &World,
        message: NymMessage,
        size: StockSize,
        to: &Self,
    ) -> Vec<(SocketAddr, NymPacket, [u8; 5])> {
        let mut preparer = self.preparer(11);
        let fragments = preparer.pad_and_split_message(message, size);
        let prepared = fragments.into_iter().map(|fragment| {
            let prepared = preparer
                .prepare_chunk_for_sending(
                    fragment,
                    &world.topology,
                    &self.stock_ack,
                    &to.stock_recipient,
                    PacketType::Mix,
                )
                .unwrap();
            let id = prepared.fragment_identifier.to_bytes();
            let (to, packet) = (prepared.mix_packet.next_hop_address(), prepared.mix_packet);
            (to, packet.into_packet(), id)
        });
        prepared.collect()
    }
}

pub(crate) fn rotation() -> KeyRotation {
    KeyRotation::from_id(ROTATION)
}

pub(crate) fn stock_size(size: PacketSize) -> StockSize {
    match size {
        PacketSize::Ack => StockSize::AckPacket,
        PacketSize::Regular => StockSize::RegularPacket,
        PacketSize::Extended8 => StockSize::ExtendedPacket8,
        PacketSize::Extended16 => StockSize::ExtendedPacket16,
        PacketSize::Extended32 => StockSize::ExtendedPacket32,
    }
}

/// Bytes that look like padding here and there.
pub(crate) fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| [0, 1, 7, 1, 0][at % 5] ^ u8::from(at % 1000 == 999)).collect()
}
