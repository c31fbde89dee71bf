//! ChaCha20 (RFC 8439, section 2.3) with one block per lane.

use zeroize::optimization_barrier;

use crate::crypto::lanes::{Word32, each_group, unroll};
use crate::crypto::wipe;

/// Section 2.3: "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Blocks before the rounds, one per lane: what the rounds start from and are added to.
pub(super) type Start<V> = [V; 16];

/// Which word of a block counts the blocks.
const COUNTER: usize = 12;

/// The indices of four quarter rounds on columns, and of four on diagonals.
const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

/// Consecutive blocks of one key and the zero nonce, from block `first`.
#[inline(always)]
fn start_of_run<V: Word32<L>, const L: usize>(cpu: V::Cpu, key: &[u8; 32], first: u32) -> Start<V> {
    let mut start = constants(cpu);
    let (words, _) = key.as_chunks();
    unroll!(i in [0 1 2 3 4 5 6 7] {
        start[4 + i] = V::splat(cpu, u32::from_le_bytes(words[i]));
    });
    start[COUNTER] = V::ascending(cpu).add(V::splat(cpu, first));
    start
}

/// Block zero of as many keys as there are lanes. `keys` may be fewer: the last is repeated.
#[inline(always)]
fn start_of_many<V: Word32<L>, const L: usize>(cpu: V::Cpu, keys: &[[u8; 32]]) -> Start<V> {
    let mut start = constants(cpu);
    let mut rows = [&keys[0]; L];
    for (lane, row) in rows.iter_mut().enumerate() {
        *row = &keys[lane.min(keys.len() - 1)];
    }
    start[4..12].copy_from_slice(&V::load_rows(cpu, &rows));
    start
}

#[inline(always)]
fn constants<V: Word32<L>, const L: usize>(cpu: V::Cpu) -> Start<V> {
    let mut start = [V::splat(cpu, 0); 16];
    unroll!(i in [0 1 2 3] { start[i] = V::splat(cpu, CONSTANTS[i]); });
    start
}

/// Xors the key stream onto `data`, which is at most `L * G` blocks long.
#[inline(always)]
pub(super) fn stream<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    start: &Start<V>,
    data: &mut [u8],
) {
    let mut s: [Start<V>; G] = begin(cpu, start);
    rounds(&mut s);
    finish(cpu, start, &mut s, data);
}

/// What the rounds start from. The blocks of a group are `L` further on than those of the group
/// before.
#[inline(always)]
pub(super) fn begin<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    start: &Start<V>,
) -> [Start<V>; G] {
    let mut s = [*start; G];
    each_group!(g of G { s[g][COUNTER] = start[COUNTER].add(V::splat(cpu, (L * g) as u32)); });
    s
}

/// Makes key stream of what the rounds have come to, and xors it onto `data`.
#[inline(always)]
pub(super) fn finish<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    start: &Start<V>,
    s: &mut [Start<V>; G],
    data: &mut [u8],
) {
    let mut runs = data.chunks_mut(BLOCK * L);
    each_group!(g of G {
        if let Some(run) = runs.next() {
            unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                s[g][i] = s[g][i].add(start[i]);
            });
            s[g][COUNTER] = s[g][COUNTER].add(V::splat(cpu, (L * g) as u32));
            V::xor_rows(&s[g], run);
        }
    });
}

/// The rounds for any vector.
#[inline(always)]
fn rounds<V: Word32<L>, const L: usize, const G: usize>(s: &mut [Start<V>; G]) {
    for _ in 0..10 {
        quarter_rounds(s, COLUMNS);
        quarter_rounds(s, DIAGONALS);
    }
}

/// Four quarter rounds (section 2.1), as many side by side as there are registers for: each step
/// of one waits for the step before, never for another quarter round.
#[inline(always)]
fn quarter_rounds<V: Word32<L>, const L: usize, const G: usize>(
    s: &mut [Start<V>; G],
    rows: [[usize; 4]; 4],
) {
    unroll!(part in [0 1 2 3] {
        if part * V::ABREAST < 4 {
            step::<V, L, G, 16>(s, rows, [0, 1, 3], part);
            step::<V, L, G, 20>(s, rows, [2, 3, 1], part);
            step::<V, L, G, 24>(s, rows, [0, 1, 3], part);
            step::<V, L, G, 25>(s, rows, [2, 3, 1], part);
        }
    });
}

/// `x += y; z = (z ^ x) rotated right by N`.
#[inline(always)]
fn step<V: Word32<L>, const L: usize, const G: usize, const N: u32>(
    s: &mut [Start<V>; G],
    rows: [[usize; 4]; 4],
    [x, y, z]: [usize; 3],
    part: usize,
) {
    each_group!(g of G {
        unroll!(q in [0 1 2 3] {
            if q / V::ABREAST == part {
                let (x, y) = (rows[q][x], rows[q][y]);
                s[g][x] = s[g][x].add(s[g][y]);
            }
        });
    });
    each_group!(g of G {
        unroll!(q in [0 1 2 3] {
            if q / V::ABREAST == part {
                let (x, z) = (rows[q][x], rows[q][z]);
                s[g][z] = s[g][z].xor(s[g][x]).rotate_right::<N>();
            }
        });
    });
}

/// Xors key streams onto messages of any length, one after the other.
#[inline(always)]
pub(super) fn apply_long<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    keys: &[[u8; 32]],
    messages: &mut [&mut [u8]],
    stream: impl Fn(&Start<V>, &mut [u8]),
) {
    let mut start;
    for (key, message) in keys.iter().zip(messages) {
        for (index, run) in message.chunks_mut(BLOCK * L * G).enumerate() {
            start = start_of_run(cpu, key, (index * L * G) as u32);
            stream(&start, run);
        }
    }
    start = constants(cpu);
    optimization_barrier(&start);
}

/// Xors key streams onto messages of at most one block, side by side.
#[inline(always)]
pub(super) fn apply_short<V: Word32<L>, const L: usize>(
    cpu: V::Cpu,
    keys: &[[u8; 32]],
    messages: &mut [&mut [u8]],
    stream: impl Fn(&Start<V>, &mut [u8]),
) {
    let mut start;
    let mut blocks = [[0; BLOCK]; L];
    for (keys, messages) in keys.chunks(L).zip(messages.chunks_mut(L)) {
        start = start_of_many(cpu, keys);
        wipe(&mut blocks);
        stream(&start, blocks.as_flattened_mut());
        for (message, block) in messages.iter_mut().zip(&blocks) {
            message.iter_mut().zip(block).for_each(|(byte, block)| *byte ^= block);
        }
    }
    start = constants(cpu);
    optimization_barrier(&start);
    wipe(&mut blocks);
}
