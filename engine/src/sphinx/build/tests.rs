//! What can only be seen from inside: the product of scalars, and that the scratch is wiped. The
//! packets are compared with sphinx-packet's in `tests/`.

use alloc::vec::Vec;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;

use super::keys::{BASE_POINT, blind};
use super::*;
use crate::crypto::PORTABLE;

fn x25519(scalar: [u8; 32], point: [u8; 32]) -> [u8; 32] {
    let mut product = [[0; 32]];
    (PORTABLE.x25519)(&[scalar], &[point], &mut product);
    product[0]
}

/// One multiplication by the product of `factors` against one multiplication after the other.
fn check_chain(scalar: [u8; 32], factors: &[[u8; 32]], point: [u8; 32]) {
    let mut product = scalar;
    factors.iter().for_each(|factor| blind(&mut product, factor));
    assert_eq!((product[0] & 7, product[31] >> 6), (0, 1), "clamping leaves the product alone");
    let mut expected = x25519(scalar, point);
    factors.iter().for_each(|factor| expected = x25519(*factor, expected));
    assert_eq!(x25519(product, point), expected);
}

/// Zero, all ones, and scalars of one bit, or all but one, where clamping and carries have edges.
fn painted_scalars() -> Vec<[u8; 32]> {
    let mut scalars = Vec::from([[0; 32], [0xff; 32]]);
    for bit in [2, 3, 8, 127, 251, 252, 253, 254, 255] {
        let mut single = [0; 32];
        single[bit / 8] = 1 << (bit % 8);
        scalars.extend([single, single.map(|byte| !byte)]);
    }
    scalars
}

/// Multiples of the prime l by 1 to 15, where reduction has edges.
fn multiples_of_the_order() -> [[u8; 32]; 15] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    core::array::from_fn(|at| {
        let mut carry = 0;
        order.map(|byte| {
            carry += u16::from(byte) * (at as u16 + 1);
            let low = carry.to_le_bytes()[0];
            carry >>= 8;
            low
        })
    })
}

#[test]
fn products_of_awkward_scalars_are_chains_of_multiplications() {
    let point = x25519([5; 32], BASE_POINT);
    let painted = painted_scalars();
    for scalar in painted.iter().chain(&multiples_of_the_order()) {
        for factor in &painted {
            check_chain(*scalar, &[*factor], point);
            check_chain(*factor, &[*scalar], point);
        }
    }
    check_chain(painted[1], &painted, point);
}

#[test]
fn products_hold_for_every_form_of_a_point() {
    let low_order = EIGHT_TORSION.map(|point| point.to_montgomery().to_bytes());
    let honest = x25519([6; 32], BASE_POINT);
    let shifted = EIGHT_TORSION.map(|torsion| {
        let point = MontgomeryPoint(honest).to_edwards(0).unwrap();
        (point + torsion).to_montgomery().to_bytes()
    });
    for mut point in low_order.into_iter().chain(shifted) {
        check_chain([0x3c; 32], &[[0x77; 32], [0xa1; 32]], point);
        point[31] |= 0x80;
        check_chain([0x3c; 32], &[[0x77; 32], [0xa1; 32]], point);
    }
    for low in 0xed..=0xff {
        // p + u, where u is small: only those on the curve are points of a node.
        let mut point = [0xff; 32];
        (point[0], point[31]) = (low, 0x7f);
        if MontgomeryPoint(point).to_edwards(0).is_some() {
            check_chain([0x3c; 32], &[[0x77; 32]], point);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn products_of_random_scalars_are_chains_of_multiplications(
        scalar: [u8; 32],
        factors in proptest::collection::vec(any::<[u8; 32]>(), 1..5),
        secret: [u8; 32],
    ) {
        check_chain(scalar, &factors, x25519(secret, BASE_POINT));
    }
}

fn bytes_of(scratch: &Scratch) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.extend(scratch.scalars.as_flattened());
    bytes.extend(scratch.points.as_flattened());
    bytes.extend(scratch.products.as_flattened());
    bytes.extend(scratch.short_keys.as_flattened());
    bytes.extend(scratch.macs.as_flattened());
    bytes.extend(scratch.payload_keys.as_flattened());
    scratch.keys.as_flattened().iter().for_each(|keys| bytes.extend(keys.as_bytes()));
    bytes.extend(scratch.streams.as_flattened().as_flattened());
    assert_eq!(bytes.len(), size_of::<Scratch>());
    bytes
}

#[test]
fn secrets_are_wiped_after_each_batch() {
    let mut builder = Builder::new(PORTABLE);
    let secret = InitialSecret::from_bytes([4; 32]);
    let route = [Hop { address: [1; 32], public_key: BASE_POINT, delay: Span::ZERO }; MAX_HOPS];
    for count in [1, 5, BATCH_MAX] {
        let requests: Vec<Request<'_>> = (0..count)
            .map(|lane| Request {
                route: &route[..lane % MAX_HOPS + 1],
                destination: [2; 32],
                identifier: [3; 16],
                version: [258, 259][lane / 2 % 2],
                secret: &secret,
                padding: &[5; PADDING_MAX],
                message: &[6; 21],
            })
            .collect();
        let mut packets = alloc::vec![[0; PacketSize::Ack.packet_len()]; count];
        let mut packets: Vec<&mut [u8]> =
            packets.iter_mut().map(|packet| &mut packet[..]).collect();
        builder.build(&requests, &mut packets).unwrap();
        assert!(bytes_of(&builder.scratch).iter().all(|&byte| byte == 0));
        assert!(packets.iter().all(|packet| packet.iter().any(|&byte| byte != 0)));
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let secret = InitialSecret::from_bytes([4; 32]);
    assert_eq!(alloc::format!("{secret:?}"), "InitialSecret(..)");
    let request = Request {
        route: &[],
        destination: [2; 32],
        identifier: [3; 16],
        version: 259,
        secret: &secret,
        padding: &[5; PADDING_MAX],
        message: &[6],
    };
    assert_eq!(alloc::format!("{request:?}"), "Request { hops: 0, version: 259, .. }");
    let builder = Builder::new(PORTABLE);
    assert_eq!(alloc::format!("{builder:?}"), "Builder { kernels: \"portable\", .. }");
}
