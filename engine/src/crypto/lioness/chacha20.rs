//! ChaCha20 (RFC 8439, section 2.3) with one block per lane.

use zeroize::optimization_barrier;

use crate::crypto::lanes::{Word32, each_group, unroll};
use crate::crypto::wipe;

/// Section 2.3: "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Key stream, the halves of the blocks apart: block `l` is row `l` of both halves.
pub(super) type Stream<const L: usize, const G: usize> = [[[[u8; 32]; L]; 2]; G];

/// Blocks of `G` groups of lanes before the rounds: what the rounds start from and are added to.
pub(super) type Start<V, const G: usize> = [[V; 16]; G];

/// The indices of four quarter rounds on columns, and of four on diagonals.
const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

/// Consecutive blocks of one key and the zero nonce, from block `first`.
#[inline(always)]
fn start_of_run<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    key: &[u8; 32],
    first: u32,
) -> Start<V, G> {
    let mut start = constants(cpu);
    let (words, _) = key.as_chunks();
    each_group!(g of G {
        unroll!(i in [0 1 2 3 4 5 6 7] {
            start[g][4 + i] = V::splat(cpu, u32::from_le_bytes(words[i]));
        });
        let first = first.wrapping_add((L * g) as u32);
        start[g][12] = V::ascending(cpu).add(V::splat(cpu, first));
    });
    start
}

/// Block zero of as many keys as there are lanes. `keys` may be fewer: the last is repeated.
#[inline(always)]
fn start_of_many<V: Word32<L>, const L: usize>(cpu: V::Cpu, keys: &[[u8; 32]]) -> Start<V, 1> {
    let mut start = constants(cpu);
    let mut rows = [&keys[0]; L];
    for (lane, row) in rows.iter_mut().enumerate() {
        *row = &keys[lane.min(keys.len() - 1)];
    }
    start[0][4..12].copy_from_slice(&V::load_rows(cpu, &rows));
    start
}

#[inline(always)]
fn constants<V: Word32<L>, const L: usize, const G: usize>(cpu: V::Cpu) -> Start<V, G> {
    let mut start = [[V::splat(cpu, 0); 16]; G];
    each_group!(g of G {
        unroll!(i in [0 1 2 3] { start[g][i] = V::splat(cpu, CONSTANTS[i]); });
    });
    start
}

/// The key stream of blocks, one per lane.
#[inline(always)]
pub(super) fn stream<V: Word32<L>, const L: usize, const G: usize>(
    start: &Start<V, G>,
    stream: &mut Stream<L, G>,
) {
    let mut s = *start;
    for _ in 0..10 {
        quarter_rounds(&mut s, COLUMNS);
        quarter_rounds(&mut s, DIAGONALS);
    }
    each_group!(g of G {
        unroll!(half in [0 1] {
            let mut words = [s[g][0]; 8];
            unroll!(i in [0 1 2 3 4 5 6 7] {
                words[i] = s[g][8 * half + i].add(start[g][8 * half + i]);
            });
            V::store_rows(&words, &mut stream[g][half]);
        });
    });
}

/// Four quarter rounds (section 2.1), as many side by side as there are registers for: each step
/// of one waits for the step before, never for another quarter round.
#[inline(always)]
fn quarter_rounds<V: Word32<L>, const L: usize, const G: usize>(
    s: &mut Start<V, G>,
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
    s: &mut Start<V, G>,
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
    blocks: impl Fn(&Start<V, G>, &mut Stream<L, G>),
) {
    let (mut start, mut stream) = (constants(cpu), [[[[0; 32]; L]; 2]; G]);
    for (key, message) in keys.iter().zip(messages) {
        for (index, run) in message.chunks_mut(BLOCK * L * G).enumerate() {
            start = start_of_run(cpu, key, (index * L * G) as u32);
            blocks(&start, &mut stream);
            apply(&stream, run);
        }
    }
    wipe_all(cpu, &mut start, &mut stream);
}

/// Xors key streams onto messages of at most one block, side by side.
#[inline(always)]
pub(super) fn apply_short<V: Word32<L>, const L: usize>(
    cpu: V::Cpu,
    keys: &[[u8; 32]],
    messages: &mut [&mut [u8]],
    blocks: impl Fn(&Start<V, 1>, &mut Stream<L, 1>),
) {
    let (mut start, mut stream) = (constants(cpu), [[[[0; 32]; L]; 2]; 1]);
    for (keys, messages) in keys.chunks(L).zip(messages.chunks_mut(L)) {
        start = start_of_many(cpu, keys);
        blocks(&start, &mut stream);
        let [[lows, highs]] = &stream;
        for (message, (low, high)) in messages.iter_mut().zip(lows.iter().zip(highs)) {
            let (front, back) = message.split_at_mut(message.len().min(32));
            apply_row(low, front);
            apply_row(high, back);
        }
    }
    wipe_all(cpu, &mut start, &mut stream);
}

/// Xors blocks onto `data`, which is at most as long as they are.
#[inline(always)]
fn apply<const L: usize, const G: usize>(stream: &Stream<L, G>, data: &mut [u8]) {
    for (blocks, data) in stream.iter().zip(data.chunks_mut(BLOCK * L)) {
        for (block, data) in data.chunks_mut(BLOCK).enumerate() {
            let (low, high) = data.split_at_mut(data.len().min(32));
            apply_row(&blocks[0][block], low);
            apply_row(&blocks[1][block], high);
        }
    }
}

/// Xors a row onto `data`; the usual case, a whole row, is done in words.
#[inline(always)]
fn apply_row(row: &[u8; 32], data: &mut [u8]) {
    if let Ok(whole) = <&mut [u8; 32]>::try_from(&mut *data) {
        let mut sum = *row;
        sum.iter_mut().zip(&*whole).for_each(|(sum, byte)| *sum ^= byte);
        *whole = sum;
    } else {
        data.iter_mut().zip(row).for_each(|(byte, row)| *byte ^= row);
    }
}

/// Overwrites key and key stream in a way that the compiler keeps.
#[inline(always)]
fn wipe_all<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    start: &mut Start<V, G>,
    stream: &mut Stream<L, G>,
) {
    *start = [[V::splat(cpu, 0); 16]; G];
    optimization_barrier(start);
    wipe(stream.as_flattened_mut().as_flattened_mut());
}
