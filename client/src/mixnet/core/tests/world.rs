//! A network in virtual time: real packets through real layers, and faults that a test asks for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use chacha20::ChaCha20Rng;
use phix_engine::crypto::PORTABLE;
use phix_engine::units::{Span, Time};
use phix_engine::wire::address;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{ClientKeys, FinalPayload};
use rand::{RngExt, SeedableRng};
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use x25519_dalek::{PublicKey as X25519, StaticSecret};

use super::super::{Core, Delivery, Event, MessageId};
use crate::keyfile::KeyKind;
use crate::mixnet::settings::Settings;
use crate::topology::{Entry, Metadata, Node, PublicKey, SupportedRoles, Topology};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Lost,
    Twice,
}

/// Time that sockets and nodes take, beyond the delays that packets ask for.
const TRAVEL: Span = Span::from_millis(2);

pub(super) struct Member {
    pub(super) core: Core,
    pub(super) received: Vec<Delivery>,
    pub(super) arrived: Vec<MessageId>,
    pub(super) given_up: Vec<MessageId>,
    /// When packets left, and how long they were.
    pub(super) departures: Vec<(Time, usize)>,
    destination: [u8; 32],
}

/// A payload that reaches a client.
type Arrival = Reverse<(Time, u64, usize, Vec<u8>)>;

pub(super) struct World {
    pub(super) now: Time,
    pub(super) members: Vec<Member>,
    generation: u8,
    underway: BinaryHeap<Arrival>,
    sequence: u64,
    pub(super) rng: ChaCha20Rng,
}

/// The gateway of all clients here.
const GATEWAY: u8 = 7;

fn secret(generation: u8, node: u8) -> StaticSecret {
    StaticSecret::from([generation * 16 + node; 32])
}

fn host(node: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, node], 1789))
}

/// Two mixes in each layer, and a gateway. Another generation has other keys.
pub(super) fn topology(generation: u8) -> Topology {
    let node = |number: u8| Node {
        node_id: number.into(),
        mix_host: host(number),
        entry: (number == GATEWAY).then(|| Entry {
            ip_addresses: vec![host(number).ip()],
            clients_ws_port: 9000,
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

impl World {
    pub(super) fn new(members: usize, settings: &Settings, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        println!("seed {seed}");
        let member = |_| {
            let keys = ClientKeys::generate(&mut rng);
            let gateway = KeyKind::Identity.public(&[GATEWAY; 32]);
            let own = keys.recipient(gateway).unwrap();
            let own_rng = ChaCha20Rng::seed_from_u64(rng.random());
            let core = Core::new(settings, keys, own, topology(1), PORTABLE, own_rng, Time::ZERO);
            Member {
                core,
                received: Vec::new(),
                arrived: Vec::new(),
                given_up: Vec::new(),
                departures: Vec::new(),
                destination: *own.identity(),
            }
        };
        let members = (0..members).map(member).collect();
        let underway = BinaryHeap::new();
        Self { now: Time::ZERO, members, generation: 1, underway, sequence: 0, rng }
    }

    /// The nodes forget their keys and have those of another generation.
    pub(super) fn change_keys(&mut self, generation: u8) {
        self.generation = generation;
    }

    /// Lets time pass until nothing more is wanted; `fate` is asked for each packet on its way,
    /// with its length.
    ///
    /// # Panics
    /// If it takes longer than ten minutes.
    pub(super) fn run(
        &mut self,
        mut fate: impl FnMut(&mut ChaCha20Rng, usize) -> Fate,
        mut done: impl FnMut(&mut [Member]) -> bool,
    ) {
        let limit = self.now.after(Span::from_millis(600_000));
        while !done(&mut self.members) {
            let (leaver, due) = self
                .members
                .iter()
                .map(|member| member.core.deadline())
                .enumerate()
                .min_by_key(|(_, due)| *due)
                .expect("a world has members");
            assert!(due < limit, "it takes too long");
            match self.underway.peek() {
                Some(Reverse((at, ..))) if *at <= due => self.arrive(),
                _ => {
                    self.now = due;
                    self.depart(leaver, &mut fate);
                }
            }
        }
    }

    fn depart(&mut self, leaver: usize, fate: &mut impl FnMut(&mut ChaCha20Rng, usize) -> Fate) {
        let now = self.now;
        while let Some(packet) = self.members[leaver].core.depart(now) {
            self.members[leaver].departures.push((now, packet.bytes.len()));
            self.carry(packet.first_hop, &packet.bytes, now, fate);
        }
        self.members[leaver].core.prepare(now);
        self.note(leaver);
    }

    /// Takes a packet through the network; its acknowledgement sets out when it has arrived.
    fn carry(
        &mut self,
        first: SocketAddr,
        bytes: &[u8],
        mut at: Time,
        fate: &mut impl FnMut(&mut ChaCha20Rng, usize) -> Fate,
    ) {
        let copies = match fate(&mut self.rng, bytes.len()) {
            Fate::Lost => return,
            Fate::Passes => 1,
            Fate::Twice => 2,
        };
        let size = PacketSize::from_packet_len(bytes.len()).unwrap();
        let (mut next, mut packet) = (first, SphinxPacket::from_bytes(bytes).unwrap());
        loop {
            let node = (1..=GATEWAY).find(|node| host(*node) == next).unwrap();
            // A packet for keys that are gone goes nowhere.
            let Ok(processed) = packet.process(&secret(self.generation, node)) else { return };
            at = at.after(TRAVEL);
            match processed.data {
                ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } => {
                    at = at.after(Span::from_nanos(delay.to_nanos()));
                    next = address::parse(&next_hop_address.to_bytes()).unwrap();
                    packet = next_hop_packet;
                }
                ProcessedPacketData::FinalHop { destination, payload, .. } => {
                    let plain = payload.recover_plaintext().unwrap();
                    for _ in 0..copies {
                        self.hand_over(destination.as_bytes(), size, &plain, at, fate);
                    }
                    return;
                }
            }
        }
    }

    fn hand_over(
        &mut self,
        destination: [u8; 32],
        size: PacketSize,
        plain: &[u8],
        at: Time,
        fate: &mut impl FnMut(&mut ChaCha20Rng, usize) -> Fate,
    ) {
        let payload = FinalPayload::parse(size, plain).unwrap();
        let of = |member: &Member| member.destination == destination;
        let member = self.members.iter().position(of).unwrap();
        self.sequence += 1;
        self.underway.push(Reverse((at, self.sequence, member, payload.message.to_vec())));
        if let Some(ack) = payload.ack {
            self.carry(ack.first_hop, ack.packet, at, fate);
        }
    }

    fn arrive(&mut self) {
        let Some(Reverse((at, _, member, mut payload))) = self.underway.pop() else { return };
        self.now = self.now.max(at);
        self.members[member].core.arrive(&mut payload, self.now);
        self.note(member);
    }

    fn note(&mut self, member: usize) {
        let member = &mut self.members[member];
        for event in member.core.events() {
            match event {
                Event::Received(delivery) => member.received.push(delivery),
                Event::Arrived(message) => member.arrived.push(message),
                Event::GivenUp(message) => member.given_up.push(message),
            }
        }
    }
}
