//! The part of a message that one packet carries.
//!
//! Up to 255 fragments make a set, and a message too long for one set takes several, each of which
//! names its neighbours:
//!
//! ```text
//! unlinked:  1 bit | set 31 bits | total 8 | position 8 | 0 (8 bits) | payload
//! linked:    1 bit | set 31 bits | total 8 | position 8 | 1 bit | other set 31 bits | payload
//! ```
//!
//! Positions count from 1. The first fragment of a set may name the set before it, the 255th the
//! set after it. Facts from nym-sphinx-chunking 2.0.0.

use std::error::Error;
use std::fmt;

use rand_core::CryptoRng;

use super::keys::random;

/// Fragments of a set, at most.
pub const SET_MAX: usize = u8::MAX as usize;
/// Header of a fragment that names no other set, bytes.
pub const UNLINKED_HEADER: usize = 7;
/// Header of a fragment that names another set, bytes.
pub const LINKED_HEADER: usize = 10;
/// The bit that marks a set's number, in either place.
const FLAG: u32 = 1 << 31;

/// The number of a set: 1 to 2^31 - 1, drawn at random by the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(u32);

impl SetId {
    /// The set of this number, if there can be one.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number >= FLAG { None } else { Some(Self(number)) }
    }

    /// A new number.
    pub fn random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        loop {
            let number = u32::from_be_bytes(random(rng)) & !FLAG;
            if let Some(id) = Self::new(number) {
                return id;
            }
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Which fragment an acknowledgement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentId {
    /// Number of the set; 0 for cover traffic.
    set: u32,
    /// Position in the set, from 1; 0 for cover traffic.
    position: u8,
}

impl FragmentId {
    /// Bytes of an identifier.
    pub const LEN: usize = 5;
    /// What acknowledgements of cover traffic name.
    pub const COVER: Self = Self { set: 0, position: 0 };

    /// The identifier that `bytes` stand for; none if the set's number has more than 31 bits.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        let [a, b, c, d, position] = bytes;
        let set = u32::from_be_bytes([a, b, c, d]);
        (set < FLAG).then_some(Self { set, position })
    }

    /// The bytes inside an acknowledgement.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.set.to_be_bytes();
        [a, b, c, d, self.position]
    }

    /// The set; none for cover traffic.
    pub const fn set(self) -> Option<SetId> {
        SetId::new(self.set)
    }

    /// The position in the set, from 1.
    pub const fn position(self) -> u8 {
        self.position
    }
}

/// The set before or after the one that a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The fragment is the first of its set and the message begins in an earlier one.
    Previous(SetId),
    /// The fragment is the 255th of its set and the message goes on in a later one.
    Next(SetId),
}

/// A part of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Fragment {
    pub(super) set: SetId,
    pub(super) total: u8,
    pub(super) position: u8,
    pub(super) link: Option<Link>,
    pub(super) payload: Vec<u8>,
}

impl Fragment {
    /// The fragment that `bytes` stand for.
    ///
    /// # Errors
    /// If there are too few of them, or the header contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, FragmentError> {
        let (&head, _) =
            bytes.split_first_chunk::<UNLINKED_HEADER>().ok_or(FragmentError::Short)?;
        let [a, b, c, d, total, position, linked] = head;
        let set = flagged([a, b, c, d]).ok_or(FragmentError::Header)?;
        if position == 0 || position > total {
            return Err(FragmentError::Header);
        }
        if linked == 0 {
            let payload = bytes[UNLINKED_HEADER..].to_vec();
            return Ok(Self { set, total, position, link: None, payload });
        }
        let other = bytes[UNLINKED_HEADER - 1..].first_chunk::<4>().ok_or(FragmentError::Short)?;
        let other = flagged(*other).filter(|other| *other != set).ok_or(FragmentError::Header)?;
        let link = match (position, total) {
            (1, _) => Link::Previous(other),
            (u8::MAX, u8::MAX) => Link::Next(other),
            _ => return Err(FragmentError::Header),
        };
        let payload = bytes[LINKED_HEADER..].to_vec();
        Ok(Self { set, total, position, link: Some(link), payload })
    }

    /// Appends the fragment as it stands in a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.set.0 | FLAG).to_be_bytes());
        out.extend([self.total, self.position]);
        match self.link {
            None => out.push(0),
            Some(Link::Previous(other) | Link::Next(other)) => {
                out.extend((other.0 | FLAG).to_be_bytes());
            }
        }
        out.extend(&self.payload);
    }

    /// Bytes that [`Fragment::write`] appends.
    pub fn encoded_len(&self) -> usize {
        let header = if self.link.is_some() { LINKED_HEADER } else { UNLINKED_HEADER };
        header + self.payload.len()
    }

    /// What its acknowledgement names.
    pub const fn id(&self) -> FragmentId {
        FragmentId { set: self.set.0, position: self.position }
    }

    /// The set that it belongs to.
    pub const fn set(&self) -> SetId {
        self.set
    }

    /// Fragments of that set.
    pub const fn total(&self) -> u8 {
        self.total
    }

    /// The set before or after, if the header names one.
    pub const fn link(&self) -> Option<Link> {
        self.link
    }

    /// The part of the message.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("set", &self.set)
            .field("position", &self.position)
            .field("total", &self.total)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// The number of a set behind its flag.
fn flagged(bytes: [u8; 4]) -> Option<SetId> {
    let number = u32::from_be_bytes(bytes);
    if number & FLAG == 0 { None } else { SetId::new(number & !FLAG) }
}

/// Why bytes are no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// They end inside the header.
    Short,
    /// A flag is missing, a number is out of its range, or a link stands where none can be.
    Header,
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the fragment ends inside its header",
            Self::Header => "the header of the fragment contradicts itself",
        })
    }
}

impl Error for FragmentError {}
