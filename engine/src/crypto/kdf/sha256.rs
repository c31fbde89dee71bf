//! SHA-256's compression (FIPS 180-4, section 6.2.2) over lanes, and what of it can be computed
//! ahead.

use crate::crypto::lanes::{Word32, each_group, unroll};

/// Section 4.2.2.
pub(super) const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Section 5.3.3.
pub(super) const INITIAL: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Chaining values of `G` groups of lanes.
pub(super) type State<V, const G: usize> = [[V; 8]; G];

/// One message block for each lane of `G` groups, its words in native order.
pub(super) type Block<V, const G: usize> = [[V; 16]; G];

/// A block that is the same in all lanes: its message schedule with the round constants added.
pub(super) type Schedule = [u32; 64];

/// How an instruction set compresses. A batch takes one call per block; `L` times `G` messages
/// are under way at once.
pub(super) trait Compress<V: Word32<L>, const L: usize, const G: usize>: Copy {
    /// Proof that the CPU has the instructions.
    fn cpu(self) -> V::Cpu;

    /// Takes in one block per lane, and may leave anything in its place.
    fn compress(self, state: &mut State<V, G>, block: &mut Block<V, G>);

    /// Takes in the same block in all lanes.
    fn compress_fixed(self, state: &mut State<V, G>, schedule: &Schedule);
}

/// The compression for any vector.
#[inline(always)]
pub(super) fn compress<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    state: &mut State<V, G>,
    block: &Block<V, G>,
) {
    let (mut s, mut w) = (*state, *block);
    rounds(cpu, &mut s, &mut w);
    add_to(state, &s);
}

#[expect(clippy::cognitive_complexity, reason = "rounds, written out")]
#[inline(always)]
fn rounds<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    s: &mut State<V, G>,
    w: &mut Block<V, G>,
) {
    for (quarter, constants) in ROUND.as_chunks::<16>().0.iter().enumerate() {
        if quarter > 0 {
            unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                each_group!(g of G { w[g][i] = next_word(&w[g], i); });
            });
        }
        unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
            let constant = V::splat(cpu, constants[i]);
            each_group!(g of G { round(&mut s[g], i, w[g][i].add(constant)); });
        });
    }
}

/// The compression of a block whose schedule is known.
#[expect(clippy::cognitive_complexity, reason = "rounds, written out")]
#[inline(always)]
pub(super) fn compress_fixed<V: Word32<L>, const L: usize, const G: usize>(
    cpu: V::Cpu,
    state: &mut State<V, G>,
    schedule: &Schedule,
) {
    let mut s = *state;
    for words in schedule.as_chunks::<16>().0 {
        unroll!(i in [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
            let word = V::splat(cpu, words[i]);
            each_group!(g of G { round(&mut s[g], i, word); });
        });
    }
    add_to(state, &s);
}

/// Adds to the state what the rounds have made of it.
#[inline(always)]
pub(super) fn add_to<V: Word32<L>, const L: usize, const G: usize>(
    state: &mut State<V, G>,
    other: &State<V, G>,
) {
    each_group!(g of G {
        unroll!(i in [0 1 2 3 4 5 6 7] { state[g][i] = state[g][i].add(other[g][i]); });
    });
}

/// Round `i` of 16. Instead of moving all eight variables by one place, as the standard has it,
/// each round finds them one place further on.
#[inline(always)]
fn round<V: Word32<L>, const L: usize>(s: &mut [V; 8], i: usize, word: V) {
    let at = |role: usize| (16 + role - i) % 8;
    let (a, b, c, d) = (s[at(0)], s[at(1)], s[at(2)], s[at(3)]);
    let (e, f, g, h) = (s[at(4)], s[at(5)], s[at(6)], s[at(7)]);
    let sigma = e.rotate_right::<6>().parity(e.rotate_right::<11>(), e.rotate_right::<25>());
    let first = h.add(word).add(e.choose(f, g)).add(sigma);
    let sigma = a.rotate_right::<2>().parity(a.rotate_right::<13>(), a.rotate_right::<22>());
    s[at(3)] = d.add(first);
    s[at(7)] = first.add(sigma.add(a.majority(b, c)));
}

/// The schedule's word that takes the place of word `i`, 16 words earlier.
#[inline(always)]
fn next_word<V: Word32<L>, const L: usize>(w: &[V; 16], i: usize) -> V {
    let (early, late) = (w[(i + 1) % 16], w[(i + 14) % 16]);
    let early =
        early.rotate_right::<7>().parity(early.rotate_right::<18>(), early.shift_right::<3>());
    let late =
        late.rotate_right::<17>().parity(late.rotate_right::<19>(), late.shift_right::<10>());
    w[i].add(w[(i + 9) % 16]).add(early.add(late))
}

/// Computes a block's schedule ahead.
pub(super) const fn schedule(block: &[u32; 16]) -> Schedule {
    let mut w = [0; 64];
    let mut i = 0;
    while i < 64 {
        w[i] = if i < 16 {
            block[i]
        } else {
            let (early, late) = (w[i - 15], w[i - 2]);
            let early: u32 = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
            let late: u32 = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
            w[i - 16].wrapping_add(early).wrapping_add(w[i - 7]).wrapping_add(late)
        };
        i += 1;
    }
    let mut i = 0;
    while i < 64 {
        w[i] = w[i].wrapping_add(ROUND[i]);
        i += 1;
    }
    w
}

/// The chaining value after a first block that is known ahead.
pub(super) const fn state_after(block: &[u32; 16]) -> [u32; 8] {
    let words = schedule(block);
    let mut s = INITIAL;
    let mut i = 0;
    while i < 64 {
        let [a, b, c, d, e, f, g, h] = s;
        let sigma = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let first = h.wrapping_add(sigma).wrapping_add(choice).wrapping_add(words[i]);
        let sigma = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let second = sigma.wrapping_add(majority);
        s = [first.wrapping_add(second), a, b, c, d.wrapping_add(first), e, f, g];
        i += 1;
    }
    let mut i = 0;
    while i < 8 {
        s[i] = s[i].wrapping_add(INITIAL[i]);
        i += 1;
    }
    s
}
