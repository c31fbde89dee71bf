//! `final_message` against sphinx-packet's `recover_plaintext`.

use phix_engine::sphinx::final_message;
use phix_engine::wire::geometry::PacketSize;
use rand::RngExt;
use sphinx_packet::payload::Payload;

use crate::world::{World, oracle};

/// What sphinx-packet finds; it also refuses what is too short to be a payload at all.
fn recover(payload: &[u8]) -> Option<Vec<u8>> {
    Payload::from_bytes(payload).ok()?.recover_plaintext().ok()
}

/// Payloads as sphinx-packet builds them, one of each size and version.
#[test]
fn arrived_messages_are_recovered() {
    let mut world = World::new(16);
    for size in PacketSize::ALL {
        for version in [258, 259, 260] {
            let flight = world.build(version, size, 1);
            let payload = oracle(&flight.bytes, world.secret(flight.at)).unwrap().bytes;
            let message = final_message(&payload).expect("sphinx-packet built it");
            assert_eq!(Some(message.to_vec()), recover(&payload));
        }
    }
}

/// Payloads of few distinct bytes, so that zeros, ones and others meet in every order.
#[test]
fn painted_payloads_agree_with_sphinx_packet() {
    let mut world = World::new(17);
    let (mut some, mut none) = (0, 0);
    for round in 0..20_000 {
        let mut payload: Vec<u8> = (0..round % 48)
            .map(|at| if at < 16 { 0 } else { [0, 0, 1, 2, 255][world.rng.random_range(0..5)] })
            .collect();
        if world.rng.random_range(0..4) == 0 && !payload.is_empty() {
            let at = world.rng.random_range(0..payload.len());
            payload[at] = world.rng.random();
        }
        let found = final_message(&payload).map(<[u8]>::to_vec);
        *(if found.is_some() { &mut some } else { &mut none }) += 1;
        assert_eq!(found, recover(&payload));
    }
    assert!(some > 5_000 && none > 5_000, "both outcomes are common: {some}, {none}");
}

#[test]
fn the_last_one_ends_the_message() {
    let zeros = [0; 16];
    assert_eq!(final_message(&[&zeros[..], &[1]].concat()), Some(&[][..]));
    assert_eq!(final_message(&[&zeros[..], &[9, 1, 1, 0, 0]].concat()), Some(&[9, 1][..]));
    assert_eq!(final_message(&[&zeros[..], &[9, 1, 7]].concat()), Some(&[9][..]));
    assert_eq!(final_message(&[&zeros[..], &[9, 0]].concat()), None);
    assert_eq!(final_message(&zeros), None);
    assert_eq!(final_message(&[&[0, 0, 1][..], &zeros, &[1]].concat()), None);
}
