//! What can only be seen from inside: that the scratch is wiped. The behaviour on packets is
//! tested against sphinx-packet in `tests/`.

use alloc::vec::Vec;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};

use super::*;
use crate::crypto::PORTABLE;
use crate::wire::geometry::PacketSize;

/// All rows of scratch that hold a secret at some time.
fn working_rows(scratch: &Scratch) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.extend(scratch.scalars.as_flattened());
    bytes.extend(scratch.products.as_flattened());
    scratch.derived.iter().for_each(|keys| bytes.extend(keys.as_bytes()));
    bytes.extend(scratch.short_keys.as_flattened());
    bytes.extend(scratch.macs.as_flattened());
    bytes.extend(scratch.blocks.as_flattened());
    bytes.extend(scratch.payload_keys.as_flattened());
    assert_eq!(bytes.len(), size_of::<Scratch>() - size_of_val(&scratch.kept));
    bytes
}

fn kept_rows(scratch: &Scratch) -> Vec<u8> {
    scratch.kept.iter().flat_map(|keys| *keys.as_bytes()).collect()
}

fn is_wiped(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// `count` packets of two hops, the last one damaged.
fn batch(rng: &mut StdRng, secret: &NodeSecret, count: usize) -> Vec<Vec<u8>> {
    let node = Node::new(NodeAddressBytes::from_bytes([7; 32]), secret.public().into());
    let destination = Destination::new(DestinationAddressBytes::from_bytes([8; 32]), [9; 16]);
    let build = |_| {
        SphinxPacketBuilder::new()
            .with_payload_size(PacketSize::Ack.payload_len())
            .with_initial_secret(&random_bytes(rng).into())
            .build_packet([1; 21], &[node.clone(), node.clone()], &destination, &DELAYS)
            .unwrap()
            .to_bytes()
    };
    let mut packets: Vec<Vec<u8>> = (0..count).map(build).collect();
    packets[count - 1][100] ^= 1;
    packets
}

const DELAYS: [Delay; 2] = [Delay::new_from_nanos(1), Delay::new_from_nanos(2)];

fn random_bytes(rng: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[test]
fn secrets_are_wiped_after_each_step() {
    let mut rng = StdRng::seed_from_u64(1);
    let (secret, other) = (
        NodeSecret::from_bytes(random_bytes(&mut rng)),
        NodeSecret::from_bytes(random_bytes(&mut rng)),
    );
    let mut peeler = Peeler::new(PORTABLE);
    for count in [1, 5, BATCH_MAX] {
        let mut packets = batch(&mut rng, &secret, count);
        let mut packets: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
        let keys: Vec<KeyChoice<'_>> = (0..count)
            .map(|lane| match lane % 2 {
                0 => KeyChoice { first: &secret, second: Some(&other) },
                _ => KeyChoice { first: &other, second: Some(&secret) },
            })
            .collect();
        peeler.open(&mut packets, &keys);
        assert!(is_wiped(&working_rows(&peeler.scratch)));
        let held = kept_rows(&peeler.scratch);
        let held: Vec<bool> = held.chunks(288).map(|row| !is_wiped(row)).collect();
        assert_eq!(held.iter().filter(|held| **held).count(), count - 1, "keys are held for strip");

        let keep: Vec<bool> = (0..count).map(|lane| lane + 1 < count && lane % 3 != 0).collect();
        peeler.strip(&mut packets, &keep);
        assert!(is_wiped(&working_rows(&peeler.scratch)));
        assert!(is_wiped(&kept_rows(&peeler.scratch)));
    }
}

/// A batch that is never stripped leaves no keys behind once the next one begins.
#[test]
fn an_abandoned_batch_is_wiped_by_the_next() {
    let mut rng = StdRng::seed_from_u64(2);
    let secret = NodeSecret::from_bytes(random_bytes(&mut rng));
    let mut peeler = Peeler::new(PORTABLE);
    let mut packets = batch(&mut rng, &secret, 9);
    let mut packets: Vec<&mut [u8]> = packets.iter_mut().map(Vec::as_mut_slice).collect();
    peeler.open(&mut packets, &[KeyChoice { first: &secret, second: None }; 9]);
    assert!(!is_wiped(&kept_rows(&peeler.scratch)));
    assert!(peeler.open(&mut [], &[]).is_empty());
    assert!(is_wiped(&kept_rows(&peeler.scratch)));
}

#[test]
#[should_panic(expected = "strip follows open, once")]
fn strip_needs_the_keys_of_an_open() {
    let mut peeler = Peeler::new(PORTABLE);
    peeler.open(&mut [], &[]);
    peeler.strip(&mut [], &[]);
    peeler.strip(&mut [], &[]);
}

#[test]
#[should_panic(expected = "a rejected packet cannot be kept")]
fn a_rejected_packet_cannot_be_kept() {
    let secret = NodeSecret::from_bytes([3; 32]);
    let mut peeler = Peeler::new(PORTABLE);
    let mut packet = alloc::vec![0; PacketSize::Ack.packet_len()];
    peeler.open(&mut [&mut packet], &[KeyChoice { first: &secret, second: None }]);
    peeler.strip(&mut [&mut packet], &[true]);
}
