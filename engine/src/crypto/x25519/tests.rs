//! Known answers for every tier, and the agreement of lanes with single calls.

use alloc::vec;

use super::{X25519, emulated, portable};
use crate::crypto::testing::{LENGTHS, hex, rng, rows};

fn one(kernel: X25519, scalar: [u8; 32], point: [u8; 32]) -> [u8; 32] {
    let mut out = [[0; 32]];
    kernel(&[scalar], &[point], &mut out);
    out[0]
}

/// RFC 7748, section 5.2: two products; the second point has its top bit set.
fn known_products(kernel: X25519) {
    let product = one(
        kernel,
        hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    );
    let expected = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    assert_eq!(product, expected);
    let product = one(
        kernel,
        hex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
        hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
    );
    let expected = hex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
    assert_eq!(product, expected);
}

/// RFC 7748, section 5.2: each product becomes the next scalar, and the scalar the next point.
fn known_iteration(kernel: X25519) {
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    scalar[0] = 9;
    point[0] = 9;
    for round in 1..=1000 {
        (scalar, point) = (one(kernel, scalar, point), scalar);
        if round == 1 {
            let first = hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
            assert_eq!(scalar, first);
        }
    }
    let last = hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
    assert_eq!(scalar, last);
}

/// RFC 7748, section 6.1: both sides agree.
fn known_agreement(kernel: X25519) {
    let mut base = [0; 32];
    base[0] = 9;
    let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let publics = [one(kernel, alice, base), one(kernel, bob, base)];
    let expected = [
        hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
        hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
    ];
    assert_eq!(publics, expected);
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(one(kernel, alice, publics[1]), shared);
    assert_eq!(one(kernel, bob, publics[0]), shared);
}

/// Points of small order give zero and are not refused.
fn low_order(kernel: X25519) {
    let scalar = [0x5a; 32];
    let mut one_point = [0; 32];
    one_point[0] = 1;
    assert_eq!(one(kernel, scalar, [0; 32]), [0; 32]);
    assert_eq!(one(kernel, scalar, one_point), [0; 32]);
    let order_8 = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    assert_eq!(one(kernel, scalar, order_8), [0; 32]);
}

/// Each lane is what a batch of one gives, whatever stands beside it.
fn lanes_are_independent(kernel: X25519) {
    let mut rng = rng(7748);
    for len in LENGTHS {
        let (scalars, points) = (rows(&mut rng, len), rows(&mut rng, len));
        let mut out = vec![[0xee; 32]; len];
        kernel(&scalars, &points, &mut out);
        for lane in 0..len {
            assert_eq!(out[lane], one(portable::x25519, scalars[lane], points[lane]));
        }
    }
}

#[test]
fn portable_tier() {
    known_products(portable::x25519);
    known_iteration(portable::x25519);
    known_agreement(portable::x25519);
    low_order(portable::x25519);
    lanes_are_independent(portable::x25519);
}

#[test]
fn emulated_ifma() {
    known_products(emulated::ifma);
    known_agreement(emulated::ifma);
    low_order(emulated::ifma);
    lanes_are_independent(emulated::ifma);
}

#[test]
fn emulated_fused() {
    known_products(emulated::fused);
    known_agreement(emulated::fused);
    low_order(emulated::fused);
    lanes_are_independent(emulated::fused);
}

#[test]
fn avx2_tier() {
    let k = crate::crypto::avx2().unwrap().x25519;
    known_products(k);
    known_agreement(k);
    low_order(k);
    lanes_are_independent(k);
    known_iteration(k);
}

#[test]
#[should_panic(expected = "scalars.len() == points.len()")]
fn lengths_must_agree() {
    portable::x25519(&[[1; 32]], &[], &mut [[0; 32]]);
}
