//! Known answers of the two parts and of the whole, and agreement with sphinx-packet.
//!
//! The answers of the whole come from an independent composition (Python: hashlib's BLAKE2b and a
//! ChaCha20 written from the RFC).

use alloc::vec;
use alloc::vec::Vec;

use rand::Rng;
use sphinx_packet::payload::Payload;

use super::blake2b::{self, Position};
use super::chacha20::{self, BLOCK};
use super::rounds::{self, Parts};
use super::{Lioness, portable};
use crate::crypto::PAYLOAD_KEY;
use crate::crypto::lanes::emulated::Emulated;
use crate::crypto::testing::{LENGTHS, counting, hex, rng, rows, sha256, tiers};
use crate::wire::geometry::PacketSize;

/// RFC 8439, appendix A.1: test vectors 1 and 3 (blocks 0 and 1 of two keys, zero nonce).
#[test]
fn stream_known_answers() {
    let mut right = [0; 64];
    portable::mix_stream(&[0x77; 32], &[0x77; 32], &mut right);
    let expected: [u8; 64] = hex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
                                  da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
    );
    assert_eq!(right, expected);

    let mut left = [0; 32];
    left[31] = 1;
    let mut right = [0; 128];
    portable::mix_stream(&[0; 32], &left, &mut right);
    let expected: [u8; 64] = hex(
        "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a\
                                  8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
    );
    assert_eq!(right[64..], expected);
}

/// Keyed BLAKE2b with 32 bytes of output: no input, and 100 bytes.
#[test]
fn hash_known_answers() {
    let mut left = [0xff; 32];
    portable::mix_hash(&counting(), &mut left, &[]);
    let digest: [u8; 32] = hex("2fa9fbd9be36437de204e139e97d402bce68c828f43391608c891b5faed8a98a");
    assert_eq!(left.map(|byte| !byte), digest);
    let mut left = [0; 32];
    portable::mix_hash(&counting(), &mut left, &counting::<100>());
    let digest = hex("4256df58e3bb0047811a87e6a905b5c2a3a901b74dd8120cdda8143d459adb5f");
    assert_eq!(left, digest);
}

fn known_blocks(encrypt: Lioness, decrypt: Lioness) {
    let mut short = counting::<38>();
    let mut long = counting::<2065>();
    let keys = [counting(), counting()];
    encrypt(&keys, &mut [&mut short, &mut long]);
    let expected =
        hex::<38>("96779fa265be5f05ced433b975f1f9219564880741c3cb3dc26963b085fa092e7cd9da5b14cf");
    assert_eq!(short, expected);
    let digest = hex("c81c09e8d4056927c2a882038c98697fad5f8ccd2728c031a8e9a45ede9d81d7");
    assert_eq!(sha256(&long), digest);
    decrypt(&keys, &mut [&mut short, &mut long]);
    assert_eq!((short, long), (counting(), counting()));
}

/// Batches of mixed sizes give, lane by lane, what sphinx-packet gives for one payload.
fn agrees_with_sphinx_packet(encrypt: Lioness, decrypt: Lioness) {
    let mut rng = rng(1996);
    for len in LENGTHS {
        let keys: Vec<[u8; PAYLOAD_KEY]> = rows(&mut rng, len);
        let mut payloads: Vec<Vec<u8>> = (0..len)
            .map(|_| vec![0; PacketSize::ALL[rng.next_u32() as usize % 5].payload_len()])
            .collect();
        payloads.iter_mut().for_each(|payload| rng.fill_bytes(payload));
        let before = payloads.clone();
        encrypt(&keys, &mut slices(&mut payloads));
        for ((before, key), after) in before.iter().zip(&keys).zip(&payloads) {
            let single = Payload::from_bytes(before).unwrap().add_encryption_layer(key).unwrap();
            assert_eq!(single.as_bytes(), after);
        }
        payloads.clone_from(&before);
        decrypt(&keys, &mut slices(&mut payloads));
        for ((before, key), after) in before.iter().zip(&keys).zip(&payloads) {
            let single = Payload::from_bytes(before).unwrap().unwrap(key).unwrap();
            assert_eq!(single.as_bytes(), after);
        }
    }
}

fn slices(payloads: &mut [Vec<u8>]) -> Vec<&mut [u8]> {
    payloads.iter_mut().map(Vec::as_mut_slice).collect()
}

/// Every length from one byte of right half to beyond two blocks of the hash, and those around the
/// stream ciphers' strides, in groups of every size up to the widest.
fn tails(encrypt: Lioness, decrypt: Lioness) {
    let mut rng = rng(33);
    for len in (33..=300).chain([545, 1056, 1057, 2047, 2048, 2049, 2080, 2081, 4128, 4129]) {
        let lanes = 1 + len % 17;
        let keys: Vec<[u8; PAYLOAD_KEY]> = rows(&mut rng, lanes);
        let mut payloads = vec![vec![0; len]; lanes];
        payloads.iter_mut().for_each(|payload| rng.fill_bytes(payload));
        let (before, mut expected) = (payloads.clone(), payloads.clone());
        portable::encrypt(&keys, &mut slices(&mut expected));
        encrypt(&keys, &mut slices(&mut payloads));
        assert_eq!(payloads, expected, "{lanes} payloads of {len} bytes");
        decrypt(&keys, &mut slices(&mut payloads));
        assert_eq!(payloads, before, "{lanes} payloads of {len} bytes");
    }
}

/// Every number of lanes up to the largest batch; inputs of one repeated byte.
fn painted(encrypt: Lioness, decrypt: Lioness) {
    for lanes in 0..=64 {
        for len in [38, 2065] {
            let byte = [0x00, 0x7f, 0x80, 0xff][lanes % 4];
            let keys = vec![[!byte; PAYLOAD_KEY]; lanes];
            let mut payloads = vec![vec![byte; len]; lanes];
            let (before, mut expected) = (payloads.clone(), payloads.clone());
            portable::encrypt(&keys, &mut slices(&mut expected));
            encrypt(&keys, &mut slices(&mut payloads));
            assert_eq!(payloads, expected);
            decrypt(&keys, &mut slices(&mut payloads));
            assert_eq!(payloads, before);
        }
    }
}

fn check(encrypt: Lioness, decrypt: Lioness) {
    known_blocks(encrypt, decrypt);
    agrees_with_sphinx_packet(encrypt, decrypt);
    tails(encrypt, decrypt);
    painted(encrypt, decrypt);
}

#[test]
fn every_tier() {
    for tier in tiers() {
        check(tier.lioness_encrypt, tier.lioness_decrypt);
    }
}

/// The algebra of the vector tiers without any instruction set: `H` lanes of the hash and `C` of
/// the stream cipher, in `G` groups.
#[derive(Clone, Copy)]
struct Emulation<const H: usize, const C: usize, const G: usize>;

impl<const H: usize, const C: usize, const G: usize> blake2b::Compress<Emulated<u64, H>, H, G>
    for Emulation<H, C, G>
{
    fn cpu(self) {}

    fn compress(
        self,
        state: &mut blake2b::State<Emulated<u64, H>, G>,
        block: &blake2b::Block<Emulated<u64, H>, G>,
        position: Position,
    ) {
        blake2b::compress((), state, block, position);
    }
}

impl<const H: usize, const C: usize, const G: usize> Parts for Emulation<H, C, G> {
    const GROUP: usize = H * G;

    fn hash(self, keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; 32]]) {
        blake2b::hash(self, keys, messages, digests);
    }

    fn stream(self, keys: &[[u8; 32]], messages: &mut [&mut [u8]]) {
        if messages.iter().all(|message| message.len() <= BLOCK) {
            chacha20::apply_short((), keys, messages, |start, data| {
                chacha20::stream::<Emulated<u32, C>, C, 1>((), start, data);
            });
        } else {
            chacha20::apply_long::<_, C, G>((), keys, messages, |start, data| {
                chacha20::stream::<Emulated<u32, C>, C, G>((), start, data);
            });
        }
    }
}

fn emulated<const H: usize, const C: usize, const G: usize>() {
    check(
        |keys, payloads| rounds::encrypt(Emulation::<H, C, G>, keys, payloads),
        |keys, payloads| rounds::decrypt(Emulation::<H, C, G>, keys, payloads),
    );
}

#[test]
fn algebra_of_every_width() {
    emulated::<1, 1, 1>();
    emulated::<4, 8, 1>();
    emulated::<8, 16, 1>();
    emulated::<8, 16, 2>();
}

#[test]
#[should_panic(expected = "no right half")]
fn a_payload_has_two_halves() {
    portable::decrypt(&[[0; PAYLOAD_KEY]], &mut [&mut [0; 32]]);
}
