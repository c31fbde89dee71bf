//! Where this machine reaches what listens on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address at which something that listens on `address` can be reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_reached_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(at("[::]:9000"), "[::1]:9000");
        assert_eq!(at("192.0.2.1:80"), "192.0.2.1:80");
    }
}
