//! One Sphinx layer taken off a batch of packets, in two steps.
//!
//! [`Peeler::open`] agrees on keys, checks the header and reads where the packet goes;
//! [`Peeler::strip`] blinds alpha and decrypts the payload. The replay check belongs in between: a
//! replayed packet must not buy the second step, which is most of the work on a large packet.
//!
//! The layers are those of Danezis and Goldberg, "Sphinx: A Compact and Provably Secure Mix
//! Format" (2009), section 3.6, with the primitives and the header fields that sphinx-packet 0.8.0
//! chose; see [`crate::wire::geometry`] for the layout.
//!
//! Packets change in place, and only these bytes of them: `open` replaces MAC and beta of a packet
//! that goes on to another hop; `strip` replaces its alpha, and the payload of every packet it is
//! told to keep. A packet that `open` rejects stays as it came, and no packet has any influence on
//! its neighbours in the batch.
//!
//! [`build`] puts the layers on.

pub mod build;
mod open;
mod strip;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use arrayvec::ArrayVec;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::x25519::Multiples;
use crate::crypto::{HopKeys, Kernels, PAYLOAD_KEY, wipe};
use crate::limits::BATCH_MAX;
use crate::secret::NodeSecret;
use crate::units::Span;
use crate::wire::geometry::{ADDRESS, K, STREAM_LEN};

/// Sphinx versions that a packet may no longer have: they predate X25519.
const LEGACY_VERSIONS: [u16; 2] = [1, 257];
/// The one version whose payload key comes straight from the first derivation. All others, also
/// those not yet known, carry a seed in its place.
const EXPLICIT_KEY_VERSION: u16 = 258;

/// Positions in a batch, in ascending order.
type Lanes = ArrayVec<usize, BATCH_MAX>;

/// The node keys that a packet may be encrypted to.
#[derive(Clone, Copy, Debug)]
pub struct KeyChoice<'a> {
    /// Key of the packet's rotation, or of the current one if the frame does not say.
    pub first: &'a NodeSecret,
    /// Key to try when the first does not fit the MAC.
    pub second: Option<&'a NodeSecret>,
}

/// Where a packet goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To another node.
    Forward {
        /// The node's address as it stands in the header.
        next_hop: [u8; ADDRESS],
        /// How long the sender wants this node to hold the packet; any 64-bit value.
        delay: Span,
    },
    /// Here: this node hands the payload to a client.
    Final {
        /// The client's address.
        destination: [u8; ADDRESS],
        /// Identifier of the reply block, zero where there is none.
        identifier: [u8; K],
    },
}

/// What a node learns from a header that it could open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the packet goes.
    pub route: Route,
    /// Equal for two packets if and only if they share their secret with this node: the value to
    /// check for replays. Alpha will not do, for several values of it give one secret.
    pub replay_tag: [u8; 32],
    /// Whether it was [`KeyChoice::second`] that fitted.
    pub used_second: bool,
    /// Sphinx version that the sender put in the header.
    pub version: u16,
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// No key fits the MAC: damaged, forged, or encrypted to some other key.
    Mac,
    /// The routing flag says neither "forward" nor "final".
    Flag,
    /// Version 1 or 257.
    LegacyVersion,
}

/// Takes one layer off the packets of a batch. Allocates once, when it is made.
pub struct Peeler {
    kernels: Kernels,
    scratch: Box<Scratch>,
    /// The alphas of the last `open`, which multiplies them once and `strip` again.
    alphas: Multiples,
    /// What the last `open` found, by lane.
    results: Vec<Result<Opened, Rejected>>,
    /// Whether the keys of the last `open` are still there for `strip`.
    armed: bool,
}

impl Peeler {
    /// A peeler that computes with `kernels`.
    pub fn new(kernels: Kernels) -> Self {
        let scratch = Box::new(Scratch::empty());
        let results = Vec::with_capacity(BATCH_MAX);
        Self { kernels, scratch, alphas: Multiples::new(), results, armed: false }
    }

    /// What the last [`Peeler::open`] found, by lane.
    pub fn results(&self) -> &[Result<Opened, Rejected>] {
        &self.results
    }

    /// Wipes the keys that the last `open` left for `strip`, if it is not done.
    fn disarm(&mut self) {
        if self.armed {
            self.scratch.kept[..self.results.len()].iter_mut().for_each(Zeroize::zeroize);
        }
        self.armed = false;
    }
}

impl fmt::Debug for Peeler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeler").field("kernels", &self.kernels.name).finish_non_exhaustive()
    }
}

/// Arguments and results of the kernels, a row per lane. Only `kept` has a row per packet; in all
/// others the lanes at work stand at the front, so that a kernel sees full vectors.
///
/// Wiped after each step. What the portable tier's crates leave in their own stack frames is not.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    scalars: [[u8; 32]; BATCH_MAX],
    products: [[u8; 32]; BATCH_MAX],
    derived: [HopKeys; BATCH_MAX],
    short_keys: [[u8; K]; BATCH_MAX],
    macs: [[u8; K]; BATCH_MAX],
    blocks: [[u8; STREAM_LEN]; BATCH_MAX],
    payload_keys: [[u8; PAYLOAD_KEY]; BATCH_MAX],
    kept: [HopKeys; BATCH_MAX],
}

impl Scratch {
    fn empty() -> Self {
        Self {
            scalars: [[0; 32]; BATCH_MAX],
            products: [[0; 32]; BATCH_MAX],
            derived: [const { HopKeys::empty() }; BATCH_MAX],
            short_keys: [[0; K]; BATCH_MAX],
            macs: [[0; K]; BATCH_MAX],
            blocks: [[0; STREAM_LEN]; BATCH_MAX],
            payload_keys: [[0; PAYLOAD_KEY]; BATCH_MAX],
            kept: [const { HopKeys::empty() }; BATCH_MAX],
        }
    }

    /// Wipes the first `lanes` rows of what `open` fills, but for `kept`.
    fn wipe_opened(&mut self, lanes: usize) {
        self.wipe_shared(lanes);
        self.derived[..lanes].iter_mut().for_each(Zeroize::zeroize);
        wipe(&mut self.macs[..lanes]);
        wipe(&mut self.blocks[..lanes]);
    }

    /// Wipes the first `lanes` rows of what `strip` fills.
    fn wipe_stripped(&mut self, lanes: usize) {
        self.wipe_shared(lanes);
        wipe(&mut self.payload_keys[..lanes]);
    }

    fn wipe_shared(&mut self, lanes: usize) {
        wipe(&mut self.scalars[..lanes]);
        wipe(&mut self.products[..lanes]);
        wipe(&mut self.short_keys[..lanes]);
    }
}

/// The message in the payload of a packet that has reached its end: what stands between the k
/// leading zeros and the last byte equal to 1 (Sphinx paper, section 3.6). `None` if the payload
/// does not start with zeros or holds no such byte: it was tampered with on its way, or lacks a
/// layer.
///
/// Bytes after that last 1 are not looked at; senders put zeros there.
pub fn final_message(payload: &[u8]) -> Option<&[u8]> {
    let (zeros, rest) = payload.split_first_chunk::<K>()?;
    if *zeros != [0; K] {
        return None;
    }
    let end = rest.iter().rposition(|&byte| byte == 1)?;
    Some(&rest[..end])
}
