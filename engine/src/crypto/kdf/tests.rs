//! Known answers for every tier; the fixed inputs of the kernels were run through an independent
//! implementation of HKDF and HMAC (Python's hmac and hashlib).

use alloc::vec;
use alloc::vec::Vec;

use super::sha256::{self, Block, Compress, Schedule, State};
use super::{Expand, HeaderMacs, HopKeys, PayloadKeys, batch, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, sha_ni};
#[cfg(target_arch = "x86_64")]
use crate::cpu::{Avx2, Avx512, Sha};
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::emulated::Emulated;
use crate::crypto::testing::{LENGTHS, counting, hex, rng, rows, sha256 as digest, tiers};
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
    let expected = hex("779023fd6bdbf32fcc8b70caf809029384a491256fcb7b736437f9517847efd2");
    assert_eq!(digest(keys.as_bytes()), expected);
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
    let expected = hex("ecdf6af93065690194185d6e0b37b12861849ad1da82586c2f45f00b7f234ede");
    assert_eq!(digest(&keys[0]), expected);
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

fn check(expand: Expand, payload_keys: PayloadKeys, header_macs: HeaderMacs) {
    known_hop_keys(expand);
    known_payload_key(payload_keys);
    known_mac(header_macs);
    lanes_are_independent(expand, payload_keys, header_macs);
    painted(expand, payload_keys, header_macs);
}

/// Inputs of one repeated byte, in which a word at the wrong place may go unnoticed but a carry or
/// a sign does not.
fn painted(expand: Expand, payload_keys: PayloadKeys, header_macs: HeaderMacs) {
    for byte in [0x00, 0x7f, 0x80, 0xff] {
        let (mut keys, mut expected) = (vec![HopKeys::empty(); 19], vec![HopKeys::empty(); 19]);
        expand(&[[byte; 32]; 19], &mut keys);
        portable::expand(&[[byte; 32]; 19], &mut expected);
        assert!(keys.iter().zip(&expected).all(|(one, other)| one.as_bytes() == other.as_bytes()));
        let (mut keys, mut expected) = ([[0; PAYLOAD_KEY]; 19], [[0; PAYLOAD_KEY]; 19]);
        payload_keys(&[[byte; 16]; 19], &mut keys);
        portable::payload_keys(&[[byte; 16]; 19], &mut expected);
        assert_eq!(keys, expected);
        let (mut macs, mut expected) = ([[0; 16]; 19], [[0; 16]; 19]);
        header_macs(&[[byte; 16]; 19], &[&[byte; BETA_LEN]; 19], &mut macs);
        portable::header_macs(&[[byte; 16]; 19], &[&[byte; BETA_LEN]; 19], &mut expected);
        assert_eq!(macs, expected);
    }
}

#[test]
fn every_tier() {
    for tier in tiers() {
        check(tier.expand, tier.payload_keys, tier.header_macs);
    }
}

/// Kernels that a tier uses on some CPUs only.
#[test]
#[cfg(target_arch = "x86_64")]
fn kernels_outside_this_cpus_tiers() {
    if Avx2::detect().is_some() {
        check(avx2::expand, avx2::payload_keys, avx2::header_macs);
    }
    if Sha::detect().is_some() {
        check(sha_ni::expand, sha_ni::payload_keys, sha_ni::header_macs);
    }
    if Avx512::detect().is_some() {
        check(
            |secrets, keys| avx512::expand_on(None, secrets, keys),
            |seeds, out| avx512::payload_keys_on(None, seeds, out),
            |keys, betas, out| avx512::header_macs_on(None, keys, betas, out),
        );
    }
}

/// The algebra of the vector tiers without any instruction set.
#[derive(Clone, Copy)]
struct Emulation;

impl<const L: usize, const G: usize> Compress<Emulated<u32, L>, L, G> for Emulation {
    fn cpu(self) {}

    fn compress(
        self,
        state: &mut State<Emulated<u32, L>, G>,
        block: &mut Block<Emulated<u32, L>, G>,
    ) {
        sha256::compress((), state, block);
    }

    fn compress_fixed(self, state: &mut State<Emulated<u32, L>, G>, schedule: &Schedule) {
        sha256::compress_fixed((), state, schedule);
    }
}

fn emulated<const L: usize, const G: usize>() {
    check(
        |secrets, keys| {
            for (secrets, keys) in secrets.chunks(L * G).zip(keys.chunks_mut(L * G)) {
                batch::expand::<Emulated<u32, L>, L, G>(Emulation, secrets, keys);
            }
        },
        |seeds, out| {
            for (seeds, out) in seeds.chunks(L * G).zip(out.chunks_mut(L * G)) {
                batch::payload_keys::<Emulated<u32, L>, L, G>(Emulation, seeds, out);
            }
        },
        |keys, betas, out| {
            let chunks = keys.chunks(L * G).zip(betas.chunks(L * G)).zip(out.chunks_mut(L * G));
            for ((keys, betas), out) in chunks {
                batch::header_macs::<Emulated<u32, L>, L, G>(Emulation, keys, betas, out);
            }
        },
    );
}

#[test]
fn algebra_of_every_width() {
    emulated::<1, 1>();
    emulated::<8, 1>();
    emulated::<16, 1>();
    emulated::<16, 2>();
}

#[test]
fn keys_are_absent_from_debug_output() {
    assert_eq!(alloc::format!("{:?}", HopKeys::empty()), "HopKeys(..)");
}
