//! LIONESS, the wide-block cipher of the payload (Anderson and Biham, "Two Practical and Provably
//! Secure Block Ciphers: BEAR and LION", 1996): four Feistel rounds, so that one flipped bit
//! anywhere garbles everything.
//!
//! Nym's instance: stream cipher ChaCha20 (RFC 8439, zero nonce, counter from zero) keyed with
//! `left ^ key`; hash BLAKE2b (RFC 7693) with a 64-byte key and 32 bytes of output. The left half
//! is the first 32 bytes of the payload, the right half all the rest; the key is
//! `k1 32 | k2 64 | k3 32 | k4 64`.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
mod blake2b;
mod chacha20;
pub mod portable;
mod rounds;
#[cfg(test)]
mod tests;

use super::PAYLOAD_KEY;

/// Bytes of the left half.
pub const LEFT: usize = 32;

/// Transforms each payload in place, one key each.
///
/// Arguments: keys, payloads. The payloads may differ in length; a tier works best where those of
/// one length stand together.
///
/// Panics if the slices differ in length, or if a payload has no right half.
pub type Lioness = fn(&[[u8; PAYLOAD_KEY]], &mut [&mut [u8]]);
