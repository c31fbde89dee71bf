//! A network in virtual time: real packets through real layers, and faults that a test asks for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use chacha20::ChaCha20Rng;
use phix_engine::units::{Span, Time};
use phix_proto::message::ClientKeys;
use rand::{RngExt, SeedableRng};

use super::super::{Core, Delivery, Event, MessageId};
use crate::mixnet::settings::Settings;
use crate::mixnet::testing;
use crate::topology::Topology;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Lost,
    Twice,
}

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

/// The network's topology; its gateway is not dialled here.
pub(super) fn topology(generation: u8) -> Topology {
    testing::topology(generation, SocketAddr::from(([127, 0, 0, 7], 9000)))
}

impl World {
    /// A client with each of these settings.
    pub(super) fn new(settings: &[Settings], seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        println!("seed {seed}");
        let kernels = phix_io::crypto::fastest();
        let member = |settings| {
            let keys = ClientKeys::generate(&mut rng);
            let own = keys.recipient(testing::gateway()).unwrap();
            let own_rng = ChaCha20Rng::seed_from_u64(rng.random());
            let core = Core::new(settings, keys, own, topology(1), kernels, own_rng, Time::ZERO);
            Member {
                core,
                received: Vec::new(),
                arrived: Vec::new(),
                given_up: Vec::new(),
                departures: Vec::new(),
                destination: *own.identity(),
            }
        };
        let members = settings.iter().map(member).collect();
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
        at: Time,
        fate: &mut impl FnMut(&mut ChaCha20Rng, usize) -> Fate,
    ) {
        let copies = match fate(&mut self.rng, bytes.len()) {
            Fate::Lost => return,
            Fate::Passes => 1,
            Fate::Twice => 2,
        };
        let Some(packet) = testing::travel(self.generation, first, bytes) else { return };
        let at = at.after(packet.time);
        let of = |member: &Member| member.destination == packet.destination;
        let member = self.members.iter().position(of).unwrap();
        for _ in 0..copies {
            self.sequence += 1;
            self.underway.push(Reverse((at, self.sequence, member, packet.message.clone())));
            if let Some((first, ack)) = &packet.ack {
                self.carry(*first, ack, at, fate);
            }
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
