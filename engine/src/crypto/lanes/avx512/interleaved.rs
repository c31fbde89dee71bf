//! Rounds for two groups in assembly, in the order in which they are to be executed.
//!
//! Two groups take all 32 registers. The compiler could do without any others, but it orders
//! instructions before it assigns registers, and then keeps a third of BLAKE2b's state in memory.
//! Where everything fits, its order still costs a tenth. What stands in one piece of assembly stays
//! as it is.
//!
//! An instruction needs what the last one of its group made. The other group's stands in between,
//! and where that is not enough, other columns are near.

/// An instruction on the words, temporaries and so on that are named, in both groups.
macro_rules! both {
    ($instruction:literal $kind:ident $n:literal $(, $kinds:ident $ns:literal)*) => {
        concat!(
            $instruction, " ", operand!(v $kind $n), $(", ", operand!(v $kinds $ns),)* "\n",
            $instruction, " ", operand!(w $kind $n), $(", ", operand!(w $kinds $ns),)* "\n",
        )
    };
}

/// A word of the state of group `v` or `w`, one of ten temporaries for each, a word of the message,
/// a constant that is the same in all lanes, or a plain number.
macro_rules! operand {
    ($group:ident word $n:literal) => {
        concat!("{", stringify!($group), $n, "}")
    };
    (v temporary $n:literal) => {
        concat!("zmm1", $n)
    };
    (w temporary $n:literal) => {
        concat!("zmm2", $n)
    };
    (v message $n:literal) => {
        concat!("[{block} + 64 * ", $n, "]")
    };
    (w message $n:literal) => {
        concat!("[{block} + 64 * ", $n, " + 64 * 16]")
    };
    ($group:ident constant $n:literal) => {
        concat!("[{constants} + 4 * ", $n, "]{{1to16}}")
    };
    ($group:ident by $n:literal) => {
        stringify!($n)
    };
}

pub(in crate::crypto) mod mixing;
pub(in crate::crypto) mod sha256;
