//! HKDF and HMAC over groups of lanes, for any instruction set that can [`Compress`].
//!
//! The group's lanes beyond the batch's end repeat its last lane; what they give is dropped.
//!
//! All of it is inlined by force into the entries of the instruction sets; see
//! [`lanes`](crate::crypto::lanes).

use zeroize::optimization_barrier;

use super::HopKeys;
use super::fixed::{self, Expansion, INNER_PAD, OUTER_PAD, Pads};
use super::sha256::{Block, Compress, INITIAL, State};
use crate::crypto::lanes::Word32;
use crate::crypto::{PAYLOAD_KEY, wipe};
use crate::wire::geometry::{BETA_LEN, K};

/// Bits of a message of one block and one digest: what the outer hash takes in, and the inner of
/// HKDF's extraction from 32 bytes.
const TWO_BLOCK_BITS: u32 = 8 * (64 + 32);

/// Hop keys of at most one group; see [`Expand`](super::Expand).
#[inline(always)]
pub(super) fn expand<V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    secrets: &[[u8; 32]],
    keys: &mut [HopKeys],
) {
    let mut block = empty(sha);
    let mut salted = Hmac::from_pads(sha, &fixed::HOP_PADS);
    let mut secret = load(sha, |lane| &secrets[lane.min(secrets.len() - 1)]);
    let mut key = salted.of_digest(sha, &mut block, &secret);
    expand_key(sha, &mut block, &key, &fixed::HOP, |index, rows| {
        for (keys, row) in keys.iter_mut().zip(rows) {
            keys.0[32 * index..][..32].copy_from_slice(row);
        }
    });
    salted.wipe(sha);
    wipe_words(sha.cpu(), &mut block);
    wipe_words(sha.cpu(), &mut secret);
    wipe_words(sha.cpu(), &mut key);
}

/// Payload keys of at most one group; see [`PayloadKeys`](super::PayloadKeys).
#[inline(always)]
pub(super) fn payload_keys<V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    seeds: &[[u8; K]],
    out: &mut [[u8; PAYLOAD_KEY]],
) {
    let mut block = empty(sha);
    let mut salted = Hmac::from_pads(sha, &fixed::PAYLOAD_PADS);
    let mut seed = load_half(sha, seeds);
    let mut key = salted.of_half_digest(sha, &mut block, &seed);
    expand_key(sha, &mut block, &key, &fixed::PAYLOAD, |index, rows| {
        for (out, row) in out.iter_mut().zip(rows) {
            out[32 * index..][..32].copy_from_slice(row);
        }
    });
    salted.wipe(sha);
    wipe_words(sha.cpu(), &mut block);
    wipe_words(sha.cpu(), &mut seed);
    wipe_words(sha.cpu(), &mut key);
}

/// MACs of at most one group; see [`HeaderMacs`](super::HeaderMacs).
#[inline(always)]
pub(super) fn header_macs<V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    keys: &[[u8; K]],
    betas: &[&[u8; BETA_LEN]],
    out: &mut [[u8; K]],
) {
    let mut key = load_half(sha, keys);
    let mut block = empty(sha);
    let mut hmac = Hmac::new(sha, &mut block, &key, 4);
    let mut state = hmac.inner;
    for index in 0..BETA_LEN / 64 {
        block = load_block(sha, |lane, half| {
            let beta = betas[lane.min(betas.len() - 1)];
            beta[64 * index + 32 * half..].first_chunk().expect("a whole block is left")
        });
        sha.compress(&mut state, &mut block);
    }
    let mut last = [[[0; 64]; L]; G];
    for (lane, row) in last.as_flattened_mut().iter_mut().enumerate() {
        let rest = &betas[lane.min(betas.len() - 1)][BETA_LEN / 64 * 64..];
        row[..rest.len()].copy_from_slice(rest);
        row[rest.len()] = 0x80;
        row[60..].copy_from_slice(&(8 * (64 + BETA_LEN as u32)).to_be_bytes());
    }
    let rows = last.as_flattened();
    block =
        load_block(sha, |lane, half| rows[lane][32 * half..].first_chunk().expect("half a block"));
    sha.compress(&mut state, &mut block);
    let digest = hmac.finish(sha, &mut block, &state);
    let mut rows = [[[0; 32]; L]; G];
    store(&digest, &mut rows);
    for (out, row) in out.iter_mut().zip(rows.as_flattened()) {
        out.copy_from_slice(&row[..K]);
    }
    wipe_words(sha.cpu(), &mut key);
    wipe_words(sha.cpu(), &mut block);
    hmac.wipe(sha);
}

/// HKDF's expansion: hands over each output, a row per lane. `block` is room for a block, here and
/// below; whoever gave it wipes it.
#[inline(always)]
fn expand_key<
    V: Word32<L>,
    const L: usize,
    const G: usize,
    const F: usize,
    const M: usize,
    const N: usize,
>(
    sha: impl Compress<V, L, G>,
    block: &mut Block<V, G>,
    key: &State<V, G>,
    fixed: &Expansion<F, M, N>,
    mut put: impl FnMut(usize, &[[u8; 32]]),
) {
    let mut hmac = Hmac::new(sha, block, key, 8);
    let mut rows = [[[0; 32]; L]; G];

    let mut state = hmac.inner;
    for schedule in &fixed.first {
        sha.compress_fixed(&mut state, schedule);
    }
    let mut output = hmac.finish(sha, block, &state);
    store(&output, &mut rows);
    put(0, rows.as_flattened());

    for (i, last) in fixed.last.iter().enumerate() {
        for (head, output) in block.iter_mut().zip(&output) {
            head[..8].copy_from_slice(output);
            for (word, &fixed) in head[8..].iter_mut().zip(&fixed.head) {
                *word = V::splat(sha.cpu(), fixed);
            }
        }
        state = hmac.inner;
        sha.compress(&mut state, block);
        for schedule in &fixed.middle {
            sha.compress_fixed(&mut state, schedule);
        }
        sha.compress_fixed(&mut state, last);
        output = hmac.finish(sha, block, &state);
        store(&output, &mut rows);
        put(i + 1, rows.as_flattened());
    }
    hmac.wipe(sha);
    wipe(rows.as_flattened_mut());
    wipe_words(sha.cpu(), &mut state);
    wipe_words(sha.cpu(), &mut output);
}

/// HMAC keyed: the states after the key's block.
struct Hmac<V, const G: usize> {
    inner: State<V, G>,
    outer: State<V, G>,
}

impl<V, const G: usize> Hmac<V, G> {
    /// Keyed with the first `len` words of `key`.
    #[inline(always)]
    fn new<const L: usize>(
        sha: impl Compress<V, L, G>,
        block: &mut Block<V, G>,
        key: &State<V, G>,
        len: usize,
    ) -> Self
    where
        V: Word32<L>,
    {
        let initial = [INITIAL.map(|word| V::splat(sha.cpu(), word)); G];
        let mut states = [initial; 2];
        for (state, pad) in states.iter_mut().zip([INNER_PAD, OUTER_PAD]) {
            let pad = V::splat(sha.cpu(), u32::from_ne_bytes([pad; 4]));
            *block = [[pad; 16]; G];
            for (block, key) in block.iter_mut().zip(key) {
                for (word, key) in block.iter_mut().zip(&key[..len]) {
                    *word = key.xor(pad);
                }
            }
            sha.compress(state, block);
        }
        let [inner, outer] = states;
        Self { inner, outer }
    }

    /// Keyed with the same, known key in all lanes.
    #[inline(always)]
    fn from_pads<const L: usize>(sha: impl Compress<V, L, G>, pads: &Pads) -> Self
    where
        V: Word32<L>,
    {
        let spread = |state: &[u32; 8]| {
            let mut words = [V::splat(sha.cpu(), 0); 8];
            words.iter_mut().zip(state).for_each(|(v, &word)| *v = V::splat(sha.cpu(), word));
            [words; G]
        };
        Self { inner: spread(&pads.inner), outer: spread(&pads.outer) }
    }

    /// The MAC of 32 bytes.
    #[inline(always)]
    fn of_digest<const L: usize>(
        &self,
        sha: impl Compress<V, L, G>,
        block: &mut Block<V, G>,
        data: &State<V, G>,
    ) -> State<V, G>
    where
        V: Word32<L>,
    {
        let mut state = self.inner;
        close(sha, block, &mut state, data, 8, TWO_BLOCK_BITS);
        self.finish(sha, block, &state)
    }

    /// The MAC of 16 bytes, the first words of `data`.
    #[inline(always)]
    fn of_half_digest<const L: usize>(
        &self,
        sha: impl Compress<V, L, G>,
        block: &mut Block<V, G>,
        data: &State<V, G>,
    ) -> State<V, G>
    where
        V: Word32<L>,
    {
        let mut state = self.inner;
        close(sha, block, &mut state, data, 4, TWO_BLOCK_BITS - 8 * 16);
        self.finish(sha, block, &state)
    }

    /// The MAC of what the inner hash has taken in.
    #[inline(always)]
    fn finish<const L: usize>(
        &self,
        sha: impl Compress<V, L, G>,
        block: &mut Block<V, G>,
        inner: &State<V, G>,
    ) -> State<V, G>
    where
        V: Word32<L>,
    {
        let mut state = self.outer;
        close(sha, block, &mut state, inner, 8, TWO_BLOCK_BITS);
        state
    }

    #[inline(always)]
    fn wipe<const L: usize>(&mut self, sha: impl Compress<V, L, G>)
    where
        V: Word32<L>,
    {
        wipe_words(sha.cpu(), &mut self.inner);
        wipe_words(sha.cpu(), &mut self.outer);
    }
}

/// Takes in the first `len` words of `data` and the padding of a message of `bits`.
#[inline(always)]
fn close<V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    block: &mut Block<V, G>,
    state: &mut State<V, G>,
    data: &State<V, G>,
    len: usize,
    bits: u32,
) {
    *block = empty(sha);
    for (block, data) in block.iter_mut().zip(data) {
        block[..len].copy_from_slice(&data[..len]);
        block[len] = V::splat(sha.cpu(), 0x8000_0000);
        block[15] = V::splat(sha.cpu(), bits);
    }
    sha.compress(state, block);
}

/// A block of zeros.
#[inline(always)]
fn empty<V: Word32<L>, const L: usize, const G: usize>(sha: impl Compress<V, L, G>) -> Block<V, G> {
    [[V::splat(sha.cpu(), 0); 16]; G]
}

/// A block per lane; the argument gives each half of each lane's.
#[inline(always)]
fn load_block<'a, V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    row: impl Fn(usize, usize) -> &'a [u8; 32],
) -> Block<V, G> {
    let mut block = [[V::splat(sha.cpu(), 0); 16]; G];
    let halves = [load(sha, |lane| row(lane, 0)), load(sha, |lane| row(lane, 1))];
    for (g, block) in block.iter_mut().enumerate() {
        block[..8].copy_from_slice(&halves[0][g]);
        block[8..].copy_from_slice(&halves[1][g]);
    }
    block
}

/// 32 bytes per lane as big-endian words.
#[inline(always)]
fn load<'a, V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    row: impl Fn(usize) -> &'a [u8; 32],
) -> State<V, G> {
    let mut words = [[V::splat(sha.cpu(), 0); 8]; G];
    for (g, words) in words.iter_mut().enumerate() {
        let mut rows = [row(g * L); L];
        for (lane, place) in rows.iter_mut().enumerate() {
            *place = row(g * L + lane);
        }
        *words = V::load_rows(sha.cpu(), &rows);
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
    }
    words
}

/// 16 bytes per lane as big-endian words, the other four zero.
#[inline(always)]
fn load_half<V: Word32<L>, const L: usize, const G: usize>(
    sha: impl Compress<V, L, G>,
    values: &[[u8; K]],
) -> State<V, G> {
    let mut rows = [[[0; 32]; L]; G];
    for (lane, row) in rows.as_flattened_mut().iter_mut().enumerate() {
        row[..K].copy_from_slice(&values[lane.min(values.len() - 1)]);
    }
    let words = load(sha, |lane| &rows.as_flattened()[lane]);
    wipe(rows.as_flattened_mut());
    words
}

/// The digest of each lane as bytes.
#[inline(always)]
fn store<V: Word32<L>, const L: usize, const G: usize>(
    digest: &State<V, G>,
    rows: &mut [[[u8; 32]; L]; G],
) {
    for (digest, rows) in digest.iter().zip(rows) {
        let mut words = *digest;
        words.iter_mut().for_each(|word| *word = word.swap_bytes());
        V::store_rows(&words, rows);
    }
}

/// Overwrites words in a way that the compiler keeps.
#[inline(always)]
fn wipe_words<V: Word32<L>, const L: usize, const N: usize, const G: usize>(
    cpu: V::Cpu,
    words: &mut [[V; N]; G],
) {
    *words = [[V::splat(cpu, 0); N]; G];
    optimization_barrier(words);
}
