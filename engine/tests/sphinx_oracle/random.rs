//! Ten thousand random packets in batches of random length, with damaged ones among them.

use std::collections::HashSet;

use phix_engine::crypto::tiers;
use phix_engine::limits::BATCH_MAX;
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::{KeyChoice, Opened, Peeler, Rejected, Route};
use phix_engine::wire::geometry::{ALPHA, HEADER, PacketSize};
use rand::RngExt;

use crate::world::{Flight, Peeled, World, oracle};

const VERSIONS: [u16; 3] = [258, 259, 260];
const WANTED: usize = 10_000;

/// How one packet enters a batch.
struct Lane {
    flight: Flight,
    first: NodeSecret,
    second: Option<NodeSecret>,
    /// What sphinx-packet makes of it with each key.
    by_first: Option<Peeled>,
    by_second: Option<Peeled>,
    /// The replay check, which lies between the two steps, is made to refuse this one.
    replayed: bool,
}

/// What was seen, to show at the end that nothing was left out.
#[derive(Default)]
struct Tally {
    by_size: [usize; 5],
    by_version: [usize; 3],
    forward: usize,
    arrived: usize,
    by_second: usize,
    rejected: usize,
    replayed: usize,
    batch_lengths: HashSet<usize>,
}

#[test]
fn ten_thousand_packets_agree_with_sphinx_packet() {
    let mut world = World::new(2009);
    let mut peelers: Vec<Peeler> = tiers().into_iter().map(Peeler::new).collect();
    let mut tally = Tally::default();
    let mut flights: Vec<Flight> = Vec::new();
    while tally.forward + tally.arrived < WANTED {
        while flights.len() < 2 * BATCH_MAX {
            flights.push(random_flight(&mut world));
        }
        let len = world.rng.random_range(1..=BATCH_MAX);
        let lanes: Vec<Lane> = (0..len).map(|_| random_lane(&mut world, &mut flights)).collect();
        tally.batch_lengths.insert(len);
        let [peeled, others @ ..] =
            &peelers.iter_mut().map(|peeler| run(peeler, &lanes)).collect::<Vec<_>>()[..]
        else {
            unreachable!("there is always the portable tier");
        };
        assert!(others.iter().all(|other| other == peeled), "the tiers differ");
        for (lane, (result, after)) in lanes.iter().zip(peeled.clone()) {
            let Some(onward) = check(lane, result, &after, &mut tally) else { continue };
            flights.push(Flight { at: world.node_at(&onward), bytes: after });
        }
    }
    tally.report();
}

/// Of all sizes, versions and numbers of hops; long paths more often, since they are used longer.
fn random_flight(world: &mut World) -> Flight {
    let version = VERSIONS[world.rng.random_range(0..VERSIONS.len())];
    let size = PacketSize::ALL[world.rng.random_range(0..PacketSize::ALL.len())];
    let hops = [1, 2, 3, 4, 5, 5, 5, 5][world.rng.random_range(0..8)];
    world.build(version, size, hops)
}

/// One of `flights`, three in eight times a damaged copy or a copy that meets the wrong key.
fn random_lane(world: &mut World, flights: &mut Vec<Flight>) -> Lane {
    let fate = world.rng.random_range(0..8);
    let index = world.rng.random_range(0..flights.len());
    let mut flight = if fate < 3 { flights[index].clone() } else { flights.swap_remove(index) };
    let right = world.secret(flight.at).clone();
    let wrong = NodeSecret::from_bytes(world.rng.random());
    let (mut first, mut second) = match world.rng.random_range(0..3) {
        0 => (right, None),
        1 => (right, Some(wrong)),
        _ => (wrong, Some(right)),
    };
    match fate {
        0 => flip_bit(&mut flight.bytes, world.rng.random_range(0..8 * HEADER)),
        1 => flip_bit(&mut flight.bytes, world.rng.random_range(0..8 * ALPHA.end)),
        2 => {
            first = NodeSecret::from_bytes(world.rng.random());
            second = second.map(|_| NodeSecret::from_bytes(world.rng.random()));
        }
        _ => {}
    }
    let by_first = oracle(&flight.bytes, &first);
    let by_second = second.as_ref().and_then(|second| oracle(&flight.bytes, second));
    let replayed = world.rng.random_range(0..16) == 0;
    Lane { flight, first, second, by_first, by_second, replayed }
}

fn flip_bit(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Puts the lanes through `peeler` as one batch: results and bytes afterwards.
fn run(peeler: &mut Peeler, lanes: &[Lane]) -> Vec<(Result<Opened, Rejected>, Vec<u8>)> {
    let mut packets: Vec<Vec<u8>> = lanes.iter().map(|lane| lane.flight.bytes.clone()).collect();
    let keys: Vec<KeyChoice<'_>> = lanes
        .iter()
        .map(|lane| KeyChoice { first: &lane.first, second: lane.second.as_ref() })
        .collect();
    let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
    let results = peeler.open(&mut slices, &keys).to_vec();
    let keep: Vec<bool> =
        results.iter().zip(lanes).map(|(found, lane)| found.is_ok() && !lane.replayed).collect();
    peeler.strip(&mut slices, &keep);
    assert_eq!(peeler.results(), results);
    results.into_iter().zip(packets).collect()
}

/// Compares one lane with sphinx-packet. Returns the next hop if the packet goes on to one.
fn check(
    lane: &Lane,
    result: Result<Opened, Rejected>,
    after: &[u8],
    tally: &mut Tally,
) -> Option<[u8; 32]> {
    let before = &lane.flight.bytes;
    let Some(expected) = lane.by_first.as_ref().or(lane.by_second.as_ref()) else {
        assert_eq!(result, Err(Rejected::Mac));
        assert_eq!(before, after, "a rejected packet has changed");
        tally.rejected += 1;
        return None;
    };
    let opened = result.expect("sphinx-packet accepts this one");
    assert_eq!(opened.used_second, lane.by_first.is_none());
    if lane.replayed {
        assert_eq!((opened.route, opened.replay_tag), (expected.route, expected.replay_tag));
        assert_eq!(before[ALPHA], after[ALPHA], "a dropped packet was blinded");
        assert_eq!(before[HEADER..], after[HEADER..], "a dropped packet was decrypted");
        tally.replayed += 1;
        return None;
    }
    assert_eq!(&Peeled::new(&opened, after), expected);
    tally.accept(&opened, after);
    match opened.route {
        Route::Forward { next_hop, .. } => Some(next_hop),
        Route::Final { .. } => {
            assert_eq!(before[..HEADER], after[..HEADER], "the header of an arrived packet stays");
            None
        }
    }
}

impl Tally {
    fn accept(&mut self, opened: &Opened, after: &[u8]) {
        self.by_size[PacketSize::from_packet_len(after.len()).unwrap().index()] += 1;
        self.by_version[VERSIONS.iter().position(|&known| known == opened.version).unwrap()] += 1;
        self.by_second += usize::from(opened.used_second);
        match opened.route {
            Route::Forward { .. } => self.forward += 1,
            Route::Final { .. } => self.arrived += 1,
        }
    }

    /// The comparison is worth what it covered.
    fn report(&self) {
        println!(
            "forward {}, final {}, by second key {}, rejected {}, replayed {}, \
             by size {:?}, by version {:?}",
            self.forward,
            self.arrived,
            self.by_second,
            self.rejected,
            self.replayed,
            self.by_size,
            self.by_version
        );
        assert!(self.forward + self.arrived >= WANTED);
        assert!(self.forward > WANTED / 2 && self.arrived > WANTED / 10);
        assert!(self.by_size.iter().all(|&count| count > WANTED / 8));
        assert!(self.by_version.iter().all(|&count| count > WANTED / 5));
        assert!(self.by_second > WANTED / 5);
        assert!(self.rejected > WANTED / 5 && self.replayed > WANTED / 50);
        assert_eq!(self.batch_lengths.len(), BATCH_MAX, "some batch length was never tried");
    }
}
