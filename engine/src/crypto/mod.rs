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
mod lanes;
pub mod lioness;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod x25519;

use arrayvec::ArrayVec;
use zeroize::zeroize_bytes;

use self::ctr::HeaderStream;
use self::kdf::{Expand, HeaderMacs, PayloadKeys};
use self::lioness::Lioness;
use self::x25519::{Again, Multiples, X25519};
#[cfg(target_arch = "x86_64")]
use crate::cpu::{Aes, Avx2, Avx512, Sha, Vaes};
use crate::limits::BATCH_MAX;

pub use self::kdf::HopKeys;

/// Bytes of a LIONESS key: two stream keys of 32 and two hash keys of 64.
pub const PAYLOAD_KEY: usize = 2 * (32 + 64);

/// One tier of kernels. A row of the argument slices is a lane; see the [module](self) for what
/// they all promise.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// What reports and benchmarks call this tier.
    pub name: &'static str,
    /// Scalar multiplication: key agreement and blinding. Callers have [`Kernels::multiply`].
    pub x25519: X25519,
    /// Lanes that `x25519` takes in one go, a power of two: for fewer it takes as long.
    pub x25519_lanes: usize,
    /// Scalar multiplication of lanes that would have such a go to themselves, if the shell brought
    /// one with [`Kernels::with_lone_x25519`].
    pub lone_x25519: Option<X25519>,
    /// Scalar multiplication of points that are multiplied more than once, if the tier has a faster
    /// way. Callers have [`Kernels::prepare`] and [`Kernels::multiply_again`].
    pub again: Option<Again>,
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

impl Kernels {
    /// The same kernels, but lanes for which it is faster are multiplied by `single`, one at a
    /// time: all of them where the tier has no vectors, and otherwise one that is left over when
    /// the vectors are full. Two lanes in one vector take no longer than two such calls.
    ///
    /// `single` must be what [`X25519`] says. The engine has no such function itself, because the
    /// fast ones are not `no_std`.
    #[must_use]
    pub fn with_lone_x25519(self, single: X25519) -> Self {
        Self { lone_x25519: Some(single), ..self }
    }

    /// Scalar multiplication by whichever function of the tier is the faster one for each lane.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn multiply(&self, scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
        assert!(scalars.len() == points.len() && points.len() == out.len());
        let Some(single) = self.lone_x25519 else { return (self.x25519)(scalars, points, out) };
        let lone = match (self.x25519_lanes, out.len()) {
            (1, len) => len,
            (lanes, len) => usize::from(len & (lanes - 1) == 1),
        };
        let vectors = out.len() - lone;
        let (out, rest) = out.split_at_mut(vectors);
        (self.x25519)(&scalars[..vectors], &points[..vectors], out);
        single(&scalars[vectors..], &points[vectors..], rest);
    }

    /// Takes points that will be multiplied more than once.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`].
    pub fn prepare(&self, points: impl ExactSizeIterator<Item = [u8; 32]>, all: &mut Multiples) {
        all.set(points);
        if let Some(again) = self.again {
            (again.prepare)(all);
        }
    }

    /// `out[i] = clamp(scalars[i]) * points[i]` for those i that are `wanted`, in ascending order;
    /// other rows of `out` may be written too.
    ///
    /// # Panics
    /// If `scalars` or `out` have not as many rows as there are points.
    pub fn multiply_again(
        &self,
        scalars: &[[u8; 32]],
        wanted: &[usize],
        points: &Multiples,
        out: &mut [[u8; 32]],
    ) {
        assert!(scalars.len() == points.points().len() && out.len() == scalars.len());
        let set = |i: &usize| 1 << *i;
        if let Some(again) = self.again {
            let fast = wanted.iter().map(set).fold(0, |all, bit: u64| all | bit) & !points.plain();
            (again.multiply)(scalars, fast, points, out);
        }
        let rest: ArrayVec<usize, BATCH_MAX> =
            wanted.iter().copied().filter(|i| points.plain() & set(i) != 0).collect();
        let gather = |rows: &[[u8; 32]]| -> ArrayVec<[u8; 32], BATCH_MAX> {
            rest.iter().map(|&i| rows[i]).collect()
        };
        let (mut few, their) = (gather(scalars), gather(points.points()));
        let mut products = few.clone();
        self.multiply(&few, &their, &mut products);
        rest.iter().zip(&products).for_each(|(&i, product)| out[i] = *product);
        wipe(&mut few);
        wipe(&mut products);
    }
}

/// The tier that runs on every CPU, and the reference for all others.
pub const PORTABLE: Kernels = Kernels {
    name: "portable",
    x25519: x25519::portable::x25519,
    x25519_lanes: 1,
    lone_x25519: None,
    again: None,
    expand: kdf::portable::expand,
    payload_keys: kdf::portable::payload_keys,
    header_macs: kdf::portable::header_macs,
    header_stream: ctr::portable::header_stream,
    lioness_decrypt: lioness::portable::decrypt,
    lioness_encrypt: lioness::portable::encrypt,
};

/// The tier of CPUs with AVX2, where this CPU has it. SHA-256 and AES are done by their own
/// instructions if there are any.
#[cfg(target_arch = "x86_64")]
pub fn avx2() -> Option<Kernels> {
    let proof = Avx2::detect()?;
    let mut kernels = Kernels {
        name: "avx2",
        x25519: x25519::avx2::kernel(proof),
        x25519_lanes: x25519::avx2::LANES,
        expand: kdf::avx2::expand,
        payload_keys: kdf::avx2::payload_keys,
        header_macs: kdf::avx2::header_macs,
        lioness_decrypt: lioness::avx2::decrypt,
        lioness_encrypt: lioness::avx2::encrypt,
        ..PORTABLE
    };
    if Sha::detect().is_some() {
        kernels.expand = kdf::sha_ni::expand;
        kernels.payload_keys = kdf::sha_ni::payload_keys;
        kernels.header_macs = kdf::sha_ni::header_macs;
    }
    if Aes::detect().is_some() {
        kernels.header_stream = ctr::aes_ni::header_stream;
    }
    Some(kernels)
}

/// The tier of CPUs with AVX-512 and its big-integer instructions, where this CPU has them.
#[cfg(target_arch = "x86_64")]
pub fn avx512() -> Option<Kernels> {
    let proof = Avx512::detect()?;
    let mut kernels = Kernels {
        name: "avx512",
        x25519: x25519::avx512::kernel(proof),
        x25519_lanes: x25519::avx512::LANES,
        again: Some(x25519::avx512::again(proof)),
        expand: kdf::avx512::expand,
        payload_keys: kdf::avx512::payload_keys,
        header_macs: kdf::avx512::header_macs,
        lioness_decrypt: lioness::avx512::decrypt,
        lioness_encrypt: lioness::avx512::encrypt,
        ..PORTABLE
    };
    if Vaes::detect().is_some() {
        kernels.header_stream = ctr::vaes::header_stream;
    } else if Aes::detect().is_some() {
        kernels.header_stream = ctr::aes_ni::header_stream;
    }
    Some(kernels)
}

/// The tier of CPUs with AVX2: here there is none.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx2() -> Option<Kernels> {
    None
}

/// The tier of CPUs with AVX-512: here there is none.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx512() -> Option<Kernels> {
    None
}

/// Every tier that this CPU can run, slowest first.
pub fn tiers() -> ArrayVec<Kernels, 3> {
    [Some(PORTABLE), avx2(), avx512()].into_iter().flatten().collect()
}

/// Wipes rows of secret bytes in a way that the compiler keeps.
pub(crate) fn wipe<const N: usize>(rows: &mut [[u8; N]]) {
    zeroize_bytes(rows.as_flattened_mut());
}
