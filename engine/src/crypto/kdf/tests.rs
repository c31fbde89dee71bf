//! Known answers for every tier; the fixed inputs of the kernels were run through an independent
//! implementation of HKDF and HMAC (Python's hmac and hashlib).

use alloc::vec;
use alloc::vec::Vec;

use super::{Expand, HeaderMacs, HopKeys, PayloadKeys, portable};
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::testing::{LENGTHS, counting, hex, rng, rows, sha256};
use crate::wire::geometry::BETA_LEN;

/// RFC 5869, appendix A.1 to A.3.
#[test]
fn hkdf_known_answers() {
    let mut out = [0; 42];
    portable::derive(&counting::<13>(), &[0x0b; 22], &hex::<10>("f0f1f2f3f4f5f6f7f8f9"), &mut out);
    let expected: [u8; 42] =
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf\
                                  34007208d5b887185865");
    assert_eq!(out, expected);

    let from = |start: u8| -> [u8; 80] { core::array::from_fn(|i| start + i as u8) };
    let mut out = [0; 82];
    portable::derive(&from(0x60), &from(0), &from(0xb0), &mut out);
    let expected: [u8; 82] =
        hex("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
                                  59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                                  cc30c58179ec3e87c14c01d5c1f3434f1d87");
    assert_eq!(out, expected);

    let mut out = [0; 42];
    portable::derive(b"", &[0x0b; 22], b"", &mut out);
    let expected: [u8; 42] =
        hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d\
                                  9d201395faa4b61a96c8");
    assert_eq!(out, expected);
}

/// RFC 4231, section 4.6: the case that is cut to 128 bits, as the header's MAC is.
#[test]
fn hmac_known_answer() {
    let mut mac = [0; 16];
    portable::authenticate(&[0x0c; 20], b"Test With Truncation", &mut mac);
    assert_eq!(mac, hex("a3b6167473100ee06e0c796c2955552b"));
}

fn known_hop_keys(kernel: Expand) {
    let mut keys = [HopKeys::empty()];
    kernel(&[counting()], &mut keys);
    let [keys] = &keys;
    let digest = hex("779023fd6bdbf32fcc8b70caf809029384a491256fcb7b736437f9517847efd2");
    assert_eq!(sha256(keys.as_bytes()), digest);
    assert_eq!(keys.stream(), &hex("b19b83314e85a517f87df1c6cd98b627"));
    assert_eq!(keys.mac(), &hex("32abda10f68682491413646724633d23"));
    let tag = hex("413fdbe0a388012093a2243ce0bdc3d63a325d720444b4a6b63626c81edfd728");
    assert_eq!(keys.replay_tag(), &tag);
    let parts: [&[u8]; 5] =
        [keys.stream(), keys.mac(), keys.payload(), keys.blinding(), keys.replay_tag()];
    assert_eq!(parts.concat(), keys.as_bytes());
    assert_eq!(keys.payload_seed(), &keys.payload()[..16]);
}

fn known_payload_key(kernel: PayloadKeys) {
    let mut keys = [[0; PAYLOAD_KEY]];
    kernel(&[counting()], &mut keys);
    let digest = hex("ecdf6af93065690194185d6e0b37b12861849ad1da82586c2f45f00b7f234ede");
    assert_eq!(sha256(&keys[0]), digest);
}

fn known_mac(kernel: HeaderMacs) {
    let mut macs = [[0; 16]];
    kernel(&[counting()], &[&counting::<BETA_LEN>()], &mut macs);
    assert_eq!(macs[0], hex("7e5cd60f1c21368360d72ad2284d2f33"));
}

/// Each lane is what a batch of one gives, whatever stands beside it.
fn lanes_are_independent(expand: Expand, payload_keys: PayloadKeys, header_macs: HeaderMacs) {
    let mut rng = rng(5869);
    for len in LENGTHS {
        let secrets: Vec<[u8; 32]> = rows(&mut rng, len);
        let mut keys = vec![HopKeys::empty(); len];
        expand(&secrets, &mut keys);
        let seeds: Vec<[u8; 16]> = rows(&mut rng, len);
        let mut derived = vec![[0xee; PAYLOAD_KEY]; len];
        payload_keys(&seeds, &mut derived);
        let betas: Vec<[u8; BETA_LEN]> = rows(&mut rng, len);
        let mut macs = vec![[0xee; 16]; len];
        header_macs(&seeds, &betas.iter().collect::<Vec<_>>(), &mut macs);
        for lane in 0..len {
            let mut single = [HopKeys::empty()];
            portable::expand(&secrets[lane..=lane], &mut single);
            assert_eq!(single[0].as_bytes(), keys[lane].as_bytes());
            let mut single = [[0; PAYLOAD_KEY]];
            portable::payload_keys(&seeds[lane..=lane], &mut single);
            assert_eq!(single[0], derived[lane]);
            let mut single = [[0; 16]];
            portable::header_macs(&seeds[lane..=lane], &[&betas[lane]], &mut single);
            assert_eq!(single[0], macs[lane]);
        }
    }
}

#[test]
fn portable_tier() {
    known_hop_keys(portable::expand);
    known_payload_key(portable::payload_keys);
    known_mac(portable::header_macs);
    lanes_are_independent(portable::expand, portable::payload_keys, portable::header_macs);
}

#[test]
fn keys_are_absent_from_debug_output() {
    assert_eq!(alloc::format!("{:?}", HopKeys::empty()), "HopKeys(..)");
}
