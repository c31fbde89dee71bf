//! Key derivation and the header's MAC: HKDF-SHA256 (RFC 5869) and HMAC-SHA256 (RFC 2104).

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
mod batch;
mod fixed;
pub mod portable;
mod sha256;
#[cfg(target_arch = "x86_64")]
pub mod sha_ni;
#[cfg(test)]
mod tests;

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, zeroize_bytes};

use super::PAYLOAD_KEY;
use crate::wire::geometry::{BETA_LEN, K};

/// HKDF info string of the first derivation, as every Nym sender uses it. The salt is empty.
const HOP_INFO: &[u8; 97] = b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton \
topothetisw kai tha kinisw thn gh.";
/// HKDF salt of the payload key from its seed.
const PAYLOAD_SALT: &[u8; 44] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT";
/// HKDF info string of the payload key from its seed.
const PAYLOAD_INFO: &[u8; 44] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO";

/// Bytes that a hop derives from its shared secret.
const HOP_KEYS: usize = BLINDING + 32 + 32;
const STREAM: usize = 0;
const MAC: usize = STREAM + K;
const PAYLOAD: usize = MAC + K;
const BLINDING: usize = PAYLOAD + PAYLOAD_KEY;
const REPLAY_TAG: usize = BLINDING + 32;

const _: () = assert!(HOP_KEYS == 288);

/// What one hop derives from its shared secret with the sender: the outputs of the random oracles
/// of the Sphinx paper (section 3.2), and the replay tag.
///
/// `stream 16 | mac 16 | payload 192 | blinding 32 | replay tag 32`, one run of HKDF output. Wiped
/// when dropped, absent from debug output.
#[derive(Clone)]
pub struct HopKeys([u8; HOP_KEYS]);

impl HopKeys {
    /// All zero: a place for a kernel to write to.
    pub const fn empty() -> Self {
        Self([0; HOP_KEYS])
    }

    /// Key of the header's stream cipher.
    pub fn stream(&self) -> &[u8; K] {
        self.part(STREAM)
    }

    /// Key of the header's MAC.
    pub fn mac(&self) -> &[u8; K] {
        self.part(MAC)
    }

    /// LIONESS key of packets of version 258.
    pub fn payload(&self) -> &[u8; PAYLOAD_KEY] {
        self.part(PAYLOAD)
    }

    /// Seed of the LIONESS key of packets of version 259 and later; the start of
    /// [`HopKeys::payload`].
    pub fn payload_seed(&self) -> &[u8; K] {
        self.part(PAYLOAD)
    }

    /// Scalar that alpha is multiplied with before it goes to the next hop; not clamped.
    pub fn blinding(&self) -> &[u8; 32] {
        self.part(BLINDING)
    }

    /// Value by which a packet is known again, whatever form its alpha has.
    pub fn replay_tag(&self) -> &[u8; 32] {
        self.part(REPLAY_TAG)
    }

    /// Becomes equal to `other` without a copy on the stack.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    #[cfg(test)]
    pub(crate) const fn as_bytes(&self) -> &[u8; HOP_KEYS] {
        &self.0
    }

    fn part<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.0[at..].first_chunk().expect("the parts lie within the whole")
    }
}

impl Zeroize for HopKeys {
    fn zeroize(&mut self) {
        zeroize_bytes(&mut self.0);
    }
}

impl Drop for HopKeys {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for HopKeys {}

impl fmt::Debug for HopKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopKeys(..)")
    }
}

/// Arguments: shared secrets (X25519 output), keys derived from them.
///
/// Panics if the slices differ in length.
pub type Expand = fn(&[[u8; 32]], &mut [HopKeys]);

/// Arguments: seeds, LIONESS keys derived from them.
///
/// Panics if the slices differ in length.
pub type PayloadKeys = fn(&[[u8; K]], &mut [[u8; PAYLOAD_KEY]]);

/// Arguments: MAC keys, encrypted routing information, HMAC-SHA256 cut to its first 16 bytes.
///
/// Panics if the slices differ in length.
pub type HeaderMacs = fn(&[[u8; K]], &[&[u8; BETA_LEN]], &mut [[u8; K]]);
