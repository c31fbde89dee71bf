//! What the shard's tests share: a link that takes everything at once, and real packets.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use phix_engine::crypto::PORTABLE;
use phix_engine::egress::PeerId;
use phix_engine::intake::{Assembler, Intake};
use phix_engine::limits::SEND_MAX;
use phix_engine::pool::Pool;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{
    Clock, Completion, Config, Delivery, FinalHops, Keys, Link, NoSource, NodeKey, Outgoing, Seat,
    Shard, Sink, Undelivered, Wait, turn,
};
use phix_engine::units::Time;
use phix_engine::wire::address;
use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::builder::SphinxPacketBuilder;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::PublicKey;

/// One connection in, and next hops that take everything at once.
#[derive(Default)]
pub(crate) struct Straight {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Next hops take nothing while this is set.
    pub(crate) stalled: bool,
    /// Shards that it was told to wake.
    pub(crate) woken: Vec<usize>,
    assembler: Assembler,
    peers: Vec<(PeerId, SocketAddr)>,
    completed: VecDeque<Completion>,
}

impl Link for Straight {
    type Error = Infallible;

    fn receive(&mut self, mut intake: Intake<'_>, _wait: Wait) -> Result<(), Infallible> {
        let used = self.assembler.push(self.incoming.make_contiguous(), &mut intake).unwrap();
        self.incoming.drain(..used);
        Ok(())
    }

    fn room(&mut self, peer: PeerId, address: SocketAddr, _now: Time) -> usize {
        self.peers.retain(|(known, _)| *known != peer);
        self.peers.push((peer, address));
        if self.stalled { 0 } else { SEND_MAX }
    }

    fn send(&mut self, peer: PeerId, packets: Outgoing, front: usize, pool: &mut Pool) {
        let (_, to) = self.peers.iter().find(|(known, _)| *known == peer).unwrap();
        for slot in packets {
            self.sent.push((*to, pool.framed(&slot, front).to_vec()));
            self.completed.push_back(Completion { slot, sent: true });
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        self.completed.pop_front()
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn assembling(&self) -> usize {
        self.assembler.held()
    }

    fn wake(&mut self, shard: usize) {
        self.woken.push(shard);
    }
}

/// Messages that were delivered.
#[derive(Default)]
pub(crate) struct Mailbox(pub(crate) Vec<Vec<u8>>);

impl Sink for Mailbox {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = phix_engine::sphinx::final_message(delivery.payload);
        self.0.push(message.ok_or(Undelivered::Malformed)?.to_vec());
        Ok(())
    }
}

/// A clock that the test sets.
#[derive(Default)]
pub(crate) struct Hand(pub(crate) Cell<Time>);

impl Clock for Hand {
    fn now(&self) -> Time {
        self.0.get()
    }
}

/// One node with its link, its mailbox and its clock.
pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) link: Straight,
    pub(crate) mailbox: Mailbox,
    pub(crate) clock: Hand,
}

impl Rig {
    pub(crate) fn new(keys: Keys, config: &Config) -> Self {
        Self::seated(Seat::alone(config.capacity), keys, config)
    }

    pub(crate) fn seated(seat: Seat, keys: Keys, config: &Config) -> Self {
        let shard = Shard::seated(seat, config, keys, Time::ZERO);
        let (link, mailbox) = (Straight::default(), Mailbox::default());
        Self { shard, link, mailbox, clock: Hand::default() }
    }

    /// Takes one turn.
    pub(crate) fn turn(&mut self) {
        turn(&mut self.shard, &mut self.link, &mut self.mailbox, &mut NoSource, &self.clock)
            .unwrap();
        self.shard.audit(self.link.assembling());
    }

    /// Takes turns at the present time until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let before = (self.shard.held(), self.shard.counters().clone(), self.link.sent.len());
            self.turn();
            let after = (self.shard.held(), self.shard.counters().clone(), self.link.sent.len());
            if before == after && self.link.incoming.is_empty() {
                return;
            }
        }
        panic!("the shard does not come to rest");
    }

    /// Moves the clock and settles.
    pub(crate) fn at(&mut self, time: Time) {
        self.clock.0.set(time);
        self.settle();
    }
}

/// A key with a filter of its own. `byte` makes the key.
pub(crate) fn key(byte: u8, rotation: KeyRotation) -> NodeKey {
    let secret = NodeSecret::from_bytes([byte; 32]);
    NodeKey { rotation, secret, replay: Arc::new(ReplayFilter::new(10_000, [byte; 32])) }
}

pub(crate) fn only(key: NodeKey) -> Keys {
    Keys { primary: key, secondary: None }
}

pub(crate) fn config(final_hops: FinalHops) -> Config {
    Config {
        capacity: [64, 512, 4, 4, 4],
        batch: 16,
        frames: FrameVersion::Current,
        final_hops,
        kernels: PORTABLE,
        seed: [9; 32],
    }
}

/// Where packets of these tests go after the node under test.
pub(crate) fn next_hop() -> SocketAddr {
    "127.0.0.9:1789".parse().unwrap()
}

/// A Sphinx packet whose first hop has the public key `first`. With `last` it ends there; else it
/// goes on to `to` after `delay` nanoseconds.
pub(crate) fn packet(first: [u8; 32], to: Option<(SocketAddr, u64)>, message: &[u8]) -> Vec<u8> {
    let address = |to| NodeAddressBytes::from_bytes(address::encode(to));
    let own = Node::new(address(next_hop()), PublicKey::from(first));
    let mut route = vec![own];
    let mut delays = Vec::new();
    if let Some((to, delay)) = to {
        route.push(Node::new(address(to), PublicKey::from([77; 32])));
        delays.push(Delay::from_bytes(delay.to_be_bytes()));
    }
    delays.push(Delay::from_bytes([0; 8]));
    let destination = Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]);
    SphinxPacketBuilder::new()
        .with_payload_size(PacketSize::Regular.payload_len())
        .build_packet(message, &route, &destination, &delays)
        .unwrap()
        .to_bytes()
}

/// The packet as a frame of the current version.
pub(crate) fn frame(packet: &[u8], rotation: KeyRotation) -> Vec<u8> {
    let size = PacketSize::from_packet_len(packet.len()).unwrap();
    let mut head = [0; FRAME_HEADER_MAX];
    let front = FrameHeader::current(size, rotation).write(&mut head);
    [&head[..front], packet].concat()
}
