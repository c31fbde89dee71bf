//! The four rounds over runs of payloads of one length, for any pair of hash and stream cipher
//! that works on several messages at once.

use arrayvec::ArrayVec;

use super::LEFT;
use crate::crypto::{PAYLOAD_KEY, wipe};

/// Payloads that go through the rounds together, at most.
pub(super) const GROUP_MAX: usize = 16;

/// Where the parts of a key begin.
const STREAM_KEYS: [usize; 2] = [0, 96];
const HASH_KEYS: [usize; 2] = [32, 128];

/// How an instruction set does the two parts of a round.
pub(super) trait Parts: Copy {
    /// Payloads that go through the rounds together: as many as the hash has lanes, and few
    /// enough for the first-level cache to hold them from one round to the next.
    const GROUP: usize;

    /// Keyed hashes of at most `GROUP` messages of one length, not empty.
    fn hash(self, keys: &[&[u8; 64]], messages: &[&[u8]], digests: &mut [[u8; 32]]);

    /// Xors a key stream onto each of at most `GROUP` messages of one length.
    fn stream(self, keys: &[[u8; 32]], messages: &mut [&mut [u8]]);
}

/// Takes a layer off.
#[inline(always)]
pub(super) fn decrypt(parts: impl Parts, keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    runs(parts, keys, payloads, |keys, payloads, scratch| {
        hash_round(parts, keys, HASH_KEYS[1], payloads, scratch);
        stream_round(parts, keys, STREAM_KEYS[1], payloads, scratch);
        hash_round(parts, keys, HASH_KEYS[0], payloads, scratch);
        stream_round(parts, keys, STREAM_KEYS[0], payloads, scratch);
    });
}

/// Puts a layer on.
#[inline(always)]
pub(super) fn encrypt(parts: impl Parts, keys: &[[u8; PAYLOAD_KEY]], payloads: &mut [&mut [u8]]) {
    runs(parts, keys, payloads, |keys, payloads, scratch| {
        stream_round(parts, keys, STREAM_KEYS[0], payloads, scratch);
        hash_round(parts, keys, HASH_KEYS[0], payloads, scratch);
        stream_round(parts, keys, STREAM_KEYS[1], payloads, scratch);
        hash_round(parts, keys, HASH_KEYS[1], payloads, scratch);
    });
}

/// Digests, or keys of the stream cipher. Where it lies on the stack is chance; that no row lies in
/// two lines of the cache is not.
#[repr(align(64))]
struct Scratch([[u8; 32]; GROUP_MAX]);

/// Cuts the batch where the length changes and where a group is full.
#[inline(always)]
fn runs<P: Parts>(
    _: P,
    keys: &[[u8; PAYLOAD_KEY]],
    payloads: &mut [&mut [u8]],
    rounds: impl Fn(&[[u8; PAYLOAD_KEY]], &mut [&mut [u8]], &mut Scratch),
) {
    const { assert!(P::GROUP <= GROUP_MAX) }
    assert_eq!(keys.len(), payloads.len());
    for payload in &*payloads {
        assert!(payload.len() > LEFT, "a payload of {} bytes has no right half", payload.len());
    }
    let mut scratch = Scratch([[0; 32]; GROUP_MAX]);
    let mut rest = keys;
    for run in payloads.chunk_by_mut(|one, other| one.len() == other.len()) {
        for group in run.chunks_mut(P::GROUP) {
            let (keys, after) = rest.split_at(group.len());
            rounds(keys, group, &mut scratch);
            rest = after;
        }
    }
    wipe(&mut scratch.0);
}

/// `left ^= hash(key, right)`, the key being the part of each payload's key at `part`.
#[inline(always)]
fn hash_round(
    parts: impl Parts,
    keys: &[[u8; PAYLOAD_KEY]],
    part: usize,
    payloads: &mut [&mut [u8]],
    digests: &mut Scratch,
) {
    let keys: ArrayVec<&[u8; 64], GROUP_MAX> =
        keys.iter().map(|key| key[part..].first_chunk().expect("the key has this part")).collect();
    let rights: ArrayVec<&[u8], GROUP_MAX> =
        payloads.iter().map(|payload| &payload[LEFT..]).collect();
    let digests = &mut digests.0[..keys.len()];
    parts.hash(&keys, &rights, digests);
    drop(rights);
    for (payload, digest) in payloads.iter_mut().zip(digests) {
        payload.iter_mut().zip(&*digest).for_each(|(byte, digest)| *byte ^= digest);
    }
}

/// `right ^= stream(left ^ key)`, the key being the part of each payload's key at `part`.
#[inline(always)]
fn stream_round(
    parts: impl Parts,
    keys: &[[u8; PAYLOAD_KEY]],
    part: usize,
    payloads: &mut [&mut [u8]],
    round_keys: &mut Scratch,
) {
    let mut rights = ArrayVec::<&mut [u8], GROUP_MAX>::new();
    for ((payload, key), round_key) in payloads.iter_mut().zip(keys).zip(&mut round_keys.0) {
        let (left, right) = payload.split_at_mut(LEFT);
        round_key.copy_from_slice(left);
        round_key.iter_mut().zip(&key[part..]).for_each(|(byte, key)| *byte ^= key);
        rights.push(right);
    }
    parts.stream(&round_keys.0[..rights.len()], &mut rights);
}
