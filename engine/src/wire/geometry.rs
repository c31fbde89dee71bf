//! Sizes and offsets of a Sphinx packet as Nym lays it out.
//!
//! A packet is `alpha (32) | mac (16) | beta (300) | payload`. The header is what the Sphinx paper
//! (Danezis and Goldberg, 2009, section 3.2) calls `(alpha, beta, gamma)`; the constants are those
//! of sphinx-packet 0.8.0 for paths of up to five hops.

use core::ops::Range;

/// Security parameter k of the paper, bytes: length of the MAC, of stream keys and of seeds.
pub const K: usize = 16;
/// Longest path, in hops.
pub const MAX_HOPS: usize = 5;
/// Node address or destination as it stands in the header, bytes.
pub const ADDRESS: usize = 32;
/// What a hop reads for itself: flag 1, version 3, address 32, delay 8.
pub const HOP_INFO: usize = 1 + 3 + ADDRESS + 8;
/// What a hop's layer takes from beta: its own information and the next hop's MAC.
pub const HOP_STRIDE: usize = HOP_INFO + K;
/// Encrypted routing information, bytes.
pub const BETA_LEN: usize = HOP_STRIDE * MAX_HOPS;
/// Stream that a hop needs: beta plus the zero padding that it appends before decrypting.
pub const STREAM_LEN: usize = BETA_LEN + HOP_STRIDE;
/// Header bytes before the payload.
pub const HEADER: usize = 32 + K + BETA_LEN;
/// Payload bytes that carry no message: k leading zeros and the byte 1 that ends the message.
pub const PAYLOAD_OVERHEAD: usize = K + 1;

/// Where alpha (the X25519 element) stands.
pub const ALPHA: Range<usize> = 0..32;
/// Where the header's MAC stands.
pub const MAC: Range<usize> = 32..48;
/// Where beta stands.
pub const BETA: Range<usize> = 48..HEADER;

const _: () = assert!(BETA_LEN == 300 && STREAM_LEN == 360 && HEADER == 348);

/// The five sizes of Sphinx packets that Nym's framing knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketSize {
    /// An acknowledgement: 21 bytes of message.
    Ack,
    /// 2 KiB of message: nearly all traffic.
    Regular,
    /// 8 KiB of message.
    Extended8,
    /// 16 KiB of message.
    Extended16,
    /// 32 KiB of message.
    Extended32,
}

impl PacketSize {
    /// Every size, smallest first; the position is [`PacketSize::index`].
    pub const ALL: [Self; 5] =
        [Self::Ack, Self::Regular, Self::Extended8, Self::Extended16, Self::Extended32];

    /// Bytes of message that a packet of this size carries at most.
    pub const fn message_len(self) -> usize {
        match self {
            Self::Ack => 21,
            Self::Regular => 2048,
            Self::Extended8 => 8192,
            Self::Extended16 => 16384,
            Self::Extended32 => 32768,
        }
    }

    /// Bytes of payload: the message and its overhead.
    pub const fn payload_len(self) -> usize {
        self.message_len() + PAYLOAD_OVERHEAD
    }

    /// Bytes of the whole Sphinx packet, without framing.
    pub const fn packet_len(self) -> usize {
        HEADER + self.payload_len()
    }

    /// Position in [`PacketSize::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The size that a frame header's tag names, if it is one of the five.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Regular),
            2 => Some(Self::Ack),
            3 => Some(Self::Extended32),
            4 => Some(Self::Extended8),
            5 => Some(Self::Extended16),
            _ => None,
        }
    }

    /// The tag of this size in a frame header.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Ack => 2,
            Self::Extended32 => 3,
            Self::Extended8 => 4,
            Self::Extended16 => 5,
        }
    }

    /// The size of a Sphinx packet of `len` bytes, if there is one.
    pub fn from_packet_len(len: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.packet_len() == len)
    }
}

const _: () = assert!(
    PacketSize::Ack.packet_len() == 386
        && PacketSize::Regular.packet_len() == 2413
        && PacketSize::Extended8.packet_len() == 8557
        && PacketSize::Extended16.packet_len() == 16749
        && PacketSize::Extended32.packet_len() == 33133
);
