//! `Builder` against sphinx-packet's builder: equal packets from equal randomness, and every hop
//! recovers what was asked for.

use std::collections::HashSet;
use std::ops::Range;

use phix_engine::crypto::{HopKeys, PORTABLE, tiers};
use phix_engine::limits::BATCH_MAX;
use phix_engine::secret::InitialSecret;
use phix_engine::sphinx::build::{
    Builder, Fault, Hop, PADDING_MAX, Request, Unbuildable, padding_len,
};
use phix_engine::sphinx::{KeyChoice, Route, final_message};
use phix_engine::units::Span;
use phix_engine::wire::geometry::{
    ALPHA, BETA, BETA_LEN, HEADER, HOP_INFO, HOP_STRIDE, MAC, MAX_HOPS, PacketSize, STREAM_LEN,
};
use rand::{Rng, RngExt};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::crypto::PrivateKey;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;

use crate::world::{World, oracle, peel_batch};

const VERSIONS: [u16; 3] = [258, 259, 260];
const WANTED: usize = 700;

/// Everything that one packet is built from.
#[derive(Clone)]
pub(crate) struct Plan {
    path: Vec<usize>,
    pub(crate) route: Vec<Hop>,
    destination: [u8; 32],
    identifier: [u8; 16],
    pub(crate) version: u16,
    pub(crate) size: PacketSize,
    secret: InitialSecret,
    padding: [u8; PADDING_MAX],
    pub(crate) message: Vec<u8>,
}

impl Plan {
    fn random(world: &mut World, version: u16, size: PacketSize, hops: usize) -> Self {
        let path: Vec<usize> =
            (0..hops).map(|_| world.rng.random_range(0..world.nodes.len())).collect();
        let route = path
            .iter()
            .map(|&at| Hop {
                address: world.nodes[at].0.address.to_bytes(),
                public_key: world.nodes[at].1.public(),
                delay: Span::from_nanos(world.rng.random()),
            })
            .collect();
        let len = match world.rng.random_range(0..4) {
            0 => 0,
            1 => size.message_len(),
            _ => world.rng.random_range(0..=size.message_len()),
        };
        let mut message = vec![0; len];
        match world.rng.random_range(0..4) {
            0 => message.fill(world.rng.random_range(0..=1)),
            _ => world.rng.fill_bytes(&mut message),
        }
        let mut padding = [0; PADDING_MAX];
        world.rng.fill_bytes(&mut padding);
        let [destination, secret] = world.rng.random();
        let secret = InitialSecret::from_bytes(secret);
        let identifier = world.rng.random();
        Self { path, route, destination, identifier, version, size, secret, padding, message }
    }

    /// Of any version, size and number of hops, the small sizes more often.
    pub(crate) fn any(world: &mut World) -> Self {
        let version = VERSIONS[world.rng.random_range(0..VERSIONS.len())];
        let size = PacketSize::ALL[[0, 0, 0, 1, 1, 1, 2, 3, 4][world.rng.random_range(0..9)]];
        let hops = world.rng.random_range(1..=MAX_HOPS);
        Self::random(world, version, size, hops)
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            route: &self.route,
            destination: self.destination,
            identifier: self.identifier,
            version: self.version,
            secret: &self.secret,
            padding: &self.padding,
            message: &self.message,
        }
    }

    /// What sphinx-packet builds of it, with a padding of its own.
    fn oracle(&self) -> Vec<u8> {
        let route: Vec<Node> = self
            .route
            .iter()
            .map(|hop| Node::new(NodeAddressBytes::from_bytes(hop.address), hop.public_key.into()))
            .collect();
        let delays: Vec<Delay> =
            self.route.iter().map(|hop| Delay::new_from_nanos(hop.delay.as_nanos())).collect();
        let address = DestinationAddressBytes::from_bytes(self.destination);
        SphinxPacketBuilder::new()
            .with_version(Version::new(self.version))
            .with_payload_size(self.size.payload_len())
            .with_initial_secret(&PrivateKey::from(*self.secret.as_bytes()))
            .build_packet(
                &self.message,
                &route,
                &Destination::new(address, self.identifier),
                &delays,
            )
            .unwrap()
            .to_bytes()
    }

    /// Takes over the padding that sphinx-packet has drawn for `packet`, by letting it process the
    /// packet up to the last hop.
    fn adopt_padding(&mut self, world: &World, packet: &[u8]) {
        let (last, before) = self.path.split_last().unwrap();
        let arrived = before.iter().fold(packet.to_vec(), |packet, &at| {
            oracle(&packet, world.secret(at)).expect("sphinx-packet built it").bytes
        });
        self.adopt_last_padding(&arrived, world.secret(*last).as_bytes());
    }

    /// Reads the padding in a packet that has arrived at its last hop, whose key is `secret`.
    fn adopt_last_padding(&mut self, arrived: &[u8], secret: &[u8; 32]) {
        let mut shared = [[0; 32]];
        (PORTABLE.x25519)(&[*secret], &[arrived[ALPHA].try_into().unwrap()], &mut shared);
        let mut keys = [HopKeys::empty()];
        (PORTABLE.expand)(&shared, &mut keys);
        let mut block = [[0; STREAM_LEN]];
        block[0][..BETA_LEN].copy_from_slice(&arrived[BETA]);
        (PORTABLE.header_stream)(&[*keys[0].stream()], &mut block);
        let len = padding_len(self.route.len());
        self.padding[..len].copy_from_slice(&block[0][52..52 + len]);
    }
}

/// Plans of `count` packets that sphinx-packet has built, with its paddings, and those packets.
fn plans_of_oracle(
    world: &mut World,
    count: usize,
    mut plan: impl FnMut(&mut World) -> Plan,
) -> (Vec<Plan>, Vec<Vec<u8>>) {
    (0..count)
        .map(|_| {
            let mut plan = plan(world);
            let packet = plan.oracle();
            plan.adopt_padding(world, &packet);
            (plan, packet)
        })
        .unzip()
}

/// The packets of one batch, in buffers that were painted before.
pub(crate) fn build(builder: &mut Builder, plans: &[Plan]) -> Vec<Vec<u8>> {
    let (packets, result) = try_build(builder, plans);
    result.unwrap();
    packets
}

fn try_build(builder: &mut Builder, plans: &[Plan]) -> (Vec<Vec<u8>>, Result<(), Unbuildable>) {
    let mut packets: Vec<Vec<u8>> =
        plans.iter().map(|plan| vec![0xa5; plan.size.packet_len()]).collect();
    let requests: Vec<Request<'_>> = plans.iter().map(Plan::request).collect();
    let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
    let result = builder.build(&requests, &mut slices);
    (packets, result)
}

#[test]
fn packets_equal_those_of_sphinx_packet() {
    let mut world = World::new(2010);
    let mut builder = Builder::new(PORTABLE);
    let (mut built, mut seen, mut lengths) = (0, HashSet::new(), HashSet::new());
    while built < WANTED {
        let count = world.rng.random_range(1..=BATCH_MAX);
        let (plans, expected) = plans_of_oracle(&mut world, count, Plan::any);
        for ((plan, expected), packet) in
            plans.iter().zip(&expected).zip(build(&mut builder, &plans))
        {
            let hops = plan.route.len();
            assert!(packet == *expected, "{hops} hops, {:?}, {}", plan.size, plan.version);
            seen.insert((hops, plan.size, plan.version));
        }
        lengths.insert(count);
        built += count;
    }
    println!("{built} packets in batches of {} lengths", lengths.len());
    assert_eq!(seen.len(), MAX_HOPS * PacketSize::ALL.len() * VERSIONS.len());
    assert!(lengths.len() > 20);
}

/// Each hop, by sphinx-packet and by `Peeler`, finds what the request says about it.
#[test]
fn every_hop_recovers_its_part() {
    let mut world = World::new(2011);
    let mut builder = Builder::new(PORTABLE);
    for count in [1, 2, 7, 16, 33, BATCH_MAX, BATCH_MAX] {
        let plans: Vec<Plan> = (0..count).map(|_| Plan::any(&mut world)).collect();
        let mut packets = build(&mut builder, &plans);
        for hop in 0..MAX_HOPS {
            let lanes: Vec<usize> =
                (0..count).filter(|&lane| plans[lane].route.len() > hop).collect();
            let here: Vec<Vec<u8>> = lanes.iter().map(|&lane| packets[lane].clone()).collect();
            let keys: Vec<KeyChoice<'_>> = lanes
                .iter()
                .map(|&lane| world.secret(plans[lane].path[hop]))
                .map(|first| KeyChoice { first, second: None })
                .collect();
            for (&lane, peeled) in lanes.iter().zip(peel_batch(&here, &keys)) {
                let (plan, peeled) = (&plans[lane], peeled.unwrap());
                assert_eq!(oracle(&packets[lane], world.secret(plan.path[hop])).unwrap(), peeled);
                assert_eq!((peeled.route, peeled.version), (expected(plan, hop), plan.version));
                if hop + 1 == plan.route.len() {
                    assert_eq!(final_message(&peeled.bytes), Some(&plan.message[..]));
                }
                packets[lane] = peeled.bytes;
            }
        }
    }
}

/// What is said to reach the last hop is what sphinx-packet leaves of the packet until there.
#[test]
fn arrivals_are_what_the_hops_before_the_last_make_of_the_packets() {
    let mut world = World::new(2020);
    for kernels in tiers() {
        let mut builder = Builder::new(kernels);
        for count in [1, 5, BATCH_MAX] {
            let plans: Vec<Plan> = (0..count).map(|_| Plan::any(&mut world)).collect();
            let lengths = plans.iter().map(|plan| plan.size.packet_len());
            let mut packets: Vec<Vec<u8>> = lengths.map(|len| vec![0xa5; len]).collect();
            let mut arrivals = packets.clone();
            let requests: Vec<Request<'_>> = plans.iter().map(Plan::request).collect();
            let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
            let mut ends: Vec<&mut [u8]> = arrivals.iter_mut().map(Vec::as_mut_slice).collect();
            builder.build_with_arrivals(&requests, &mut slices, &mut ends).unwrap();
            assert!(packets == build(&mut builder, &plans));
            for ((plan, packet), arrival) in plans.iter().zip(packets).zip(arrivals) {
                let before = &plan.path[..plan.path.len() - 1];
                let travelled = before.iter().fold(packet, |packet, &at| {
                    oracle(&packet, world.secret(at)).expect("sphinx-packet opens it").bytes
                });
                assert!(travelled == arrival, "{} hops, {:?}", plan.path.len(), plan.size);
            }
        }
    }
}

fn expected(plan: &Plan, hop: usize) -> Route {
    let Plan { destination, identifier, .. } = *plan;
    match plan.route.get(hop + 1) {
        Some(next) => Route::Forward { next_hop: next.address, delay: plan.route[hop].delay },
        None => Route::Final { destination, identifier },
    }
}

/// Without sphinx-packet's padding these bytes differ from its packet, and no others: the padding,
/// and each MAC, since all of them cover it.
fn random_bytes(hops: usize) -> Vec<Range<usize>> {
    let inner = |hop: usize| {
        let start = BETA.start + hop * HOP_STRIDE + HOP_INFO;
        start..start + MAC.len()
    };
    let mut ranges = vec![MAC];
    ranges.extend((0..hops - 1).map(inner));
    ranges.push(HEADER - padding_len(hops)..HEADER);
    ranges
}

#[test]
fn only_padding_and_macs_depend_on_the_padding() {
    let mut world = World::new(2012);
    let mut builder = Builder::new(PORTABLE);
    for hops in 1..=MAX_HOPS {
        let mut changed = vec![false; PacketSize::Ack.packet_len()];
        for _ in 0..12 {
            let plan = Plan::random(&mut world, 259, PacketSize::Ack, hops);
            let packet = &build(&mut builder, std::slice::from_ref(&plan))[0];
            let differing = packet.iter().zip(plan.oracle()).map(|(ours, theirs)| *ours != theirs);
            changed.iter_mut().zip(differing).for_each(|(changed, differs)| *changed |= differs);
        }
        let mut expected = vec![false; changed.len()];
        for range in random_bytes(hops) {
            expected[range].fill(true);
        }
        assert_eq!(changed, expected, "{hops} hops");
    }
}

#[test]
fn only_as_much_padding_is_read_as_the_route_needs() {
    let mut world = World::new(2013);
    let mut builder = Builder::new(PORTABLE);
    assert_eq!([1, 4, 5].map(padding_len), [248, 68, 8]);
    for hops in 1..=MAX_HOPS {
        let plan = Plan::random(&mut world, 259, PacketSize::Ack, hops);
        let packets = build(&mut builder, std::slice::from_ref(&plan));
        let mut beyond = plan.clone();
        beyond.padding[padding_len(hops)..].fill(0);
        assert_eq!(build(&mut builder, &[beyond]), packets);
    }
}

/// A packet is the same alone and at any place among others.
#[test]
fn lanes_are_independent() {
    let mut world = World::new(2014);
    let mut builder = Builder::new(PORTABLE);
    let mut plans: Vec<Plan> = (0..BATCH_MAX).map(|_| Plan::any(&mut world)).collect();
    let mut singles: Vec<Vec<u8>> = plans
        .iter()
        .map(|plan| build(&mut builder, std::slice::from_ref(plan)).remove(0))
        .collect();
    for turn in [0, 1, 13] {
        plans.rotate_left(turn);
        singles.rotate_left(turn);
        assert_eq!(build(&mut builder, &plans), singles);
    }
    assert_eq!(build(&mut builder, &plans[..17]), singles[..17]);
    assert!(build(&mut builder, &[]).is_empty());
}

/// Versions that nobody has defined are built like 259, as sphinx-packet does.
#[test]
fn unknown_versions_agree_with_sphinx_packet() {
    let mut world = World::new(2015);
    let mut versions = [0, 2, 255, 256, 261, 513, u16::MAX].into_iter().cycle();
    let (plans, expected) = plans_of_oracle(&mut world, 14, |world| {
        Plan::random(world, versions.next().unwrap(), PacketSize::Ack, 3)
    });
    assert_eq!(build(&mut Builder::new(PORTABLE), &plans), expected);
}

/// X25519 clamps, so that these secrets are scalars like all others.
#[test]
fn initial_secrets_at_the_edges_agree_with_sphinx_packet() {
    let mut world = World::new(2016);
    let mut secrets = [[0; 32], [0xff; 32], [7; 32], [0x80; 32]].into_iter().cycle();
    let (plans, expected) = plans_of_oracle(&mut world, 8, |world| {
        let secret = InitialSecret::from_bytes(secrets.next().unwrap());
        Plan { secret, ..Plan::random(world, 258, PacketSize::Ack, 4) }
    });
    assert_eq!(build(&mut Builder::new(PORTABLE), &plans), expected);
}

/// Public keys that no node has made: of small order, with the top bit set, or with a part of small
/// order. The packet's other hops still work, and all bytes but the random ones agree.
#[test]
fn odd_public_keys_agree_with_sphinx_packet() {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::montgomery::MontgomeryPoint;

    let mut world = World::new(2017);
    let mut builder = Builder::new(PORTABLE);
    for torsion in EIGHT_TORSION {
        for hop in 0..3 {
            let plan = Plan::random(&mut world, 259, PacketSize::Ack, 3);
            let honest = MontgomeryPoint(plan.route[hop].public_key).to_edwards(0).unwrap();
            let shifted = (honest + torsion).to_montgomery().to_bytes();
            let mut high = shifted;
            high[31] |= 0x80;
            for public_key in [shifted, high, torsion.to_montgomery().to_bytes()] {
                let mut odd = plan.clone();
                odd.route[hop].public_key = public_key;
                let (mut ours, mut theirs) = (build(&mut builder, &[odd.clone()]), [odd.oracle()]);
                for range in random_bytes(3) {
                    ours[0][range.clone()].fill(0);
                    theirs[0][range].fill(0);
                }
                assert_eq!(ours, theirs);
            }
        }
    }
}

/// Puts a fault into a plan.
type Spoiler<'a> = &'a dyn Fn(&mut Plan);

#[test]
fn a_request_with_a_fault_stops_the_batch_untouched() {
    let mut world = World::new(2018);
    let mut builder = Builder::new(PORTABLE);
    let good: Vec<Plan> =
        (0..5).map(|_| Plan::random(&mut world, 259, PacketSize::Ack, 2)).collect();
    let spoil = |lane: usize, change: Spoiler<'_>| {
        let mut plans = good.clone();
        change(&mut plans[lane]);
        plans
    };
    let cases: [(Spoiler<'_>, Fault); 5] = [
        (&|plan| plan.route.clear(), Fault::RouteLength),
        (&|plan| plan.route = vec![plan.route[0]; MAX_HOPS + 1], Fault::RouteLength),
        (&|plan| plan.message = vec![0; 22], Fault::MessageTooLong),
        (&|plan| plan.version = 1, Fault::LegacyVersion),
        (&|plan| plan.version = 257, Fault::LegacyVersion),
    ];
    for (change, fault) in cases {
        for lane in [0, 4] {
            let (packets, result) = try_build(&mut builder, &spoil(lane, change));
            assert_eq!(result, Err(Unbuildable { lane, fault }));
            assert!(packets.iter().flatten().all(|&byte| byte == 0xa5));
        }
    }
    let message = Unbuildable { lane: 4, fault: Fault::RouteLength }.to_string();
    assert_eq!(message, "packet 4 of the batch: a route has 1 to 5 hops");
    assert!(try_build(&mut builder, &good).1.is_ok());
}

#[test]
#[should_panic(expected = "a packet has one of the five sizes")]
fn a_built_packet_has_one_of_five_sizes() {
    let plan = Plan::random(&mut World::new(1), 259, PacketSize::Ack, 1);
    Builder::new(PORTABLE).build(&[plan.request()], &mut [&mut [0; 385]]).unwrap();
}

#[test]
#[should_panic(expected = "BATCH_MAX")]
fn a_batch_has_a_bound() {
    let plans = vec![Plan::random(&mut World::new(1), 259, PacketSize::Ack, 1); BATCH_MAX + 1];
    build(&mut Builder::new(PORTABLE), &plans);
}

/// A key that no private key has keeps no other hop from opening its layer.
#[test]
fn hops_before_a_key_on_the_twist_work() {
    let mut world = World::new(2019);
    let mut plan = Plan::random(&mut world, 259, PacketSize::Ack, 3);
    // u = 2 is on the twist.
    plan.route[2].public_key = [0; 32];
    plan.route[2].public_key[0] = 2;
    let mut packet = build(&mut Builder::new(PORTABLE), &[plan.clone()]).remove(0);
    for hop in 0..2 {
        let peeled = oracle(&packet, world.secret(plan.path[hop])).unwrap();
        assert_eq!(peeled.route, expected(&plan, hop));
        packet = peeled.bytes;
    }
}
