//! The kernels and what is granted to each: as many spills as it has, with the reason why.
//!
//! The numbers are those of one compiler. Another may come out higher: look at the loop, measure
//! (`phix-bench peel`), and write down what is right.

/// A function whose loops are the time that a tier takes.
pub(super) struct Kernel {
    /// Its path below the room.
    pub(super) name: &'static str,
    /// Vector registers stored to the stack in its inner loops, at most.
    pub(super) spills: usize,
    /// Vector operands read from there, at most.
    pub(super) reloads: usize,
    /// Why there are any.
    pub(super) reason: &'static str,
}

const fn kernel(name: &'static str, spills: usize, reloads: usize, reason: &'static str) -> Kernel {
    Kernel { name, spills, reloads, reason }
}

/// The 16 registers hold the state, or less than it, and no temporary beside it.
const FEW: &str = "16 registers";
/// Two ladders have 40 limbs of coordinates, and each product takes ten columns besides; long and
/// short vectors count both.
const TWO_LADDERS: &str = "32 registers for two ladders";
/// A point has 20 limbs, its sum with another as many, and each product takes ten columns besides;
/// long and short vectors count both.
const POINTS: &str = "32 registers for two points";
/// No spills within the assembly, which takes all registers: the state is brought to it and back.
const AROUND: &str = "32 registers for two states, before and after";
/// No spills: the key stream is written to an array, and the round keys come from one.
const OUTPUT: &str = "arrays on the stack";

/// All of them, by primitive.
pub(super) const KERNELS: &[Kernel] = &[
    kernel("x25519::avx2::multiply", 210, 225, FEW),
    kernel("x25519::avx512::ladders", 500, 455, TWO_LADDERS),
    kernel("x25519::avx512::combs", 255, 445, POINTS),
    kernel("x25519::avx512::columns", 55, 185, POINTS),
    kernel("kdf::avx2::compress", 34, 47, FEW),
    kernel("kdf::avx2::compress_fixed", 0, 0, ""),
    kernel("kdf::avx512::compress", 0, 0, ""),
    kernel("kdf::avx512::compress_two", 0, 0, ""),
    kernel("kdf::avx512::compress_fixed::<1>", 0, 0, ""),
    kernel("kdf::avx512::compress_fixed::<2>", 0, 0, ""),
    kernel("kdf::sha_ni::compress::<1>", 0, 0, ""),
    kernel("kdf::sha_ni::compress::<2>", 5, 5, FEW),
    kernel("kdf::sha_ni::compress_fixed::<1>", 0, 0, ""),
    kernel("kdf::sha_ni::compress_fixed::<2>", 0, 0, ""),
    kernel("ctr::aes_ni::apply", 8, 0, OUTPUT),
    kernel("ctr::vaes::apply", 6, 11, OUTPUT),
    kernel("lioness::avx2::compress", 73, 74, FEW),
    kernel("lioness::avx2::stream", 6, 6, FEW),
    kernel("lioness::avx512::compress", 0, 0, ""),
    kernel("lioness::avx512::compress_two", 39, 42, AROUND),
    kernel("lioness::avx512::stream", 0, 0, ""),
    kernel("lioness::avx512::stream_two", 0, 0, ""),
];
