//! Keyed BLAKE2b (RFC 7693) with a 64-byte key and 32 bytes of output, one message per lane.

use core::hint::black_box;

use zeroize::{optimization_barrier, zeroize_bytes};

use crate::crypto::lanes::{Word64, each_group, unroll};
use crate::crypto::wipe;

/// Section 2.6.
const INITIAL: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// Section 2.7; rounds 10 and 11 are the first two again.
const SIGMA: [[usize; 16]; 12] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
];

/// Section 2.5: 32 bytes of output, 64 of key, one leaf.
const PARAMETERS: u64 = 0x0101_0000 | 64 << 8 | 32;

/// Bytes of a block.
const BLOCK: usize = 128;

/// The indices of four mixings of columns, and of four of diagonals.
const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

/// Chaining values of `G` groups of lanes.
pub(super) type State<V, const G: usize> = [[V; 8]; G];

/// One message block for each lane of `G` groups.
pub(super) type Block<V, const G: usize> = [[V; 16]; G];

/// Where in its message a block ends, and whether it is the last.
#[derive(Clone, Copy)]
pub(super) struct Position {
    end: u64,
    last: bool,
}

/// How an instruction set compresses.
pub(super) trait Compress<V: Word64<L>, const L: usize, const G: usize>: Copy {
    /// Proof that the CPU has the instructions.
    fn cpu(self) -> V::Cpu;

    /// Takes in one block per lane.
    fn compress(self, state: &mut State<V, G>, block: &Block<V, G>, position: Position);
}

/// The hashes of at most `L * G` messages of one length, not empty; fewer are padded by repeating
/// the last.
#[inline(always)]
pub(super) fn hash<V: Word64<L>, const L: usize, const G: usize>(
    blake: impl Compress<V, L, G>,
    keys: &[&[u8; 64]],
    messages: &[&[u8]],
    digests: &mut [[u8; 32]],
) {
    let cpu = blake.cpu();
    let len = messages[0].len();
    assert!(len > 0 && messages.iter().all(|message| message.len() == len));
    let last = keys.len().min(messages.len()) - 1;

    let mut initial = [V::splat(cpu, 0); 8];
    unroll!(i in [0 1 2 3 4 5 6 7] { initial[i] = V::splat(cpu, INITIAL[i]); });
    initial[0] = initial[0].xor(V::splat(cpu, PARAMETERS));
    let mut state = [initial; G];

    let mut block = [[V::splat(cpu, 0); 16]; G];
    for (g, block) in block.iter_mut().enumerate() {
        block[..8].copy_from_slice(&load(cpu, |lane| keys[(g * L + lane).min(last)]));
    }
    let end = BLOCK as u64;
    blake.compress(&mut state, &block, Position { end, last: false });

    // The last block is copied, because it may have to be padded.
    let whole = (len - 1) / BLOCK;
    let mut ends = [[[0; BLOCK]; L]; G];
    for (lane, place) in ends.as_flattened_mut().iter_mut().enumerate() {
        let rest = &messages[lane.min(last)][whole * BLOCK..];
        place[..rest.len()].copy_from_slice(rest);
    }
    let mut blocks = [[messages[0].as_chunks::<BLOCK>().0; L]; G];
    for (lane, blocks) in blocks.as_flattened_mut().iter_mut().enumerate() {
        *blocks = messages[lane.min(last)].as_chunks().0;
    }
    for index in 0..=whole {
        for (g, block) in block.iter_mut().enumerate() {
            let mut rows = [&ends[g][0]; L];
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = blocks[g][lane].get(index).unwrap_or(&ends[g][lane]);
            }
            let half = |lane: usize, at: usize| &rows[lane].as_chunks().0[at];
            block[..8].copy_from_slice(&load(cpu, |lane| half(lane, 0)));
            block[8..].copy_from_slice(&load(cpu, |lane| half(lane, 1)));
        }
        let end = (BLOCK + len.min(BLOCK * (index + 1))) as u64;
        blake.compress(&mut state, &block, Position { end, last: index == whole });
    }

    store(&state, digests);
    state = [[V::splat(cpu, 0); 8]; G];
    optimization_barrier(&state);
    block = [[V::splat(cpu, 0); 16]; G];
    optimization_barrier(&block);
    zeroize_bytes(ends.as_flattened_mut().as_flattened_mut());
}

/// 64 bytes per lane.
#[inline(always)]
fn load<'a, V: Word64<L>, const L: usize>(
    cpu: V::Cpu,
    row: impl Fn(usize) -> &'a [u8; 64],
) -> [V; 8] {
    let mut rows = [row(0); L];
    for (lane, place) in rows.iter_mut().enumerate() {
        *place = row(lane);
    }
    V::load_rows(cpu, &rows)
}

#[inline(always)]
fn store<V: Word64<L>, const L: usize, const G: usize>(
    state: &State<V, G>,
    digests: &mut [[u8; 32]],
) {
    for (state, digests) in state.iter().zip(digests.chunks_mut(L)) {
        let mut rows = [[0; 32]; L];
        for (i, words) in state[..4].iter().enumerate() {
            for (row, word) in rows.iter_mut().zip(words.lanes()) {
                row[8 * i..][..8].copy_from_slice(&word.to_le_bytes());
            }
        }
        digests.copy_from_slice(&rows[..digests.len()]);
        wipe(&mut rows);
    }
}

/// The compression (section 3.2) for any vector.
#[inline(always)]
pub(super) fn compress<V: Word64<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    state: &mut State<V, G>,
    block: &Block<V, G>,
    position: Position,
) {
    let mut v = begin(cpu, state, position);
    rounds(&mut v, block);
    finish(state, &v);
}

/// What the rounds start from.
#[inline(always)]
pub(super) fn begin<V: Word64<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    state: &State<V, G>,
    position: Position,
) -> Block<V, G> {
    let mut v = [[V::splat(cpu, 0); 16]; G];
    let last = if position.last { !0 } else { 0 };
    each_group!(g of G {
        unroll!(i in [0 1 2 3 4 5 6 7] {
            v[g][i] = state[g][i];
            v[g][8 + i] = V::splat(cpu, INITIAL[i]);
        });
        v[g][12] = V::splat(cpu, INITIAL[4] ^ position.end);
        v[g][14] = V::splat(cpu, INITIAL[6] ^ last);
    });
    v
}

/// Takes in what the rounds have come to.
#[inline(always)]
pub(super) fn finish<V: Word64<L>, const L: usize, const G: usize>(
    state: &mut State<V, G>,
    v: &Block<V, G>,
) {
    each_group!(g of G {
        unroll!(i in [0 1 2 3 4 5 6 7] {
            state[g][i] = state[g][i].xor(v[g][i]).xor(v[g][8 + i]);
        });
    });
}

/// The rounds for any vector.
#[inline(always)]
fn rounds<V: Word64<L>, const L: usize, const G: usize>(v: &mut Block<V, G>, block: &Block<V, G>) {
    unroll!(round in [0 1 2 3 4 5 6 7 8 9 10 11] {
        let (s, block) = (SIGMA[round], from_memory(block));
        mix(v, block, COLUMNS, [s[0], s[2], s[4], s[6]], [s[1], s[3], s[5], s[7]]);
        mix(v, block, DIAGONALS, [s[8], s[10], s[12], s[14]], [s[9], s[11], s[13], s[15]]);
    });
}

/// The same block, which the compiler takes for another one. Otherwise it loads a word once for all
/// twelve rounds, although the state alone fills the registers, and the words go back to memory; an
/// addition that fetches its word is as fast as one that does not.
#[inline(always)]
fn from_memory<V, const G: usize>(block: &Block<V, G>) -> &Block<V, G> {
    black_box(block)
}

/// Four mixings (section 3.1), as many side by side as there are registers for: each step of one
/// waits for the step before, never for another mixing.
#[inline(always)]
fn mix<V: Word64<L>, const L: usize, const G: usize>(
    v: &mut Block<V, G>,
    block: &Block<V, G>,
    rows: [[usize; 4]; 4],
    first: [usize; 4],
    second: [usize; 4],
) {
    unroll!(part in [0 1 2 3] {
        if part * V::ABREAST < 4 {
            add_words(v, block, rows, first, part);
            step::<V, L, G, 32>(v, rows, [0, 1, 3], part);
            step::<V, L, G, 24>(v, rows, [2, 3, 1], part);
            add_words(v, block, rows, second, part);
            step::<V, L, G, 16>(v, rows, [0, 1, 3], part);
            step::<V, L, G, 63>(v, rows, [2, 3, 1], part);
        }
    });
}

#[inline(always)]
fn add_words<V: Word64<L>, const L: usize, const G: usize>(
    v: &mut Block<V, G>,
    block: &Block<V, G>,
    rows: [[usize; 4]; 4],
    words: [usize; 4],
    part: usize,
) {
    each_group!(g of G {
        unroll!(q in [0 1 2 3] {
            if q / V::ABREAST == part {
                let a = rows[q][0];
                v[g][a] = v[g][a].add(block[g][words[q]]);
            }
        });
    });
}

/// `x += y; z = (z ^ x) rotated right by N`.
#[inline(always)]
fn step<V: Word64<L>, const L: usize, const G: usize, const N: u32>(
    v: &mut Block<V, G>,
    rows: [[usize; 4]; 4],
    [x, y, z]: [usize; 3],
    part: usize,
) {
    each_group!(g of G {
        unroll!(q in [0 1 2 3] {
            if q / V::ABREAST == part {
                let (x, y) = (rows[q][x], rows[q][y]);
                v[g][x] = v[g][x].add(v[g][y]);
            }
        });
    });
    each_group!(g of G {
        unroll!(q in [0 1 2 3] {
            if q / V::ABREAST == part {
                let (x, z) = (rows[q][x], rows[q][z]);
                v[g][z] = v[g][z].xor(v[g][x]).rotate_right::<N>();
            }
        });
    });
}
