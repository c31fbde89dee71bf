//! A world: nodes, a sender, a network, and one line of time.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use chacha20::ChaCha8Rng;
use phix_engine::counters::Counters;
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Clock, Config, Delivery, FinalHops, Held, Keys, NodeKey};
use phix_engine::shard::{Origin, Seat, Shard, Sink, Source, Undelivered, Wait, turn};
use phix_engine::sphinx::final_message;
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use rand::{Rng, RngExt, SeedableRng};

use crate::link::{Place, SimLink};
use crate::network::{Faults, Network};
use crate::traffic::{self, Expected, OwnPacket, node_address};

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many shards each node has.
    pub shards: usize,
    /// How many packets the sender sends.
    pub packets: u32,
    /// How many packets someone else sends to the first node, each for an address of its own where
    /// nobody is.
    pub astray: u32,
    /// How many packets the nodes' own clients hand to them, which begin their way there.
    pub own: u32,
    /// Within which time they are sent, evenly at random.
    pub within: Span,
    /// Longest delay that a header asks of a hop.
    pub delay_max: Span,
    /// Slots of acknowledgement and of regular size that a shard has.
    pub slots: [usize; 2],
    /// How the network misbehaves.
    pub faults: Faults,
}

/// A message that reached its last hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The packet's number, from its message.
    pub number: u32,
    /// The node where it ended.
    pub node: usize,
    /// When it arrived there.
    pub at: Time,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was sent.
    pub expected: Vec<Expected>,
    /// What arrived, in the order of time.
    pub arrived: Vec<Arrived>,
    /// Each shard's counters, node by node.
    pub counters: Vec<Counters>,
    /// What each shard still held at the end.
    pub held: Vec<Held>,
    /// How many turns were taken.
    pub turns: u64,
    /// Everything that happened, folded into one value.
    pub hash: [u8; 32],
}

#[derive(Clone, Debug)]
struct SimClock(Rc<RefCell<Network>>);

impl Clock for SimClock {
    fn now(&self) -> Time {
        self.0.borrow().now
    }
}

#[derive(Debug)]
struct Ledger {
    node: usize,
    arrived: Rc<RefCell<Vec<Arrived>>>,
}

impl Sink for Ledger {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = final_message(delivery.payload);
        let number = message.and_then(|message| message.try_into().ok());
        let number = number.ok_or(Undelivered::Malformed)?;
        let number = u32::from_be_bytes(number);
        let arrived = Arrived { number, node: self.node, at: delivery.arrived };
        self.arrived.borrow_mut().push(arrived);
        Ok(())
    }
}

/// What the clients of one shard hand to it, in the order of time.
#[derive(Debug)]
struct Clients {
    network: Rc<RefCell<Network>>,
    packets: VecDeque<(Time, OwnPacket)>,
    taken: Option<OwnPacket>,
}

impl Clients {
    fn next_at(&self) -> Option<Time> {
        self.packets.front().map(|&(at, _)| at)
    }
}

impl Source for Clients {
    fn next(&mut self) -> Option<Origin<'_>> {
        let now = self.network.borrow().now;
        self.taken = self.packets.pop_front_if(|(at, _)| *at <= now).map(|(_, packet)| packet);
        self.taken.as_ref().map(OwnPacket::origin)
    }

    fn rest(&mut self) -> bool {
        self.next_at().is_none_or(|at| at > self.network.borrow().now)
    }

    fn rise(&mut self) {}
}

#[derive(Debug)]
struct SimShard {
    shard: Shard,
    link: SimLink,
    sink: Ledger,
    clients: Clients,
}

/// Nodes and a sender in virtual time.
#[derive(Debug)]
pub struct World {
    network: Rc<RefCell<Network>>,
    /// Node by node.
    shards: Vec<SimShard>,
    arrived: Rc<RefCell<Vec<Arrived>>>,
    expected: Vec<Expected>,
    trace: blake3::Hasher,
    turns: u64,
}

impl World {
    /// Builds the nodes and draws all packets.
    pub fn new(config: WorldConfig) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        let secrets: Vec<[u8; 32]> = (0..config.nodes).map(|_| bytes(&mut random)).collect();
        let network = Network::new(ChaCha8Rng::from_seed(bytes(&mut random)), config.faults);
        let network = Rc::new(RefCell::new(network));
        let directory: BTreeMap<_, _> =
            (0..config.nodes).map(|node| (node_address(node), node)).collect();
        let directory = Rc::new(directory);
        let arrived = Rc::new(RefCell::new(Vec::new()));
        let mut all = Vec::new();
        for (node, secret) in secrets.iter().enumerate() {
            for shard in shards(&config, *secret, &mut random) {
                let place = Place { shard: all.len(), per_node: config.shards };
                let link = SimLink::new(place, Rc::clone(&network), Rc::clone(&directory));
                let sink = Ledger { node, arrived: Rc::clone(&arrived) };
                let (network, packets) = (Rc::clone(&network), VecDeque::new());
                let clients = Clients { network, packets, taken: None };
                all.push(SimShard { shard, link, sink, clients });
            }
        }
        let mut expected = send_all(&config, &secrets, &mut random, &mut network.borrow_mut());
        hand_over(&config, &secrets, &mut random, &mut all, &mut expected);
        let trace = blake3::Hasher::new();
        Self { network, shards: all, arrived, expected, trace, turns: 0 }
    }

    /// Lets the world run until nothing happens any more.
    ///
    /// # Panics
    /// If a conservation law is broken at any turn, or if the world does not come to rest.
    pub fn run(mut self) -> Outcome {
        // As threads do: whoever has nothing to do says so before it waits.
        (0..self.shards.len()).for_each(|shard| self.turn(shard));
        while let Some((at, shard)) = self.next() {
            let mut network = self.network.borrow_mut();
            network.now = network.now.max(at);
            drop(network);
            self.turn(shard);
            assert!(self.turns < 10_000_000, "the world does not come to rest");
        }
        Outcome {
            counters: self.shards.iter().map(|one| one.shard.counters().clone()).collect(),
            held: self.shards.iter().map(|one| one.shard.held()).collect(),
            arrived: self.arrived.take(),
            expected: self.expected,
            turns: self.turns,
            hash: self.trace.finalize().into(),
        }
    }

    /// When which shard has something to do next: an event of the network, or its own deadline.
    /// Of several at the same time, chance decides.
    fn next(&self) -> Option<(Time, usize)> {
        let mut network = self.network.borrow_mut();
        let now = network.now;
        let own = self.shards.iter().enumerate().filter_map(|(index, one)| {
            let unread = if one.link.has_unread() { Wait::No } else { Wait::Forever };
            let own = one.clients.next_at().map_or(Wait::Forever, Wait::Until);
            match one.shard.deadline().min(unread).min(own) {
                Wait::No => Some((now, index)),
                Wait::Until(time) => Some((time.max(now), index)),
                Wait::Forever => None,
            }
        });
        let all: Vec<(Time, usize)> = own.chain(network.next()).collect();
        let first = all.iter().map(|&(at, _)| at).min()?;
        let mut due = all.into_iter().filter(|&(at, _)| at == first);
        let chosen = network.choose(due.clone().count());
        due.nth(chosen)
    }

    fn turn(&mut self, index: usize) {
        let SimShard { shard, link, sink, clients } = &mut self.shards[index];
        let clock = SimClock(Rc::clone(&self.network));
        let Ok(_) = turn(shard, link, sink, clients, &clock);
        shard.audit(phix_engine::shard::Link::assembling(link));
        self.turns += 1;
        let held = shard.held();
        let places = [held.ready, held.delayed, held.queued, held.in_flight];
        self.trace.update(&clock.now().as_nanos().to_be_bytes());
        self.trace.update(&(index as u64).to_be_bytes());
        for place in places {
            self.trace.update(&(place as u64).to_be_bytes());
        }
        for value in shard.counters().values() {
            self.trace.update(&value.to_be_bytes());
        }
        if let Some(last) = self.arrived.borrow().last() {
            self.trace.update(&last.number.to_be_bytes());
        }
    }
}

fn bytes(random: &mut ChaCha8Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    bytes
}

/// The shards of one node.
fn shards(config: &WorldConfig, secret: [u8; 32], random: &mut ChaCha8Rng) -> Vec<Shard> {
    let key = NodeKey {
        rotation: KeyRotation::Unknown,
        secret: NodeSecret::from_bytes(secret),
        replay: Arc::new(ReplayFilter::new(10_000, bytes(random))),
    };
    let [acks, regular] = config.slots;
    let capacity = [acks, regular, 0, 0, 0];
    let mut shard = Config {
        capacity,
        batch: 8,
        frames: FrameVersion::Current,
        final_hops: FinalHops::Deliver,
        kernels: PORTABLE,
        seed: [0; 32],
    };
    let keys = Keys { primary: key, secondary: None };
    let seated = Seat::several(capacity, config.shards).into_iter().map(|seat| {
        shard.seed = bytes(random);
        Shard::seated(seat, &shard, keys.clone(), Time::ZERO)
    });
    seated.collect()
}

fn public_keys(secrets: &[[u8; 32]]) -> Vec<[u8; 32]> {
    secrets.iter().map(|&secret| NodeSecret::from_bytes(secret).public()).collect()
}

/// Times between zero and `within`, in order.
fn times(random: &mut ChaCha8Rng, count: u32, within: Span) -> Vec<u64> {
    let mut times: Vec<u64> =
        (0..count).map(|_| random.random_range(0..=within.as_nanos())).collect();
    times.sort_unstable();
    times
}

/// Gives the shards what their clients will hand to them: the packets after those of the sender,
/// each to a shard drawn at random.
fn hand_over(
    config: &WorldConfig,
    secrets: &[[u8; 32]],
    random: &mut ChaCha8Rng,
    shards: &mut [SimShard],
    expected: &mut Vec<Expected>,
) {
    let keys = public_keys(secrets);
    for nanos in times(random, config.own, config.within) {
        let sent = Time::from_nanos(nanos);
        let number = expected.len() as u32;
        let (packet, what) = traffic::own(random, &keys, number, sent, config.delay_max);
        let shard = random.random_range(0..shards.len());
        shards[shard].clients.packets.push_back((sent, packet));
        expected.push(what);
    }
}

/// Puts every packet of the sender on its way: one connection to each node, to its first shard,
/// never broken.
fn send_all(
    config: &WorldConfig,
    secrets: &[[u8; 32]],
    random: &mut ChaCha8Rng,
    network: &mut Network,
) -> Vec<Expected> {
    let keys = public_keys(secrets);
    let connections: Vec<u64> = secrets.iter().map(|_| network.number()).collect();
    let times = times(random, config.packets, config.within);
    let mut expected = Vec::with_capacity(times.len());
    for (number, nanos) in times.into_iter().enumerate() {
        let sent = Time::from_nanos(nanos);
        network.now = sent;
        let (first, frame, what) =
            traffic::packet(random, &keys, number as u32, sent, config.delay_max);
        network.carry(first * config.shards, connections[first], &frame);
        expected.push(what);
    }
    let nobody = network.number();
    for number in 0..config.astray {
        network.now = Time::from_nanos(
            config.within.as_nanos() / u64::from(config.astray) * u64::from(number),
        );
        network.carry(0, nobody, &traffic::astray(random, keys[0], number, config.delay_max));
    }
    network.now = Time::ZERO;
    network.close(0, nobody);
    for (node, connection) in connections.into_iter().enumerate() {
        network.close(node * config.shards, connection);
    }
    expected
}
