//! Single situations: two keys, neighbours, and the many faces of one alpha.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use phix_engine::crypto::PORTABLE;
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::{KeyChoice, Peeler, Rejected};
use phix_engine::wire::geometry::{ALPHA, BETA_LEN, PacketSize};
use rand::RngExt;

use crate::world::{World, forge, oracle, peel, peel_batch};

#[test]
fn the_second_key_is_tried_when_the_first_does_not_fit() {
    let mut world = World::new(21);
    let flight = world.regular(3);
    let right = world.secret(flight.at).clone();
    let [wrong, other] = world.rng.random::<[[u8; 32]; 2]>().map(NodeSecret::from_bytes);
    let expected = oracle(&flight.bytes, &right).unwrap();
    let cases = [
        (&right, None, Some(false)),
        (&right, Some(&wrong), Some(false)),
        (&right, Some(&right), Some(false)),
        (&wrong, Some(&right), Some(true)),
        (&wrong, Some(&other), None),
        (&wrong, None, None),
    ];
    for (first, second, used_second) in cases {
        let mut packet = flight.bytes.clone();
        let mut peeler = Peeler::new(PORTABLE);
        let found = peeler.open(&mut [&mut packet], &[KeyChoice { first, second }])[0];
        assert_eq!(found.ok().map(|opened| opened.used_second), used_second);
        if used_second.is_none() {
            assert_eq!((found, &packet), (Err(Rejected::Mac), &flight.bytes));
        } else {
            peeler.strip(&mut [&mut packet], &[true]);
            assert_eq!(packet, expected.bytes);
        }
    }
}

/// A damaged packet at any place of a batch changes nothing for the others.
#[test]
fn a_bad_packet_changes_nothing_for_its_neighbours() {
    let mut world = World::new(8);
    let sizes = PacketSize::ALL.into_iter().cycle().take(9);
    let flights: Vec<_> = sizes.map(|size| world.build(258, size, 2)).collect();
    let packets: Vec<Vec<u8>> = flights.iter().map(|flight| flight.bytes.clone()).collect();
    let keys: Vec<KeyChoice<'_>> = flights
        .iter()
        .map(|flight| KeyChoice { first: world.secret(flight.at), second: None })
        .collect();
    let clean = peel_batch(&packets, &keys);
    assert!(clean.iter().all(Result::is_ok));
    for bad in 0..packets.len() {
        for byte in [ALPHA.start, 40, 48, 347] {
            let mut damaged = packets.clone();
            damaged[bad][byte] ^= 0x10;
            let mut expected = clean.clone();
            expected[bad] = Err(Rejected::Mac);
            assert_eq!(peel_batch(&damaged, &keys), expected);
        }
    }
}

/// X25519 is malleable: the top bit of a point is ignored, and a clamped scalar, being a multiple
/// of 8, takes every point of small order to zero. So seven other points and eight other encodings
/// give the same shared secret, and the MAC does not cover alpha. All of them are one packet: they
/// carry one replay tag, and leave as the same bytes.
#[test]
fn alpha_variants_are_one_packet() {
    let mut world = World::new(32);
    let flight = world.regular(2);
    let expected = peel(&flight.bytes, world.secret(flight.at)).unwrap();
    let alpha: [u8; 32] = flight.bytes[ALPHA].try_into().unwrap();
    let point = MontgomeryPoint(alpha).to_edwards(0).unwrap();
    let mut variants = Vec::new();
    for low_order in EIGHT_TORSION {
        let shifted = (point + low_order).to_montgomery().to_bytes();
        let mut high = shifted;
        high[31] |= 0x80;
        variants.extend([shifted, high]);
    }
    for (i, variant) in variants.iter().enumerate() {
        assert!(!variants[..i].contains(variant), "the variants are distinct");
        let mut packet = flight.bytes.clone();
        packet[ALPHA].copy_from_slice(variant);
        let peeled = peel(&packet, world.secret(flight.at)).unwrap();
        assert_eq!(peeled.replay_tag, expected.replay_tag);
        assert_eq!(peeled, expected);
        assert_eq!(oracle(&packet, world.secret(flight.at)), Some(peeled));
    }
    assert_eq!(variants.len(), 16);
}

/// No check for a contribution of both sides: an alpha of small order is a packet like any other,
/// here and in sphinx-packet, and all of them share one replay tag.
#[test]
fn alpha_of_small_order_agrees_with_sphinx_packet() {
    let mut world = World::new(25519);
    let mut plain = [0x5a; BETA_LEN];
    plain[..4].copy_from_slice(&[1, 0, 1, 3]);
    let mut tags = Vec::new();
    for point in EIGHT_TORSION {
        let alpha = point.to_montgomery().to_bytes();
        let payload: [u8; 38] = world.rng.random();
        let packet = forge(alpha, world.secret(1), &plain, &payload);
        let peeled = peel(&packet, world.secret(1)).unwrap();
        assert_eq!(oracle(&packet, world.secret(1)).as_ref(), Some(&peeled));
        tags.push(peeled.replay_tag);
    }
    assert!(tags.iter().all(|tag| *tag == tags[0]));
}

#[test]
#[should_panic(expected = "from_packet_len")]
fn a_packet_has_one_of_five_sizes() {
    let world = World::new(1);
    let choice = KeyChoice { first: world.secret(0), second: None };
    Peeler::new(PORTABLE).open(&mut [&mut [0; 400]], &[choice]);
}
