//! Known answers for every tier; the kernel's fixed start was run through OpenSSL.

use alloc::vec;
use alloc::vec::Vec;

use super::{HeaderStream, portable};
use crate::crypto::testing::{LENGTHS, counting, hex, rng, rows, sha256, tiers};
use crate::wire::geometry::STREAM_LEN;

/// NIST SP 800-38A, appendix F.5.1 (CTR-AES128.Encrypt).
#[test]
fn counter_mode_known_answer() {
    let mut data: [u8; 64] = hex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                                  30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    let expected: [u8; 64] = hex(
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
                                  5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
    );
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    portable::apply(&key, &hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), &mut data);
    assert_eq!(data, expected);
}

fn known_stream(kernel: HeaderStream) {
    let mut blocks = [[0; STREAM_LEN]];
    kernel(&[counting()], &mut blocks);
    assert_eq!(blocks[0][..16], hex::<16>("c6a13b37878f5b826f4f8162a1c8d879"));
    let digest = hex("724be9dfd62148bce60ff0257bebcce5ef55ce867d8a8910f0d9e36897fc54ca");
    assert_eq!(sha256(&blocks[0]), digest);
}

/// Each lane is what a batch of one gives, whatever stands beside it.
fn lanes_are_independent(kernel: HeaderStream) {
    let mut rng = rng(38);
    for len in LENGTHS {
        let keys: Vec<[u8; 16]> = rows(&mut rng, len);
        let before: Vec<[u8; STREAM_LEN]> = rows(&mut rng, len);
        let mut after = before.clone();
        kernel(&keys, &mut after);
        for lane in 0..len {
            let mut single = vec![before[lane]];
            portable::header_stream(&keys[lane..=lane], &mut single);
            assert_eq!(single[0], after[lane]);
        }
    }
}

#[test]
fn every_tier() {
    for tier in tiers() {
        known_stream(tier.header_stream);
        lanes_are_independent(tier.header_stream);
    }
}

/// On a CPU with wide AES instructions the narrow ones are in no tier.
#[test]
#[cfg(target_arch = "x86_64")]
fn narrow_instructions() {
    if crate::cpu::Aes::detect().is_some() {
        known_stream(super::aes_ni::header_stream);
        lanes_are_independent(super::aes_ni::header_stream);
    }
}
