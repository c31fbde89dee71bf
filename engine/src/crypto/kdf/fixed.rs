//! The parts of the derivations that are the same for every packet, computed by the compiler.
//!
//! Salts and info strings are constants. So are the states after a salt's key blocks, and every
//! block that holds nothing but info string, counter and padding: of the 39 compressions that the
//! first derivation is left with, 18 need no message schedule.

use super::sha256::{Schedule, schedule, state_after};
use super::{HOP_INFO, PAYLOAD_INFO, PAYLOAD_SALT};

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of a digest.
const DIGEST: usize = 32;

/// HMAC's states after the key's block: of the inner hash and of the outer (RFC 2104, section 4).
pub(super) struct Pads {
    pub(super) inner: [u32; 8],
    pub(super) outer: [u32; 8],
}

impl Pads {
    const fn new(key: &[u8]) -> Self {
        let inner = state_after(&padded(key, INNER_PAD));
        let outer = state_after(&padded(key, OUTER_PAD));
        Self { inner, outer }
    }
}

/// Byte that the key is combined with for the inner hash.
pub(super) const INNER_PAD: u8 = 0x36;
/// Byte that the key is combined with for the outer hash.
pub(super) const OUTER_PAD: u8 = 0x5c;

/// HKDF's extraction of the hop keys has no salt.
pub(super) static HOP_PADS: Pads = Pads::new(&[]);
/// The payload key's has one.
pub(super) static PAYLOAD_PADS: Pads = Pads::new(PAYLOAD_SALT);

/// HKDF's expansion (RFC 5869, section 2.3) for one info string, without what depends on the key.
///
/// Output 1 hashes `info | 1`, `FIRST` blocks long. Output `i` hashes `output i-1 | info | i`:
/// a block that begins with the output before, `MIDDLE` blocks of info alone, and a block that
/// ends with counter and padding. There are `NEXT` of them.
pub(super) struct Expansion<const FIRST: usize, const MIDDLE: usize, const NEXT: usize> {
    pub(super) first: [Schedule; FIRST],
    /// Words 8 to 15 of the block that begins with the output before.
    pub(super) head: [u32; 8],
    pub(super) middle: [Schedule; MIDDLE],
    pub(super) last: [Schedule; NEXT],
}

/// Nine outputs, 288 bytes.
pub(super) static HOP: Expansion<2, 1, 8> = Expansion::new(HOP_INFO);
/// Six outputs, 192 bytes.
pub(super) static PAYLOAD: Expansion<1, 0, 5> = Expansion::new(PAYLOAD_INFO);

impl<const FIRST: usize, const MIDDLE: usize, const NEXT: usize> Expansion<FIRST, MIDDLE, NEXT> {
    const fn new(info: &[u8]) -> Self {
        assert!(blocks(0, info) == FIRST && blocks(DIGEST, info) == MIDDLE + 2);
        let mut first = [[0; 64]; FIRST];
        let mut i = 0;
        while i < FIRST {
            first[i] = schedule(&block(0, info, 1, i));
            i += 1;
        }
        let mut middle = [[0; 64]; MIDDLE];
        let mut i = 0;
        while i < MIDDLE {
            middle[i] = schedule(&block(DIGEST, info, 2, 1 + i));
            i += 1;
        }
        let mut last = [[0; 64]; NEXT];
        let mut i = 0;
        while i < NEXT {
            last[i] = schedule(&block(DIGEST, info, i as u8 + 2, 1 + MIDDLE));
            i += 1;
        }
        let begin = block(DIGEST, info, 2, 0);
        let mut head = [0; 8];
        let mut i = 0;
        while i < 8 {
            head[i] = begin[8 + i];
            i += 1;
        }
        Self { first, head, middle, last }
    }
}

/// Blocks of `prefix` bytes, info, counter and SHA-256's own padding.
const fn blocks(prefix: usize, info: &[u8]) -> usize {
    (prefix + info.len() + 1 + 9).div_ceil(BLOCK)
}

/// Block `index` of `prefix | info | counter` and padding, the prefix being zero here.
const fn block(prefix: usize, info: &[u8], counter: u8, index: usize) -> [u32; 16] {
    let mut bytes = [0; BLOCK];
    let mut i = 0;
    while i < BLOCK {
        let at = index * BLOCK + i;
        if at >= prefix && at < prefix + info.len() {
            bytes[i] = info[at - prefix];
        } else if at == prefix + info.len() {
            bytes[i] = counter;
        } else if at == prefix + info.len() + 1 {
            bytes[i] = 0x80;
        }
        i += 1;
    }
    let mut words = words(&bytes);
    if index + 1 == blocks(prefix, info) {
        // The inner hash begins with a block of its own, the padded key.
        words[15] = 8 * (BLOCK + prefix + info.len() + 1) as u32;
    }
    words
}

/// A key as HMAC's first block, combined with `pad`.
const fn padded(key: &[u8], pad: u8) -> [u32; 16] {
    let mut bytes = [pad; BLOCK];
    let mut i = 0;
    while i < key.len() {
        bytes[i] ^= key[i];
        i += 1;
    }
    words(&bytes)
}

const fn words(bytes: &[u8; BLOCK]) -> [u32; 16] {
    let (chunks, _) = bytes.as_chunks();
    let mut words = [0; 16];
    let mut i = 0;
    while i < 16 {
        words[i] = u32::from_be_bytes(chunks[i]);
        i += 1;
    }
    words
}
