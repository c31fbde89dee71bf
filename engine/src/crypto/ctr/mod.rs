//! The header's stream cipher: AES-128 in counter mode (NIST SP 800-38A, section 6.5).

#[cfg(target_arch = "x86_64")]
pub mod aes_ni;
pub mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
pub mod vaes;

use crate::wire::geometry::{K, STREAM_LEN};

/// Xors the key stream onto each block. The initial counter is zero and the last 64 bits count,
/// big-endian.
///
/// Arguments: keys, blocks (beta and the padding that keeps its length). A key serves for one
/// packet only.
///
/// Panics if the slices differ in length.
pub type HeaderStream = fn(&[[u8; K]], &mut [[u8; STREAM_LEN]]);
