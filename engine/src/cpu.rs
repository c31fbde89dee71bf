//! What the CPU can do, as values that only detection can make.
//!
//! Calling an instruction that the CPU lacks is undefined behaviour. A function that takes one of
//! these values needs no word about that: whoever holds the value has asked the CPU, and the
//! answer does not change while a program runs. Detection includes the operating system's part,
//! that it saves the wide registers when it switches threads (XCR0, Intel SDM volume 1, chapter
//! 13).

macro_rules! proofs {
    ($($(#[$doc:meta])* $proof:ident, $module:ident: $($feature:tt),+;)+) => {$(
        #[cfg(target_arch = "x86_64")]
        cpufeatures::new!($module, $($feature),+);

        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $proof(());

        impl $proof {
            /// Asks the CPU; `None` if anything is missing. The answer is kept, so that asking
            /// again is cheap.
            pub fn detect() -> Option<Self> {
                #[cfg(target_arch = "x86_64")]
                let found = $module::get();
                #[cfg(not(target_arch = "x86_64"))]
                let found = false;
                found.then_some(Self(()))
            }
        }
    )+};
}

proofs! {
    /// Proof of AVX-512 F, DQ, VL, BW and IFMA: Ice Lake, Zen 4 and their successors. What they
    /// are built on, AVX2 and FMA, is asked for by name too.
    Avx512, avx512: "avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512ifma", "avx2", "fma";

    /// Proof of [`Avx512`]'s base with AES on 512-bit registers.
    Vaes, vaes: "avx512f", "avx512dq", "avx512vl", "avx512bw", "vaes", "aes", "avx2";

    /// Proof of AVX2 and FMA: Haswell, Zen and their successors.
    Avx2, avx2: "avx2", "fma";

    /// Proof of AES on 128-bit registers.
    Aes, aes: "aes", "sse4.1", "ssse3";

    /// Proof of the SHA-256 instructions.
    Sha, sha: "sha", "sse4.1", "ssse3";
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    extern crate std;

    use std::is_x86_feature_detected as has;

    use super::{Aes, Avx2, Avx512, Sha, Vaes};

    /// The standard library asks the CPU with code of its own.
    #[test]
    fn agrees_with_the_standard_library() {
        let base = has!("avx512f") && has!("avx512dq") && has!("avx512vl") && has!("avx512bw");
        assert_eq!(Avx512::detect().is_some(), base && has!("avx512ifma"));
        assert_eq!(Vaes::detect().is_some(), base && has!("vaes"));
        assert_eq!(Avx2::detect().is_some(), has!("avx2") && has!("fma"));
        assert_eq!(Aes::detect().is_some(), has!("aes") && has!("sse4.1"));
        assert_eq!(Sha::detect().is_some(), has!("sha") && has!("sse4.1"));
    }
}
