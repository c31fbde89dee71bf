//! Which addresses a client may name as the first hop of a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `ip` may be an address of the public internet, after the registries of special-purpose
/// addresses (RFC 6890 and its updates). An entry that sent elsewhere would let its clients reach
/// into the network that it stands in.
pub(crate) fn public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => public_v6(ip),
    }
}

fn public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && b & 0xfe == 18;
    let reserved = a >= 240 || a == 0;
    !(shared
        || protocols
        || benchmarks
        || reserved
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

fn public_v6(ip: Ipv6Addr) -> bool {
    let head = ip.segments();
    // Only 2000::/3 is given out; within it, these are not for the public or lead into IPv4.
    let given_out = head[0] & 0xe000 == 0x2000;
    let documentation = (head[0], head[1]) == (0x2001, 0xdb8) || head[0] == 0x3fff;
    let protocols = head[0] == 0x2001 && head[1] < 0x200;
    let six_to_four = head[0] == 0x2002;
    given_out && !documentation && !protocols && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_all_others() {
        for ip in ["1.1.1.1", "8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "198.20.0.1"] {
            assert!(public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"] {
            assert!(public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
        ] {
            assert!(!public(ip.parse().unwrap()), "{ip}");
            let mapped = IpAddr::V6(ip.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped());
            assert!(!public(mapped), "{mapped}");
        }
        for ip in [
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2002:7f00:1::1",
            "2001::1",
            "64:ff9b::a00:1",
            "fec0::1",
        ] {
            assert!(!public(ip.parse().unwrap()), "{ip}");
        }
    }
}
