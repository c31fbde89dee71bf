//! The primitives of a Sphinx layer, each as a kernel over a batch.
//!
//! A kernel is a plain function over slices with one row per packet ("lane"). The loop over the
//! lanes is inside the kernel, so that a SIMD tier can run 8 or 16 of them side by side. A tier is
//! a [`Kernels`]: a table of such functions, chosen once at start and called once per batch.
//! [`PORTABLE`] is the tier that runs everywhere and that the others must agree with.
//!
//! What every kernel promises:
//! * a lane depends on that lane's input only;
//! * any number of lanes will do, zero included; a tier pads its own tails;
//! * no branch and no index depends on a secret, and nothing is allocated;
//! * it panics if its slices differ in length, which is the caller's mistake.

pub mod ctr;
pub mod kdf;
pub mod lioness;
#[cfg(test)]
mod testing;
pub mod x25519;

use zeroize::zeroize_bytes;

use self::ctr::HeaderStream;
use self::kdf::{Expand, HeaderMacs, PayloadKeys};
use self::lioness::Lioness;
use self::x25519::X25519;
#[cfg(target_arch = "x86_64")]
use crate::cpu::{Avx2, Avx512};

pub use self::kdf::HopKeys;

/// Bytes of a LIONESS key: two stream keys of 32 and two hash keys of 64.
pub const PAYLOAD_KEY: usize = 2 * (32 + 64);

/// One tier of kernels. A row of the argument slices is a lane; see the [module](self) for what
/// they all promise.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// What reports and benchmarks call this tier.
    pub name: &'static str,
    /// Scalar multiplication: key agreement and blinding.
    pub x25519: X25519,
    /// Everything that a hop derives from the shared secret.
    pub expand: Expand,
    /// The LIONESS key of packets whose version carries a seed.
    pub payload_keys: PayloadKeys,
    /// The header's MAC.
    pub header_macs: HeaderMacs,
    /// The header's stream cipher.
    pub header_stream: HeaderStream,
    /// Takes one layer off the payload: what a hop does.
    pub lioness_decrypt: Lioness,
    /// Puts one layer on the payload: what a sender does.
    pub lioness_encrypt: Lioness,
}

/// The tier that runs on every CPU, and the reference for all others.
pub const PORTABLE: Kernels = Kernels {
    name: "portable",
    x25519: x25519::portable::x25519,
    expand: kdf::portable::expand,
    payload_keys: kdf::portable::payload_keys,
    header_macs: kdf::portable::header_macs,
    header_stream: ctr::portable::header_stream,
    lioness_decrypt: lioness::portable::decrypt,
    lioness_encrypt: lioness::portable::encrypt,
};

/// The tier of CPUs with AVX-512 IFMA, on such a CPU.
pub fn avx512() -> Option<Kernels> {
    #[cfg(target_arch = "x86_64")]
    let tier = Avx512::detect().map(|proof| Kernels {
        name: "avx512",
        x25519: x25519::avx512::kernel(proof),
        ..PORTABLE
    });
    #[cfg(not(target_arch = "x86_64"))]
    let tier = None;
    tier
}

/// The tier of CPUs with AVX2 and FMA, on such a CPU.
pub fn avx2() -> Option<Kernels> {
    #[cfg(target_arch = "x86_64")]
    let tier = Avx2::detect().map(|proof| Kernels {
        name: "avx2",
        x25519: x25519::avx2::kernel(proof),
        ..PORTABLE
    });
    #[cfg(not(target_arch = "x86_64"))]
    let tier = None;
    tier
}

/// Wipes rows of secret bytes in a way that the compiler keeps.
pub(crate) fn wipe<const N: usize>(rows: &mut [[u8; N]]) {
    zeroize_bytes(rows.as_flattened_mut());
}
