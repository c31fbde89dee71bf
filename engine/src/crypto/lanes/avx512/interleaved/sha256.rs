//! The rounds of SHA-256. The message does not fit beside the states and stays in memory.

#![expect(unsafe_code, reason = "assembly")]

use core::arch::asm;

use crate::crypto::lanes::avx512::Words32;

/// A round (FIPS 180-4, section 6.2.2, step 3) on the words `a` to `h` of the state, `h` becoming
/// the new `a` and `d` the new `e`; constant `i` of the quarter, and the message's word from where
/// it is said.
macro_rules! round {
    ($i:literal [$a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal
     $h:literal] $from:ident $word:literal) => {
        concat!(
            both!("vpaddd" word $h, word $h, $from $word),
            both!("vpaddd" word $h, word $h, constant $i),
            both!("vprord" temporary 1, word $e, by 6),
            both!("vprord" temporary 2, word $e, by 11),
            both!("vprord" temporary 3, word $e, by 25),
            both!("vpternlogd" temporary 1, temporary 2, temporary 3, by 0x96),
            both!("vmovdqa64" temporary 4, word $e),
            both!("vpternlogd" temporary 4, word $f, word $g, by 0xca),
            both!("vpaddd" word $h, word $h, temporary 4),
            both!("vpaddd" word $h, word $h, temporary 1),
            both!("vprord" temporary 1, word $a, by 2),
            both!("vprord" temporary 2, word $a, by 13),
            both!("vprord" temporary 3, word $a, by 22),
            both!("vpternlogd" temporary 1, temporary 2, temporary 3, by 0x96),
            both!("vmovdqa64" temporary 4, word $a),
            both!("vpternlogd" temporary 4, word $b, word $c, by 0xe8),
            both!("vpaddd" word $d, word $d, word $h),
            both!("vpaddd" temporary 1, temporary 1, temporary 4),
            both!("vpaddd" word $h, word $h, temporary 1),
        )
    };
}

/// Replaces the message's word `at` by the one 16 words later, given where those stand that come
/// 1, 9 and 14 words after it. It is temporary 0 as well.
macro_rules! next_word {
    ($at:literal $early:literal $middle:literal $late:literal) => {
        concat!(
            both!("vmovdqa64" temporary 0, message $early),
            both!("vprord" temporary 1, temporary 0, by 7),
            both!("vprord" temporary 2, temporary 0, by 18),
            both!("vpsrld" temporary 0, temporary 0, by 3),
            both!("vpternlogd" temporary 0, temporary 1, temporary 2, by 0x96),
            both!("vpaddd" temporary 0, temporary 0, message $at),
            both!("vpaddd" temporary 0, temporary 0, message $middle),
            both!("vmovdqa64" temporary 3, message $late),
            both!("vprord" temporary 1, temporary 3, by 17),
            both!("vprord" temporary 2, temporary 3, by 19),
            both!("vpsrld" temporary 3, temporary 3, by 10),
            both!("vpternlogd" temporary 3, temporary 1, temporary 2, by 0x96),
            both!("vpaddd" temporary 0, temporary 0, temporary 3),
            both!("vmovdqa64" message $at, temporary 0),
        )
    };
}

/// Eight rounds, after which every word of the state is where it was.
macro_rules! eight {
    ($round:ident $i0:tt $i1:tt $i2:tt $i3:tt $i4:tt $i5:tt
     $i6:tt $i7:tt) => {
        concat!(
            $round!($i0 [0 1 2 3 4 5 6 7]),
            $round!($i1 [7 0 1 2 3 4 5 6]),
            $round!($i2 [6 7 0 1 2 3 4 5]),
            $round!($i3 [5 6 7 0 1 2 3 4]),
            $round!($i4 [4 5 6 7 0 1 2 3]),
            $round!($i5 [3 4 5 6 7 0 1 2]),
            $round!($i6 [2 3 4 5 6 7 0 1]),
            $round!($i7 [1 2 3 4 5 6 7 0]),
        )
    };
}

/// A round of the first quarter.
macro_rules! early {
    ($i:literal $roles:tt) => { round!($i $roles message $i) };
}

/// A round of any other quarter.
macro_rules! late {
    (0 $roles:tt) => { concat!(next_word!(0 1 9 14), round!(0 $roles temporary 0)) };
    (1 $roles:tt) => { concat!(next_word!(1 2 10 15), round!(1 $roles temporary 0)) };
    (2 $roles:tt) => { concat!(next_word!(2 3 11 0), round!(2 $roles temporary 0)) };
    (3 $roles:tt) => { concat!(next_word!(3 4 12 1), round!(3 $roles temporary 0)) };
    (4 $roles:tt) => { concat!(next_word!(4 5 13 2), round!(4 $roles temporary 0)) };
    (5 $roles:tt) => { concat!(next_word!(5 6 14 3), round!(5 $roles temporary 0)) };
    (6 $roles:tt) => { concat!(next_word!(6 7 15 4), round!(6 $roles temporary 0)) };
    (7 $roles:tt) => { concat!(next_word!(7 8 0 5), round!(7 $roles temporary 0)) };
    (8 $roles:tt) => { concat!(next_word!(8 9 1 6), round!(8 $roles temporary 0)) };
    (9 $roles:tt) => { concat!(next_word!(9 10 2 7), round!(9 $roles temporary 0)) };
    (10 $roles:tt) => { concat!(next_word!(10 11 3 8), round!(10 $roles temporary 0)) };
    (11 $roles:tt) => { concat!(next_word!(11 12 4 9), round!(11 $roles temporary 0)) };
    (12 $roles:tt) => { concat!(next_word!(12 13 5 10), round!(12 $roles temporary 0)) };
    (13 $roles:tt) => { concat!(next_word!(13 14 6 11), round!(13 $roles temporary 0)) };
    (14 $roles:tt) => { concat!(next_word!(14 15 7 12), round!(14 $roles temporary 0)) };
    (15 $roles:tt) => { concat!(next_word!(15 0 8 13), round!(15 $roles temporary 0)) };
}

/// SHA-256's 64 rounds on `state`. What is left in `block` is the end of the message schedule.
#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::crypto) fn rounds(
    state: &mut [[Words32; 8]; 2],
    block: &mut [[Words32; 16]; 2],
    constants: &[u32; 64],
) {
    let [v, w] = state;
    // SAFETY: reads and writes the two blocks behind the reference, of which each is 16 registers
    // long and as aligned as they are, reads the four quarters of the constants, changes the
    // registers of its operands, and jumps within itself.
    unsafe {
        asm!(
            eight!(early 0 1 2 3 4 5 6 7),
            eight!(early 8 9 10 11 12 13 14 15),
            "2:",
            "add {constants}, 64",
            eight!(late 0 1 2 3 4 5 6 7),
            eight!(late 8 9 10 11 12 13 14 15),
            "dec {quarters:e}",
            "jnz 2b",
            block = in(reg) block,
            constants = inout(reg) constants => _,
            quarters = inout(reg) 3 => _,
            v0 = inout(zmm_reg) v[0].0, w0 = inout(zmm_reg) w[0].0,
            v1 = inout(zmm_reg) v[1].0, w1 = inout(zmm_reg) w[1].0,
            v2 = inout(zmm_reg) v[2].0, w2 = inout(zmm_reg) w[2].0,
            v3 = inout(zmm_reg) v[3].0, w3 = inout(zmm_reg) w[3].0,
            v4 = inout(zmm_reg) v[4].0, w4 = inout(zmm_reg) w[4].0,
            v5 = inout(zmm_reg) v[5].0, w5 = inout(zmm_reg) w[5].0,
            v6 = inout(zmm_reg) v[6].0, w6 = inout(zmm_reg) w[6].0,
            v7 = inout(zmm_reg) v[7].0, w7 = inout(zmm_reg) w[7].0,
            out("zmm20") _, out("zmm10") _,
            out("zmm21") _, out("zmm11") _,
            out("zmm22") _, out("zmm12") _,
            out("zmm23") _, out("zmm13") _,
            out("zmm24") _, out("zmm14") _,
            options(nostack),
        );
    }
}
