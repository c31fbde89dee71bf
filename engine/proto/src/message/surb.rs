//! Single-use reply blocks as messages carry them.
//!
//! ```text
//! key 16 | Sphinx header 348 | first hop 32 | for each hop: payload key 192 or seed 16
//! ```
//!
//! A block of version 258 holds payload keys, one of version 259 seeds. At most five seeds are
//! shorter than one key, so the length tells them apart. Facts from nym-sphinx-anonymous-replies
//! 1.21.6 and 2.0.0 and sphinx-packet 0.6.0 and 0.8.0.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use phix_engine::sphinx::build::{Reply, hop_key_len};
use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::{ADDRESS, HEADER, MAX_HOPS};
use zeroize::Zeroizing;

use super::seal::ReplyKey;

/// Bytes of a block before the payload keys.
const FIXED: usize = ReplyKey::LEN + HEADER + ADDRESS;

/// What a reply block holds for each hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SurbFormat {
    /// Payload keys, Sphinx version 258.
    Keys,
    /// Seeds of payload keys, Sphinx version 259.
    #[default]
    Seeds,
}

impl SurbFormat {
    /// The Sphinx version in the header of such a block.
    pub const fn version(self) -> u16 {
        match self {
            Self::Keys => 258,
            Self::Seeds => 259,
        }
    }

    /// Bytes that a block holds for each hop.
    pub const fn hop_key_len(self) -> usize {
        hop_key_len(self.version())
    }

    /// Bytes of a block for a route of `hops` hops.
    pub const fn encoded_len(self, hops: usize) -> usize {
        FIXED + hops * self.hop_key_len()
    }
}

/// A header and keys with which somebody can send one packet to whoever made them, without learning
/// who that is.
#[derive(Clone)]
pub struct ReplySurb {
    pub(super) key: ReplyKey,
    pub(super) header: Box<[u8; HEADER]>,
    pub(super) first_hop: [u8; ADDRESS],
    pub(super) format: SurbFormat,
    pub(super) hop_keys: Zeroizing<Vec<u8>>,
    pub(super) rotation: KeyRotation,
}

impl ReplySurb {
    /// The block that `bytes` are, all of them. `rotation` is that of the message it came in.
    ///
    /// # Errors
    /// If the length is no block's, or the first hop no address.
    pub fn parse(bytes: &[u8], rotation: KeyRotation) -> Result<Self, SurbError> {
        let (key, rest) = bytes.split_first_chunk().ok_or(SurbError::Length)?;
        let (header, rest) = rest.split_first_chunk::<HEADER>().ok_or(SurbError::Length)?;
        let (first_hop, hop_keys) = rest.split_first_chunk().ok_or(SurbError::Length)?;
        let format = if hop_keys.len() < SurbFormat::Keys.hop_key_len() {
            SurbFormat::Seeds
        } else {
            SurbFormat::Keys
        };
        let hops = hop_keys.len() / format.hop_key_len();
        let whole = hop_keys.len().is_multiple_of(format.hop_key_len());
        if !whole || hops == 0 || hops > MAX_HOPS {
            return Err(SurbError::Length);
        }
        address::parse(first_hop).ok_or(SurbError::FirstHop)?;
        Ok(Self {
            key: ReplyKey::from_bytes(*key),
            header: Box::new(*header),
            first_hop: *first_hop,
            format,
            hop_keys: Zeroizing::new(hop_keys.to_vec()),
            rotation,
        })
    }

    /// Appends the block as messages carry it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.key.as_bytes());
        out.extend(&self.header[..]);
        out.extend(self.first_hop);
        out.extend(&self.hop_keys[..]);
    }

    /// The key of the reply. Whoever makes a block keeps it, to read what comes back.
    pub const fn key(&self) -> &ReplyKey {
        &self.key
    }

    /// What it holds for each hop.
    pub const fn format(&self) -> SurbFormat {
        self.format
    }

    /// Hops of its route.
    pub fn hops(&self) -> usize {
        self.hop_keys.len() / self.format.hop_key_len()
    }

    /// The rotation that its route's keys belong to.
    pub const fn rotation(&self) -> KeyRotation {
        self.rotation
    }

    /// The node that a reply goes to first.
    pub fn first_hop(&self) -> SocketAddr {
        address::parse(&self.first_hop).expect("a block's first hop is an address")
    }

    /// The packet that puts `message` behind the block's header.
    pub(super) fn reply<'a>(&'a self, message: &'a [u8]) -> Reply<'a> {
        Reply {
            header: &self.header,
            version: self.format.version(),
            keys: &self.hop_keys,
            message,
        }
    }
}

impl fmt::Debug for ReplySurb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplySurb")
            .field("format", &self.format)
            .field("hops", &self.hops())
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}

/// Why bytes are no reply block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurbError {
    /// There are not as many as a block of one to five hops has.
    Length,
    /// The first hop is no address.
    FirstHop,
}

impl fmt::Display for SurbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the reply block does not have the length of one of 1 to 5 hops",
            Self::FirstHop => "the first hop of the reply block is no address",
        })
    }
}

impl Error for SurbError {}
