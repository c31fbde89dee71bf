//! Target: batches of arbitrary packets through every tier of kernels at once.

use phix_engine::crypto::{HopKeys, Kernels, PORTABLE, tiers};
use phix_engine::limits::BATCH_MAX;
use phix_engine::secret::{InitialSecret, NodeSecret};
use phix_engine::sphinx::build::{Builder, Hop, PADDING_MAX, Request};
use phix_engine::sphinx::{KeyChoice, Opened, Peeler, Rejected, Route};
use phix_engine::units::Span;
use phix_engine::wire::geometry::{
    ALPHA, BETA, BETA_LEN, HEADER, MAC, MAX_HOPS, PacketSize, STREAM_LEN,
};

use crate::input::Input;

/// Versions whose packets are made: what senders use, one from the future, and two that nodes
/// refuse in a packet that was forged for it.
const VERSIONS: [u16; 4] = [258, 259, 260, 0xffff];
const LEGACY: [u16; 2] = [1, 257];

/// Lanes of a batch, at most: beyond every vector's width, and quick.
const LANES: usize = 11;

/// What batches came to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) forward: usize,
    pub(crate) arrived: usize,
    pub(crate) bad_mac: usize,
    pub(crate) bad_flag: usize,
    pub(crate) legacy: usize,
}

/// One batch: packets, the keys to try, and which to keep.
struct Batch {
    packets: Vec<Vec<u8>>,
    keys: Vec<(usize, Option<usize>)>,
    keep: Vec<bool>,
}

/// Results and bytes after both steps.
type Outcome = (Vec<Result<Opened, Rejected>>, Vec<Vec<u8>>);

pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    let batch = Batch::read(&mut Input::new(data));
    let expected = peel(PORTABLE, &batch);
    for tier in tiers().into_iter().skip(1) {
        assert!(peel(tier, &batch) == expected, "{} differs from portable", tier.name);
    }
    for (lane, (result, after)) in expected.0.iter().zip(&expected.1).enumerate() {
        let before = &batch.packets[lane];
        match result {
            Err(_) => assert_eq!(before, after, "a rejected packet has changed"),
            Ok(_) if !batch.keep[lane] => assert_eq!(before[HEADER..], after[HEADER..]),
            Ok(_) => assert_ne!(before[HEADER..], after[HEADER..]),
        }
        match result {
            Ok(Opened { route: Route::Forward { .. }, .. }) => seen.forward += 1,
            Ok(Opened { route: Route::Final { .. }, .. }) => seen.arrived += 1,
            Err(Rejected::Mac) => seen.bad_mac += 1,
            Err(Rejected::Flag) => seen.bad_flag += 1,
            Err(Rejected::LegacyVersion) => seen.legacy += 1,
        }
    }
}

fn secret(index: usize) -> NodeSecret {
    NodeSecret::from_bytes([index as u8 + 1; 32])
}

fn peel(kernels: Kernels, batch: &Batch) -> Outcome {
    let secrets = [0, 1, 2].map(secret);
    let choice = |&(first, second): &(usize, Option<usize>)| KeyChoice {
        first: &secrets[first],
        second: second.map(|second| &secrets[second]),
    };
    let keys: Vec<KeyChoice<'_>> = batch.keys.iter().map(choice).collect();
    let mut packets = batch.packets.clone();
    let mut slices: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
    let mut peeler = Peeler::new(kernels);
    let results = peeler.open(&mut slices, &keys).to_vec();
    let keep: Vec<bool> =
        results.iter().zip(&batch.keep).map(|(found, keep)| *keep && found.is_ok()).collect();
    peeler.strip(&mut slices, &keep);
    (results, packets)
}

impl Batch {
    fn read(input: &mut Input<'_>) -> Self {
        let lanes = 1 + input.below(LANES);
        const { assert!(LANES <= BATCH_MAX) }
        let mut batch = Self { packets: Vec::new(), keys: Vec::new(), keep: Vec::new() };
        for _ in 0..lanes {
            // The two largest sizes take most of the time and follow the same path.
            let size = PacketSize::ALL[[0, 0, 1, 1, 0, 2, 3, 4][input.below(8)]];
            let packet = match input.below(4) {
                0 => input.stretched(size.packet_len()),
                1 => valid(input, size),
                2 => {
                    let packet = valid(input, size);
                    damaged(input, packet)
                }
                _ => forged(input, size),
            };
            batch.packets.push(packet);
            let choice = input.byte();
            let other = [None, Some(0), Some(1), Some(2)][usize::from(choice >> 4) % 4];
            batch.keys.push(([0, 0, 0, 1][usize::from(choice) % 4], other));
            batch.keep.push(!input.byte().is_multiple_of(4));
        }
        batch
    }
}

/// A packet for the first key, the same from every tier.
fn valid(input: &mut Input<'_>, size: PacketSize) -> Vec<u8> {
    let route: Vec<Hop> = (0..=input.below(MAX_HOPS))
        .map(|hop| Hop {
            address: input.array(),
            public_key: secret(hop % 3).public(),
            delay: Span::from_nanos(u64::from_le_bytes(input.array())),
        })
        .collect();
    let (first, padding) = (InitialSecret::from_bytes(input.array()), input.stretched(512));
    let request = Request {
        route: &route,
        destination: input.array(),
        identifier: input.array(),
        version: VERSIONS[input.below(VERSIONS.len())],
        secret: &first,
        padding: padding.first_chunk::<PADDING_MAX>().expect("it is that long"),
        message: input.slice(size.message_len()),
    };
    let build = |tier: Kernels| {
        let mut packet = vec![0; size.packet_len()];
        Builder::new(tier).build(&[request], &mut [&mut packet]).expect("nothing is wrong");
        packet
    };
    let packet = build(PORTABLE);
    for tier in tiers().into_iter().skip(1) {
        assert!(build(tier) == packet, "{} builds something else", tier.name);
    }
    packet
}

/// Up to four bytes are not what they were.
fn damaged(input: &mut Input<'_>, mut packet: Vec<u8>) -> Vec<u8> {
    for _ in 0..=input.below(4) {
        let at = usize::from(u16::from_le_bytes(input.array())) % packet.len();
        packet[at] ^= input.byte();
    }
    packet
}

/// A packet whose MAC holds over whatever its header says: only its sender can make one, and no one
/// keeps a sender from saying anything.
fn forged(input: &mut Input<'_>, size: PacketSize) -> Vec<u8> {
    let (alpha, plain) = (input.array::<32>(), input.stretched(BETA_LEN));
    let mut blocks = [[0; STREAM_LEN]];
    blocks[0][..BETA_LEN].copy_from_slice(&plain);
    blocks[0][0] = input.below(4) as u8;
    if input.byte().is_multiple_of(2) {
        let version = LEGACY[input.below(2)];
        blocks[0][2..4].copy_from_slice(&version.to_be_bytes());
    }
    let mut shared = [[0; 32]];
    (PORTABLE.x25519)(&[*secret(0).as_bytes()], &[alpha], &mut shared);
    let mut keys = [HopKeys::empty()];
    (PORTABLE.expand)(&shared, &mut keys);
    (PORTABLE.header_stream)(&[*keys[0].stream()], &mut blocks);
    let mut packet = input.stretched(size.packet_len());
    packet[ALPHA].copy_from_slice(&alpha);
    packet[BETA].copy_from_slice(&blocks[0][..BETA_LEN]);
    let mut mac = [[0; 16]];
    let beta = blocks[0].first_chunk::<BETA_LEN>().expect("it is that long");
    (PORTABLE.header_macs)(&[*keys[0].mac()], &[beta], &mut mac);
    packet[MAC].copy_from_slice(&mac[0]);
    packet
}
