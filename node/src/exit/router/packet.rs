//! What the router reads of an IP packet: from where to where, and what the policy has to judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an IPv4 header without options.
const V4_HEAD: usize = 20;
/// Bytes of an IPv6 header without extensions.
const V6_HEAD: usize = 40;
/// Extensions of an IPv6 header that are looked behind.
const EXTENSIONS_MAX: usize = 4;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const DESTINATION_OPTIONS: u8 = 60;

/// An IP packet from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) kind: Kind,
}

/// What is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP or UDP for this port.
    Port(u16),
    /// A question or a remark of ICMP that has no port.
    Icmp,
    /// A part of a packet, of which the port may be elsewhere.
    Fragment,
    /// Something else, which no policy has words for.
    Other,
}

impl Packet {
    /// Reads `bytes`; nothing if they are no IP packet, or more or fewer than it says itself.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => v4(bytes),
            6 => v6(bytes),
            _ => None,
        }
    }

    /// To whom `bytes` go, if they are an IP packet.
    pub(super) fn destination(bytes: &[u8]) -> Option<IpAddr> {
        Self::read(bytes).map(|packet| packet.destination)
    }
}

fn v4(bytes: &[u8]) -> Option<Packet> {
    let head: &[u8; V4_HEAD] = bytes.first_chunk()?;
    let length = usize::from(head[0] & 15) * 4;
    let whole = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if length < V4_HEAD || whole != bytes.len() {
        return None;
    }
    let payload = bytes.get(length..)?;
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]));
    // More fragments follow, or this is not the first.
    let fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0;
    let kind = if fragment { Kind::Fragment } else { kind(head[9], payload)? };
    Some(Packet { source: address(12), destination: address(16), kind })
}

fn v6(bytes: &[u8]) -> Option<Packet> {
    let head: &[u8; V6_HEAD] = bytes.first_chunk()?;
    let mut payload = &bytes[V6_HEAD..];
    if usize::from(u16::from_be_bytes([head[4], head[5]])) != payload.len() {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = head[at..at + 16].try_into().expect("sixteen are sixteen");
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let mut next = head[6];
    for _ in 0..EXTENSIONS_MAX {
        if !matches!(next, HOP_BY_HOP | DESTINATION_OPTIONS) {
            break;
        }
        let [following, length] = *payload.first_chunk()?;
        payload = payload.get(8 * (1 + usize::from(length))..)?;
        next = following;
    }
    let kind = if next == 44 { Kind::Fragment } else { kind(next, payload)? };
    Some(Packet { source: address(8), destination: address(24), kind })
}

/// What of a protocol is judged; nothing if its head is cut off.
fn kind(protocol: u8, payload: &[u8]) -> Option<Kind> {
    Some(match protocol {
        TCP | UDP => {
            let [_, _, high, low] = *payload.first_chunk()?;
            Kind::Port(u16::from_be_bytes([high, low]))
        }
        // Unreachable, echo request, time exceeded, parameter problem.
        ICMP if matches!(payload.first()?, 3 | 8 | 11 | 12) => Kind::Icmp,
        // Unreachable, too big, time exceeded, parameter problem, echo request.
        ICMP_V6 if matches!(payload.first()?, 1..=4 | 128) => Kind::Icmp,
        _ => Kind::Other,
    })
}
