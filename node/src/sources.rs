//! Who counts as one source of connections and requests, where each may have so many.

use std::net::IpAddr;

/// The source that `ip` belongs to: an IPv4 address, or an IPv6 network of 64 bits, which is what
/// one subscriber has at least.
pub(crate) fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_source() {
        let same =
            |one: &str, other: &str| source(one.parse().unwrap()) == source(other.parse().unwrap());
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
        assert!(
            same("2001:db8::1", "2001:db8::ffff:0:0:1") && !same("2001:db8::1", "2001:db8:0:1::1")
        );
    }
}
