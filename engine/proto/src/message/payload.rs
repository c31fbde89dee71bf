//! What the last hop of a packet finds in the Sphinx payload.
//!
//! A packet of the size of acknowledgements is one, and goes to the client as it is. All others
//! bring the acknowledgement that the last hop is to send as soon as it has the message:
//!
//! ```text
//! first hop of the acknowledgement 19 | acknowledgement packet 386 | message
//! ```
//!
//! The first hop is `4 or 6 | port | octets | zeros`. Facts from nym-sphinx-framing and
//! nym-sphinx-acknowledgements 2.0.0.

use std::net::SocketAddr;

use phix_engine::wire::address;
use phix_engine::wire::geometry::{ADDRESS, PacketSize};

/// Bytes of the acknowledgement's first hop.
const FIRST_HOP: usize = 19;
/// Bytes of an acknowledgement packet.
const ACK_PACKET: usize = PacketSize::Ack.packet_len();
/// Bytes in front of the message.
pub const ACK_PART: usize = FIRST_HOP + ACK_PACKET;

/// The payload of a packet at its last hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalPayload<'a> {
    /// The acknowledgement to send, in the key rotation that the packet itself came in; none for a
    /// packet that is an acknowledgement.
    pub ack: Option<Ack<'a>>,
    /// What the client gets.
    pub message: &'a [u8],
}

/// An acknowledgement that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Where to.
    pub first_hop: SocketAddr,
    /// The Sphinx packet.
    pub packet: &'a [u8; ACK_PACKET],
}

impl<'a> FinalPayload<'a> {
    /// Reads `plaintext`, which is the [`final_message`](phix_engine::sphinx::final_message) of a
    /// packet of `size`. None if it is too short for an acknowledgement or names no first hop.
    pub fn parse(size: PacketSize, plaintext: &'a [u8]) -> Option<Self> {
        if size == PacketSize::Ack {
            return Some(Self { ack: None, message: plaintext });
        }
        let (hop, rest) = plaintext.split_first_chunk::<FIRST_HOP>()?;
        let (packet, message) = rest.split_first_chunk::<ACK_PACKET>()?;
        let mut field = [0; ADDRESS];
        field[..FIRST_HOP].copy_from_slice(hop);
        let first_hop = address::parse(&field)?;
        Some(Self { ack: Some(Ack { first_hop, packet }), message })
    }
}

/// The part in front of the message: `packet` and the address of its first hop, as it stands in a
/// Sphinx header.
pub(super) fn write_ack(first_hop: &[u8; ADDRESS], packet: &[u8], out: &mut Vec<u8>) {
    debug_assert_eq!(packet.len(), ACK_PACKET);
    out.extend(&first_hop[..FIRST_HOP]);
    out.extend(packet);
}
