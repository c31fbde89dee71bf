//! The rounds of BLAKE2b and ChaCha20, whose state of 16 words fills all 32 registers.

#![expect(unsafe_code, reason = "assembly")]

use core::arch::asm;

use crate::crypto::lanes::avx512::{Words32, Words64};

/// Assembly whose operands are the state and what else is named.
macro_rules! on_state {
    ($v:ident $w:ident { $($code:expr),+ } $($others:tt)+) => {
        asm!(
            $($code),+,
            v0 = inout(zmm_reg) $v[0].0, w0 = inout(zmm_reg) $w[0].0,
            v1 = inout(zmm_reg) $v[1].0, w1 = inout(zmm_reg) $w[1].0,
            v2 = inout(zmm_reg) $v[2].0, w2 = inout(zmm_reg) $w[2].0,
            v3 = inout(zmm_reg) $v[3].0, w3 = inout(zmm_reg) $w[3].0,
            v4 = inout(zmm_reg) $v[4].0, w4 = inout(zmm_reg) $w[4].0,
            v5 = inout(zmm_reg) $v[5].0, w5 = inout(zmm_reg) $w[5].0,
            v6 = inout(zmm_reg) $v[6].0, w6 = inout(zmm_reg) $w[6].0,
            v7 = inout(zmm_reg) $v[7].0, w7 = inout(zmm_reg) $w[7].0,
            v8 = inout(zmm_reg) $v[8].0, w8 = inout(zmm_reg) $w[8].0,
            v9 = inout(zmm_reg) $v[9].0, w9 = inout(zmm_reg) $w[9].0,
            v10 = inout(zmm_reg) $v[10].0, w10 = inout(zmm_reg) $w[10].0,
            v11 = inout(zmm_reg) $v[11].0, w11 = inout(zmm_reg) $w[11].0,
            v12 = inout(zmm_reg) $v[12].0, w12 = inout(zmm_reg) $w[12].0,
            v13 = inout(zmm_reg) $v[13].0, w13 = inout(zmm_reg) $w[13].0,
            v14 = inout(zmm_reg) $v[14].0, w14 = inout(zmm_reg) $w[14].0,
            v15 = inout(zmm_reg) $v[15].0, w15 = inout(zmm_reg) $w[15].0,
            $($others)+
        )
    };
}

/// Half of four of BLAKE2b's mixings (RFC 7693, section 3.1), each of words `a b c d` of the state
/// and word `x` of the message: `a += b + x; d = (d ^ a) >>> down; c += d; b = (b ^ c) >>> up`.
macro_rules! half_mix {
    ($down:literal $up:literal $([$a:literal $b:literal $c:literal $d:literal] $x:literal),+) => {
        concat!(
            $(
                both!("vpaddq" word $a, word $a, message $x),
                both!("vpaddq" word $a, word $a, word $b),
                both!("vpxorq" word $d, word $d, word $a),
                both!("vprorq" word $d, word $d, by $down),
            )+
            $(
                both!("vpaddq" word $c, word $c, word $d),
                both!("vpxorq" word $b, word $b, word $c),
                both!("vprorq" word $b, word $b, by $up),
            )+
        )
    };
}

/// A round of BLAKE2b, given its line of the table of permutations (section 2.7).
macro_rules! blake2b_round {
    ($s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal
     $s7:literal $s8:literal $s9:literal $s10:literal $s11:literal $s12:literal $s13:literal
     $s14:literal $s15:literal) => {
        concat!(
            half_mix!(32 24 [0 4 8 12] $s0, [1 5 9 13] $s2, [2 6 10 14] $s4, [3 7 11 15] $s6),
            half_mix!(16 63 [0 4 8 12] $s1, [1 5 9 13] $s3, [2 6 10 14] $s5, [3 7 11 15] $s7),
            half_mix!(32 24 [0 5 10 15] $s8, [1 6 11 12] $s10, [2 7 8 13] $s12, [3 4 9 14] $s14),
            half_mix!(16 63 [0 5 10 15] $s9, [1 6 11 12] $s11, [2 7 8 13] $s13, [3 4 9 14] $s15),
        )
    };
}

/// BLAKE2b's twelve rounds on `state`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::crypto) fn blake2b_rounds(
    state: &mut [[Words64; 16]; 2],
    block: &[[Words64; 16]; 2],
) {
    let [v, w] = state;
    // SAFETY: reads the two blocks behind the reference, of which each is 16 registers long, and
    // changes the registers of its operands.
    unsafe {
        on_state!(
            v w {
                blake2b_round!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                blake2b_round!(14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3),
                blake2b_round!(11 8 12 0 5 2 15 13 10 14 3 6 7 1 9 4),
                blake2b_round!(7 9 3 1 13 12 11 14 2 6 5 10 4 0 15 8),
                blake2b_round!(9 0 5 7 2 4 10 15 14 1 11 12 6 8 3 13),
                blake2b_round!(2 12 6 10 0 11 8 3 4 13 7 5 15 14 1 9),
                blake2b_round!(12 5 1 15 14 13 4 10 0 7 6 3 9 2 8 11),
                blake2b_round!(13 11 7 14 12 1 3 9 5 0 15 4 8 6 2 10),
                blake2b_round!(6 15 14 9 11 3 0 8 12 2 13 7 1 4 10 5),
                blake2b_round!(10 2 8 4 7 6 1 5 15 11 9 14 3 12 13 0),
                blake2b_round!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                blake2b_round!(14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3)
            }
            block = in(reg) block,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
}

/// A step of four of ChaCha20's quarter rounds (RFC 8439, section 2.1), each on words `x y z` of
/// the state: `x += y; z = (z ^ x) <<< count`.
macro_rules! step {
    ($count:literal $([$x:literal $y:literal $z:literal]),+) => {
        concat!(
            $(
                both!("vpaddd" word $x, word $x, word $y),
                both!("vpxord" word $z, word $z, word $x),
                both!("vprold" word $z, word $z, by $count),
            )+
        )
    };
}

/// Four quarter rounds, given the words `a b c d` of each.
macro_rules! quarter_rounds {
    ($([$a:literal $b:literal $c:literal $d:literal])+) => {
        concat!(
            step!(16 $([$a $b $d]),+),
            step!(12 $([$c $d $b]),+),
            step!(8 $([$a $b $d]),+),
            step!(7 $([$c $d $b]),+),
        )
    };
}

/// ChaCha20's twenty rounds on `state`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::crypto) fn chacha20_rounds(state: &mut [[Words32; 16]; 2]) {
    let [v, w] = state;
    // SAFETY: changes the registers of its operands, and jumps within itself.
    unsafe {
        on_state!(
            v w {
                "2:",
                quarter_rounds!([0 4 8 12] [1 5 9 13] [2 6 10 14] [3 7 11 15]),
                quarter_rounds!([0 5 10 15] [1 6 11 12] [2 7 8 13] [3 4 9 14]),
                "dec {count:e}",
                "jnz 2b"
            }
            count = inout(reg) 10 => _,
            options(pure, nomem, nostack),
        );
    }
}
