//! Assembly for field elements of five limbs, as in [`ifma`](super::super::ifma).
//!
//! The limbs of element `a` are registers 0 to 4, those of `b` 5 to 9, and so on up to `f`. Two
//! temporaries are left, and products get by with one: a limb's upper column is finished, folded
//! and added before the next begins. So 20 limbs can wait in registers while two elements are
//! multiplied, and nothing has to be stored.

/// A register's number.
macro_rules! register {
    (a 0) => {
        "0"
    };
    (a 1) => {
        "1"
    };
    (a 2) => {
        "2"
    };
    (a 3) => {
        "3"
    };
    (a 4) => {
        "4"
    };
    (b 0) => {
        "5"
    };
    (b 1) => {
        "6"
    };
    (b 2) => {
        "7"
    };
    (b 3) => {
        "8"
    };
    (b 4) => {
        "9"
    };
    (c 0) => {
        "10"
    };
    (c 1) => {
        "11"
    };
    (c 2) => {
        "12"
    };
    (c 3) => {
        "13"
    };
    (c 4) => {
        "14"
    };
    (d 0) => {
        "15"
    };
    (d 1) => {
        "16"
    };
    (d 2) => {
        "17"
    };
    (d 3) => {
        "18"
    };
    (d 4) => {
        "19"
    };
    (e 0) => {
        "20"
    };
    (e 1) => {
        "21"
    };
    (e 2) => {
        "22"
    };
    (e 3) => {
        "23"
    };
    (e 4) => {
        "24"
    };
    (f 0) => {
        "25"
    };
    (f 1) => {
        "26"
    };
    (f 2) => {
        "27"
    };
    (f 3) => {
        "28"
    };
    (f 4) => {
        "29"
    };
    (temporary 0) => {
        "30"
    };
    (temporary 1) => {
        "31"
    };
}

/// An instruction: what it does to a limb, with two others.
macro_rules! instruction {
    ($name:literal $z:ident $k:tt, $x:ident $i:tt, $y:ident $j:tt) => {
        concat!(
            $name, " zmm", register!($z $k), ", zmm", register!($x $i), ", zmm", register!($y $j),
            "\n",
        )
    };
}

/// An instruction on every limb, `z = x op y`.
macro_rules! limbs {
    ($name:literal $z:ident, $x:ident, $y:ident) => {
        concat!(
            instruction!($name $z 0, $x 0, $y 0),
            instruction!($name $z 1, $x 1, $y 1),
            instruction!($name $z 2, $x 2, $y 2),
            instruction!($name $z 3, $x 3, $y 3),
            instruction!($name $z 4, $x 4, $y 4),
        )
    };
}

/// A fifth of what is done beside a product: one fifth after each pair of columns. `carry z x`
/// makes a factor of x in z and spoils x; unlike the trait's `carry` it adds what leaves at the top
/// before it cuts the lowest limb, which takes one temporary less and leaves limbs no larger. `turn
/// s d x y` makes x + y in s and x - y in d, exchanged in the lanes of mask 4; the lowest limb
/// comes with the highest, so that s and d can be carried beside the same product.
macro_rules! task {
    (4 carry $z:ident $x:ident) => {
        concat!(
            shift!(temporary 1, $x 4),
            cut!($z 4, $x 4),
            "vpmadd52luq zmm", register!($x 0), ", zmm31, qword ptr [{constants}]{{1to8}}\n",
        )
    };
    (3 carry $z:ident $x:ident) => { carry_into!($z 4, $z 3, $x 3) };
    (2 carry $z:ident $x:ident) => { carry_into!($z 3, $z 2, $x 2) };
    (1 carry $z:ident $x:ident) => { carry_into!($z 2, $z 1, $x 1) };
    (0 carry $z:ident $x:ident) => { carry_into!($z 1, $z 0, $x 0) };
    (4 turn $($of:ident)+) => { concat!(turn_limb!(4 $($of)+), turn_limb!(0 $($of)+)) };
    (0 turn $($of:ident)+) => { "" };
    ($k:tt turn $($of:ident)+) => { turn_limb!($k $($of)+) };
}

/// A limb of what `turn` does.
macro_rules! turn_limb {
    ($k:tt $s:ident $d:ident $x:ident $y:ident) => {
        concat!(
            instruction!("vpaddq" temporary 1, $x $k, $y $k),
            instruction!("vpsubq" $d $k, $x $k, $y $k),
            "vpblendmq zmm", register!($s $k), "{{k4}}, zmm31, zmm", register!($d $k), "\n",
            "vmovdqa64 zmm", register!($d $k), "{{k4}}, zmm31\n",
        )
    };
}

/// Cuts a limb and adds what was above to the next.
macro_rules! carry_into {
    ($next:ident $n:tt, $z:ident $k:tt, $x:ident $i:tt) => {
        concat!(
            shift!(temporary 1, $x $i),
            cut!($z $k, $x $i),
            instruction!("vpaddq" $next $n, $next $n, temporary 1),
        )
    };
}

/// What a limb has above 51 bits.
macro_rules! shift {
    ($z:ident $k:tt, $x:ident $i:tt) => {
        concat!("vpsrlq zmm", register!($z $k), ", zmm", register!($x $i), ", 51\n")
    };
}

/// A limb's lower 51 bits.
macro_rules! cut {
    ($z:ident $k:tt, $x:ident $i:tt) => {
        concat!(
            "vpandq zmm", register!($z $k), ", zmm", register!($x $i),
            ", qword ptr [{constants} + 8]{{1to8}}\n",
        )
    };
}

/// A column of a product of `x` and `y`, piece by piece.
macro_rules! column {
    ($z:ident $k:tt, $x:ident $y:ident: $([$($piece:tt)+])+) => {
        concat!($(piece!($z $k, $x $y: $($piece)+),)+)
    };
}

/// A piece of a column: what it begins with (nothing, the constant of this number, or the column
/// five further up so many times), half of a product of two limbs, or that all so far counts twice
/// or four times.
macro_rules! piece {
    ($z:ident $k:tt, $x:ident $y:ident: from nothing) => {
        concat!(
            "vpxord xmm", register!($z $k), ", xmm", register!($z $k), ", xmm", register!($z $k),
            "\n",
        )
    };
    ($z:ident $k:tt, $x:ident $y:ident: from $constant:literal) => {
        concat!(
            "vpbroadcastq zmm", register!($z $k), ", qword ptr [{constants} + 8 * ", $constant,
            "]\n",
        )
    };
    ($z:ident $k:tt, $x:ident $y:ident: folded $times:tt) => {
        concat!("vpmullq zmm", register!($z $k), ", zmm30, ", times!($times), "\n")
    };
    ($z:ident $k:tt, $x:ident $y:ident: high $i:tt $j:tt) => {
        instruction!("vpmadd52huq" $z $k, $x $i, $y $j)
    };
    ($z:ident $k:tt, $x:ident $y:ident: low $i:tt $j:tt) => {
        instruction!("vpmadd52luq" $z $k, $x $i, $y $j)
    };
    ($z:ident $k:tt, $x:ident $y:ident: twice) => {
        instruction!("vpaddq" $z $k, $z $k, $z $k)
    };
    ($z:ident $k:tt, $x:ident $y:ident: fourfold) => {
        concat!("vpsllq zmm", register!($z $k), ", zmm", register!($z $k), ", 2\n")
    };
}

/// What a column five further up counts in a lower one, or twice that where its last doubling is
/// left to this.
macro_rules! times {
    (19) => {
        "qword ptr [{constants}]{{1to8}}"
    };
    (38) => {
        "qword ptr [{constants} + 8 * 10]{{1to8}}"
    };
}

/// A column five further up, so many times onto limb `k`.
macro_rules! fold {
    ($z:ident $k:tt, $times:tt) => {
        concat!(
            "vpmullq zmm30, zmm30, ", times!($times), "\n",
            instruction!("vpaddq" $z $k, $z $k, temporary 0),
        )
    };
}

/// The lowest column and what is folded onto it. Nothing in it counts twice, so that it can begin
/// with that unless it is biased.
macro_rules! lowest {
    ($z:ident, $x:ident $y:ident, $times:tt, nothing) => {
        column!($z 0, $x $y: [folded $times] [low 0 0])
    };
    ($z:ident, $x:ident $y:ident, $times:tt, $bias:tt) => {
        concat!(column!($z 0, $x $y: [from $bias] [low 0 0]), fold!($z 0, $times))
    };
}

/// `z = x * y`, biased or not, and beside it the tasks that are named.
macro_rules! product {
    ($z:ident = $x:ident * $y:ident $(; $($task:ident $($of:ident)+),+)?) => {
        product!(
            $z = $x * $y, nothing nothing nothing nothing nothing; $($($task $($of)+),+)?
        )
    };
    ($z:ident = $x:ident * $y:ident, biased $(; $($task:ident $($of:ident)+),+)?) => {
        product!($z = $x * $y, 2 3 4 5 6; $($($task $($of)+),+)?)
    };
    (
        $z:ident = $x:ident * $y:ident, $s0:tt $s1:tt $s2:tt $s3:tt $s4:tt;
        $($task:ident $($of:ident)+),*
    ) => {
        concat!(
            column!(temporary 0, $x $y: [from nothing] [high 4 4]),
            column!($z 4, $x $y: [from $s4]
                [high 0 3] [high 1 2] [high 2 1] [high 3 0] [twice]
                [low 0 4] [low 1 3] [low 2 2] [low 3 1] [low 4 0]),
            fold!($z 4, 38),
            $(task!(4 $task $($of)+),)*
            column!(temporary 0, $x $y: [from nothing]
                [high 0 4] [high 1 3] [high 2 2] [high 3 1] [high 4 0] [twice]
                [low 1 4] [low 2 3] [low 3 2] [low 4 1]),
            lowest!($z, $x $y, 19, $s0),
            $(task!(3 $task $($of)+),)*
            column!(temporary 0, $x $y: [from nothing]
                [high 3 4] [high 4 3] [twice] [low 4 4]),
            column!($z 3, $x $y: [from $s3]
                [high 0 2] [high 1 1] [high 2 0] [twice]
                [low 0 3] [low 1 2] [low 2 1] [low 3 0]),
            fold!($z 3, 19),
            $(task!(2 $task $($of)+),)*
            column!(temporary 0, $x $y: [from nothing]
                [high 1 4] [high 2 3] [high 3 2] [high 4 1] [twice]
                [low 2 4] [low 3 3] [low 4 2]),
            column!($z 1, $x $y: [from $s1] [high 0 0] [twice] [low 0 1] [low 1 0]),
            fold!($z 1, 19),
            $(task!(1 $task $($of)+),)*
            column!(temporary 0, $x $y: [from nothing]
                [high 2 4] [high 3 3] [high 4 2] [twice] [low 3 4] [low 4 3]),
            column!($z 2, $x $y: [from $s2]
                [high 0 1] [high 1 0] [twice] [low 0 2] [low 1 1] [low 2 0]),
            fold!($z 2, 19),
            $(task!(0 $task $($of)+),)*
        )
    };
}

/// `z = x * x`, biased or not, and beside it the tasks that are named.
macro_rules! square {
    ($z:ident = $x:ident $(; $($task:ident $($of:ident)+),+)?) => {
        square!(
            $z = $x, nothing nothing nothing nothing nothing; $($($task $($of)+),+)?
        )
    };
    ($z:ident = $x:ident, biased $(; $($task:ident $($of:ident)+),+)?) => {
        square!($z = $x, 2 3 7 8 9; $($($task $($of)+),+)?)
    };
    (
        $z:ident = $x:ident, $s0:tt $s1:tt $s2:tt $s3:tt $s4:tt;
        $($task:ident $($of:ident)+),*
    ) => {
        concat!(
            column!(temporary 0, $x $x: [from nothing] [high 4 4]),
            column!($z 4, $x $x: [from $s4]
                [high 0 3] [high 1 2] [twice] [low 0 4] [low 1 3] [twice] [low 2 2]),
            fold!($z 4, 38),
            $(task!(4 $task $($of)+),)*
            column!(temporary 0, $x $x: [from nothing] [high 3 4] [fourfold] [low 4 4]),
            column!($z 3, $x $x: [from $s3]
                [high 0 2] [twice] [high 1 1] [low 0 3] [low 1 2] [twice]),
            fold!($z 3, 19),
            $(task!(3 $task $($of)+),)*
            column!(temporary 0, $x $x: [from nothing]
                [high 2 4] [twice] [high 3 3] [low 3 4]),
            column!($z 2, $x $x: [from $s2] [high 0 1] [twice] [low 0 2] [twice] [low 1 1]),
            fold!($z 2, 38),
            $(task!(2 $task $($of)+),)*
            column!(temporary 0, $x $x: [from nothing]
                [high 1 4] [high 2 3] [twice] [low 2 4] [twice] [low 3 3]),
            column!($z 1, $x $x: [from $s1] [high 0 0] [low 0 1] [twice]),
            fold!($z 1, 19),
            $(task!(1 $task $($of)+),)*
            column!(temporary 0, $x $x: [from nothing]
                [high 0 4] [high 1 3] [twice] [high 2 2] [low 1 4] [low 2 3]),
            lowest!($z, $x $x, 38, $s0),
            $(task!(0 $task $($of)+),)*
        )
    };
}

use super::super::field::{Field, LIMB};
use super::super::ifma::Ifma;
use super::Zmm;

/// 19, a full limb, and what the columns of biased products begin with: the bias as often as it
/// will count, which is once for the lowest limb, and for the others twice, or from number 7 on
/// four times; and twice 19.
pub(super) static CONSTANTS: [u64; 11] = {
    let [b0, b1, b2, b3, b4] = <Ifma<Zmm> as Field>::BIAS;
    [19, LIMB, b0, b1 / 2, b2 / 2, b3 / 2, b4 / 2, b2 / 4, b3 / 4, b4 / 4, 38]
};

pub(super) use {
    carry_into, column, cut, fold, instruction, limbs, lowest, piece, product, register, shift,
    square, task, times, turn_limb,
};
