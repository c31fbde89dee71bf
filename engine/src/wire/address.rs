//! Addresses of next hops, as they stand in a Sphinx header.
//!
//! The field is 32 bytes: `4 or 6 | port, big endian | octets | zeros`, where there are 4 or 16
//! octets. Facts from nym-sphinx-addressing 2.0.0. Like the stock software, the reader takes no
//! notice of the bytes after the octets: whatever they are, the address is the same. They are
//! covered by the header's MAC, so only the sender can set them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::geometry::ADDRESS;

const V4: u8 = 4;
const V6: u8 = 6;

/// The address in the `field` of a header; nothing if its first byte is neither 4 nor 6. The
/// result may be one that no packet can be sent to: see [`routable`].
pub fn parse(field: &[u8; ADDRESS]) -> Option<SocketAddr> {
    let ip = match *field.first_chunk()? {
        [V4, _, _, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        [V6, ..] => IpAddr::V6(Ipv6Addr::from_octets(*field[3..].first_chunk()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([field[1], field[2]])))
}

/// The field of a header for `address`. The scope and flow of an IPv6 address have no place in it.
pub fn encode(address: SocketAddr) -> [u8; ADDRESS] {
    let mut field = [0; ADDRESS];
    field[1..3].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            field[0] = V4;
            field[3..7].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            field[0] = V6;
            field[3..19].copy_from_slice(&ip.octets());
        }
    }
    field
}

/// `address` with an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) turned into plain IPv4, so
/// that one next hop has one name.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a packet can be sent to `address`: one host, one port. Port 0, unspecified, multicast
/// and broadcast addresses are not; IPv4 in IPv6 is judged as IPv4. Private, link-local and
/// loopback ranges pass: whether they may be next hops is for the topology to say.
pub fn routable(address: &SocketAddr) -> bool {
    let one_host = match address.ip().to_canonical() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    one_host && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn layout() {
        let field = encode(address("1.2.3.4:258"));
        assert_eq!(field[..7], [4, 1, 2, 1, 2, 3, 4]);
        assert!(field[7..].iter().all(|&byte| byte == 0));
        let field = encode(address("[102:304::fffe]:65535"));
        assert_eq!(field[..7], [6, 255, 255, 1, 2, 3, 4]);
        assert_eq!(field[7..19], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]);
        assert!(field[19..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_is_encoded_is_read_back_whatever_follows_it() {
        for text in ["1.2.3.4:5", "0.0.0.0:0", "[::]:0", "[::ffff:1.2.3.4]:5", "[fe80::1]:1789"] {
            let address = address(text);
            let mut field = encode(address);
            assert_eq!(parse(&field), Some(address));
            let end = if address.is_ipv4() { 7 } else { 19 };
            field[end..].fill(0xa5);
            assert_eq!(parse(&field), Some(address));
        }
    }

    #[test]
    fn other_families_are_refused() {
        for family in (0..=255_u8).filter(|family| ![V4, V6].contains(family)) {
            let mut field = encode(address("1.2.3.4:5"));
            field[0] = family;
            assert_eq!(parse(&field), None);
        }
    }

    #[test]
    fn one_host_and_one_port() {
        for text in ["1.2.3.4:1789", "10.0.0.1:1", "127.0.0.2:9", "[::1]:9", "[::ffff:10.0.0.1]:1"]
        {
            assert!(routable(&address(text)), "{text}");
        }
        for text in [
            "1.2.3.4:0",
            "0.0.0.0:1789",
            "224.0.0.1:1789",
            "255.255.255.255:1789",
            "[::]:1789",
            "[ff02::1]:1789",
            "[::1]:0",
            "[::ffff:0.0.0.0]:1789",
            "[::ffff:239.1.1.1]:1789",
            "[::ffff:255.255.255.255]:1789",
        ] {
            assert!(!routable(&address(text)), "{text}");
        }
    }

    #[test]
    fn one_next_hop_has_one_name() {
        assert_eq!(canonical(address("[::ffff:1.2.3.4]:5")), address("1.2.3.4:5"));
        assert_eq!(canonical(address("[::1]:5")), address("[::1]:5"));
    }
}
