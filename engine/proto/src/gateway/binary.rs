//! Binary messages: packets from clients, and what was delivered for them.
//!
//! A message is `kind | 1 | nonce 12 | sealed`, where the 1 says that it is sealed. The stock
//! software has 0 for messages that are not, and no client sends any; they are refused.
//! Sealed in a request is `packet type | key rotation | first hop, 7 or 19 | packet`, without the
//! rotation in the older kind. Facts from nym-gateway-requests and nym-sphinx-forwarding 2.0.0.

use std::fmt;
use std::net::SocketAddr;

use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::{ADDRESS, PacketSize};

use super::{KEY_ROTATION_VERSION, NONCE, Nonce, SharedKey};

const FORWARD: u8 = 1;
const FORWARD_ROTATION: u8 = 2;
const PUSHED: u8 = 1;
const SEALED: u8 = 1;
/// The type of packets that mix; others are gone from the network.
const MIX: u8 = 0;
/// Kind, seal flag and nonce.
const HEAD: usize = 2 + NONCE;

/// A request to send a packet to its first hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'a> {
    /// Where to.
    pub next_hop: SocketAddr,
    /// The key rotation that the packet was built for.
    pub rotation: KeyRotation,
    /// The Sphinx packet.
    pub packet: &'a [u8],
    /// Which of the five sizes it has.
    pub size: PacketSize,
}

impl<'a> Forward<'a> {
    /// The request for `packet`; nothing if that has none of the five lengths.
    pub fn new(next_hop: SocketAddr, rotation: KeyRotation, packet: &'a [u8]) -> Option<Self> {
        let size = PacketSize::from_packet_len(packet.len())?;
        Some(Self { next_hop, rotation, packet, size })
    }

    /// The message, in the form that a gateway of this protocol `version` understands. The older
    /// form has no place for the key rotation.
    pub fn seal(&self, version: u8, key: &SharedKey, nonce: &Nonce) -> Vec<u8> {
        let field = address::encode(self.next_hop);
        let hop = &field[..address_len(&self.next_hop)];
        if version < KEY_ROTATION_VERSION {
            seal(FORWARD, key, nonce, &[&[MIX], hop, self.packet])
        } else {
            seal(FORWARD_ROTATION, key, nonce, &[&[MIX, self.rotation.byte()], hop, self.packet])
        }
    }

    /// Reads a message of a client and opens it where it stands.
    ///
    /// # Errors
    /// If it is none, or not sealed with `key`.
    pub fn open(key: &SharedKey, message: &'a mut [u8]) -> Result<Self, BinaryError> {
        let (kind, plain) = open(key, message, &[FORWARD, FORWARD_ROTATION])?;
        let (&packet_type, rest) = plain.split_first().ok_or(BinaryError::TooShort)?;
        if packet_type != MIX {
            return Err(BinaryError::PacketType(packet_type));
        }
        let (rotation, rest) = match (kind, rest) {
            (FORWARD, rest) => (KeyRotation::Unknown, rest),
            (_, [tag, rest @ ..]) => {
                (KeyRotation::from_byte(*tag).ok_or(BinaryError::KeyRotation(*tag))?, rest)
            }
            (_, []) => return Err(BinaryError::TooShort),
        };
        let mut field = [0; ADDRESS];
        let shown = rest.len().min(ADDRESS);
        field[..shown].copy_from_slice(&rest[..shown]);
        let next_hop = address::parse(&field).ok_or(BinaryError::Address)?;
        let packet = rest.get(address_len(&next_hop)..).ok_or(BinaryError::TooShort)?;
        Self::new(next_hop, rotation, packet).ok_or(BinaryError::PacketLength(packet.len()))
    }
}

/// Bytes of an address without its padding.
const fn address_len(address: &SocketAddr) -> usize {
    if address.is_ipv4() { 7 } else { 19 }
}

/// The message with which a gateway hands over what was delivered for a client.
pub fn seal_pushed(key: &SharedKey, nonce: &Nonce, message: &[u8]) -> Vec<u8> {
    seal(PUSHED, key, nonce, &[message])
}

/// Reads a message of a gateway and opens it where it stands: what was delivered.
///
/// # Errors
/// If it is no such message, or not sealed with `key`.
pub fn open_pushed<'a>(key: &SharedKey, message: &'a mut [u8]) -> Result<&'a [u8], BinaryError> {
    Ok(open(key, message, &[PUSHED])?.1)
}

fn seal(kind: u8, key: &SharedKey, nonce: &Nonce, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut message = Vec::with_capacity(HEAD + len + super::TAG);
    message.extend_from_slice(&[kind, SEALED]);
    message.extend_from_slice(nonce);
    for part in parts {
        message.extend_from_slice(part);
    }
    key.seal_from(nonce, &mut message, HEAD);
    message
}

fn open<'a>(
    key: &SharedKey,
    message: &'a mut [u8],
    kinds: &[u8],
) -> Result<(u8, &'a [u8]), BinaryError> {
    let (head, sealed) = message.split_at_mut_checked(HEAD).ok_or(BinaryError::TooShort)?;
    let kind = head[0];
    if !kinds.contains(&kind) {
        return Err(BinaryError::Kind(kind));
    }
    if head[1] != SEALED {
        return Err(BinaryError::NotSealed);
    }
    let nonce = Nonce::try_from(&head[2..]).expect("the head ends with a nonce");
    let plain = key.open_in_place(&nonce, sealed).map_err(|_| BinaryError::NotSealed)?;
    Ok((kind, plain))
}

/// Why a binary message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryError {
    /// It ends before its fields do.
    TooShort,
    /// Its first byte names no kind of message.
    Kind(u8),
    /// It was not sealed with the shared key.
    NotSealed,
    /// It carries a packet of another type than those that mix.
    PacketType(u8),
    /// It names no key rotation.
    KeyRotation(u8),
    /// The address of the first hop is neither IPv4 nor IPv6.
    Address,
    /// The packet has none of the five lengths; this is what it has.
    PacketLength(usize),
}

impl fmt::Display for BinaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the message is too short"),
            Self::Kind(kind) => write!(f, "there is no message of kind {kind}"),
            Self::NotSealed => super::NotSealed.fmt(f),
            Self::PacketType(kind) => write!(f, "packets of type {kind} are not forwarded"),
            Self::KeyRotation(tag) => write!(f, "there is no key rotation {tag}"),
            Self::Address => f.write_str("the address of the first hop is malformed"),
            Self::PacketLength(len) => write!(f, "no Sphinx packet has {len} bytes"),
        }
    }
}

impl std::error::Error for BinaryError {}
