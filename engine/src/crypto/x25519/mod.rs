//! X25519 (RFC 7748, section 5): key agreement with the sender, and the blinding of alpha.
//!
//! A vector tier is `batch` over `ladder` over a `field` over a vector (`lanes`). The `avx512` tier
//! uses the field of `ifma`, the `avx2` tier that of `float`; the rest is the same code.
#![cfg_attr(
    not(any(test, target_arch = "x86_64")),
    expect(dead_code, reason = "no vector tier for this CPU")
)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod batch;
mod comb;
mod edwards;
#[cfg(test)]
mod emulated;
mod field;
mod float;
mod ifma;
mod ladder;
mod lanes;
mod multiples;
pub mod portable;
#[cfg(test)]
mod tests;
mod words;

pub use multiples::{Again, Multiples};

/// `out[i] = clamp(scalars[i]) * points[i]`, u-coordinates in RFC 7748's encoding.
///
/// Arguments: scalars (clamped here), points (the top bit is ignored, any u is accepted, on the
/// curve or on its twist), out. Low-order points are not refused: the header MAC that follows is
/// the check, and senders in the field do none either.
///
/// Panics if the slices differ in length.
pub type X25519 = fn(&[[u8; 32]], &[[u8; 32]], &mut [[u8; 32]]);
