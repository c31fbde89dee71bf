//! Random kills, restarts, stalls, resets and key changes over a small network of servers, with
//! traffic all the while. Whatever happens, every packet is accounted for at every server, none is
//! delivered twice, and once it is over the servers work as before.
//!
//! `PHIX_CHAOS_SECONDS` makes it longer than the few seconds of an ordinary run, `PHIX_CHAOS_SEED`
//! repeats the decisions (not the timing) of a run that failed.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phix_engine::counters::{Counters, DropReason};
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Delivery, FinalHops, Keys, NodeKey, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_engine::wire::address;
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::{LinkChoice, Server, ServerConfig, StopReport};
use socket2::SockRef;
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use x25519_dalek::PublicKey;

use crate::common::{assert_balance, config, frame};
use crate::scene::alone;

const NODES: usize = 3;
/// Seconds per link of an ordinary run.
const SECONDS: u64 = 5;
/// Longest delay that a packet asks of a hop, in milliseconds.
const DELAY_MAX: u64 = 200;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % limit as u64) as usize
    }
}

/// How often each message was delivered, by its number.
#[derive(Clone, Default)]
struct Delivered(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Sink for Delivered {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let number = final_message(delivery.payload).and_then(|bytes| bytes.try_into().ok());
        let number = number.map(u64::from_be_bytes).ok_or(Undelivered::Malformed)?;
        *self.0.lock().unwrap().entry(number).or_insert(0) += 1;
        Ok(())
    }
}

/// A key by its number. Its filter lives as long as the key is in use.
fn key(number: u8) -> NodeKey {
    NodeKey {
        rotation: if number.is_multiple_of(2) { KeyRotation::Even } else { KeyRotation::Odd },
        secret: NodeSecret::from_bytes([number | 0x40; 32]),
        replay: Arc::new(ReplayFilter::new(100_000, [number; 32])),
    }
}

/// One node of the network through all of its lives.
struct Life {
    config: ServerConfig,
    server: Option<Server>,
    keys: Keys,
    number: u8,
    sink: Delivered,
    past: Counters,
}

impl Life {
    fn begin(link: LinkChoice, number: u8, sink: Delivered) -> Self {
        let mut config = config(link);
        config.drain = Duration::from_millis(300);
        config.shard.final_hops = FinalHops::Deliver;
        let keys = Keys { primary: key(number), secondary: None };
        let past = Counters::default();
        let mut life = Self { config, server: None, keys, number, sink, past };
        life.start();
        life.config.listen = life.address();
        life
    }

    fn start(&mut self) {
        let server = Server::start(self.config.clone(), self.keys.clone(), |_| self.sink.clone());
        self.server = Some(server.unwrap_or_else(|error| panic!("{error}")));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a server runs between two events")
    }

    fn address(&self) -> SocketAddr {
        self.server().address()
    }

    /// Ends the server in this way; its account must balance.
    fn end(&mut self, how: fn(Server) -> StopReport) {
        let report = how(self.server.take().expect("a server runs between two events"));
        assert_balance(&report);
        assert_eq!(report.failed, None);
        self.past.add(&report.counters);
    }

    /// A new key, beside which the old one stays for a while.
    fn rotate(&mut self) {
        self.number = self.number % 60 + 1;
        let old = std::mem::replace(&mut self.keys.primary, key(self.number));
        self.keys.secondary = Some(old);
        self.server().set_keys(self.keys.clone());
    }
}

/// The servers, whoever sends to them, and the account of both.
struct World {
    dice: Dice,
    nodes: Vec<Life>,
    delivered: Delivered,
    /// Connections that are used again, and those that hold half a packet.
    open: Vec<Option<TcpStream>>,
    stalled: Vec<TcpStream>,
    sent: u64,
}

impl World {
    fn new(link: LinkChoice, seed: u64) -> Self {
        let delivered = Delivered::default();
        let life = |number| Life::begin(link, number, delivered.clone());
        let nodes = (1..=NODES as u8).map(|node| life(20 * node)).collect();
        let open = (0..NODES).map(|_| None).collect();
        Self { dice: Dice(seed), nodes, delivered, open, stalled: Vec::new(), sent: 0 }
    }

    /// A frame for the node at `first`, along a route of one to three nodes.
    fn packet(&mut self, first: usize) -> Vec<u8> {
        let more = self.dice.below(3);
        let path = [first].into_iter().chain((0..more).map(|_| self.dice.below(NODES)));
        let path: Vec<usize> = path.collect();
        let node = |&index: &usize| {
            let life = &self.nodes[index];
            let to = NodeAddressBytes::from_bytes(address::encode(life.address()));
            Node::new(to, PublicKey::from(life.keys.primary.secret.public()))
        };
        let route: Vec<Node> = path.iter().map(node).collect();
        let millis: Vec<u64> =
            path.iter().map(|_| self.dice.below(DELAY_MAX as usize) as u64).collect();
        let delays: Vec<Delay> = millis.iter().map(|&ms| Delay::new_from_millis(ms)).collect();
        let destination = Destination::new(DestinationAddressBytes::from_bytes([7; 32]), [0; 16]);
        let packet = SphinxPacketBuilder::new()
            .with_payload_size(PacketSize::Regular.payload_len())
            .build_packet(self.sent.to_be_bytes(), &route, &destination, &delays)
            .unwrap();
        self.sent += 1;
        frame(&packet.to_bytes(), FrameVersion::Current)
    }

    /// Sends a few packets over a connection that may break at any time.
    fn send(&mut self) {
        let to = self.dice.below(NODES);
        let count = 1 + self.dice.below(12);
        let bytes: Vec<u8> = (0..count).flat_map(|_| self.packet(to)).collect();
        let address = self.nodes[to].address();
        let connection = self.open[to].take();
        let connection = connection.map_or_else(|| TcpStream::connect(address), Ok);
        self.open[to] =
            connection.ok().and_then(|mut open| open.write_all(&bytes).ok().map(|()| open));
    }

    fn stall(&mut self) {
        let to = self.dice.below(NODES);
        let bytes = self.packet(to);
        if let Ok(mut half) = TcpStream::connect(self.nodes[to].address())
            && half.write_all(&bytes[..bytes.len() / 2]).is_ok()
        {
            self.stalled.push(half);
        }
        if self.stalled.len() > 20 {
            self.stalled.clear();
        }
    }

    /// Breaks a connection with a reset, often in the middle of a frame.
    fn reset(&mut self) {
        let which = self.dice.below(NODES);
        let bytes = self.packet(which);
        if let Some(mut open) = self.open[which].take() {
            // The server may have closed it already.
            let _ = open.write_all(&bytes[..self.dice.below(bytes.len())]);
            SockRef::from(&open).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    fn happen(&mut self) {
        let node = self.dice.below(NODES);
        match self.dice.below(40) {
            0 => {
                self.nodes[node].end(Server::kill);
                self.nodes[node].start();
            }
            1 => {
                self.nodes[node].end(Server::stop);
                self.nodes[node].start();
            }
            2 => self.nodes[node].rotate(),
            3..=5 => self.reset(),
            6..=8 => self.stall(),
            _ => self.send(),
        }
        std::thread::sleep(Duration::from_millis(self.dice.below(15) as u64));
    }

    /// After the chaos: each server still takes a packet and delivers it.
    fn works(&mut self) {
        (self.open, self.stalled) = ((0..NODES).map(|_| None).collect(), Vec::new());
        for index in 0..NODES {
            let before = self.nodes[index].server().counters().delivered;
            let number = self.sent;
            while self.delivered.0.lock().unwrap().keys().all(|&known| known < number) {
                // Of those with longer routes some end elsewhere, or wait for a next hop.
                let bytes = self.packet(index);
                let mut one = TcpStream::connect(self.nodes[index].address()).unwrap();
                one.write_all(&bytes).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                assert!(self.sent < number + 400, "{index} delivers nothing after {before}");
            }
        }
    }

    /// Ends all servers and draws up the account of the whole network.
    fn account(mut self) {
        for node in &mut self.nodes {
            node.end(Server::stop);
        }
        let mut all = Counters::default();
        self.nodes.iter().for_each(|node| all.add(&node.past));
        let delivered = self.delivered.0.lock().unwrap();
        assert!(delivered.values().all(|&times| times == 1), "a packet was delivered twice");
        assert!(delivered.keys().all(|&number| number < self.sent), "nobody sent this");
        assert_eq!(delivered.len() as u64, all.delivered);
        // What came in was sent by us or by a server; the last bytes of a connection that breaks
        // may have arrived although their sender could not know.
        let origins = self.sent + all.forwarded + all.dropped(DropReason::ConnectionLost);
        assert!(all.received <= origins, "{} sent, {all:?}", self.sent);
        assert!(all.delivered > 0 && all.forwarded > 0, "{all:?}");
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {text}")))
}

#[test]
fn whatever_breaks_every_packet_is_accounted_for() {
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let seed = number("PHIX_CHAOS_SEED").unwrap_or_else(clock);
    let length = Duration::from_secs(number("PHIX_CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("PHIX_CHAOS_SEED={seed} repeats the decisions of this run");
    alone(|link| {
        let mut world = World::new(link, seed);
        let begin = Instant::now();
        while begin.elapsed() < length {
            world.happen();
        }
        world.works();
        world.account();
    });
}
