//! Addresses that no exit has to connect to for strangers, and IPv6 addresses that stand for IPv4
//! addresses.
//!
//! After IANA's registries of special-purpose addresses (RFC 6890 and its successors) and the
//! documentation of the cloud operators.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network that is refused unless the operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// Its addresses.
    pub network: IpNet,
    /// What they are for.
    pub name: &'static str,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.network)
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8, name: &'static str) -> Special {
    Special { network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)), name }
}

const fn v6(parts: [u16; 8], bits: u8, name: &'static str) -> Special {
    let [a, b, c, d, e, f, g, h] = parts;
    let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    Special { network: IpNet::V6(Ipv6Net::new_assert(address, bits)), name }
}

/// The narrower of two networks comes first, so that what is said of an address is most to the
/// point.
const V4: &[Special] = &[
    v4(169, 254, 169, 254, 32, "cloud metadata"),
    v4(169, 254, 170, 2, 32, "cloud metadata"),
    v4(100, 100, 100, 200, 32, "cloud metadata"),
    v4(168, 63, 129, 16, 32, "cloud metadata"),
    v4(0, 0, 0, 0, 8, "this network"),
    v4(10, 0, 0, 0, 8, "private"),
    v4(100, 64, 0, 0, 10, "shared by carrier-grade NAT"),
    v4(127, 0, 0, 0, 8, "loopback"),
    v4(169, 254, 0, 0, 16, "link-local"),
    v4(172, 16, 0, 0, 12, "private"),
    v4(192, 0, 0, 0, 24, "protocol assignments"),
    v4(192, 0, 2, 0, 24, "documentation"),
    v4(192, 88, 99, 0, 24, "6to4 relays"),
    v4(192, 168, 0, 0, 16, "private"),
    v4(198, 18, 0, 0, 15, "benchmarks"),
    v4(198, 51, 100, 0, 24, "documentation"),
    v4(203, 0, 113, 0, 24, "documentation"),
    v4(224, 0, 0, 0, 4, "multicast"),
    v4(255, 255, 255, 255, 32, "broadcast"),
    v4(240, 0, 0, 0, 4, "reserved"),
];

const V6: &[Special] = &[
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata"),
    v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible, no longer used"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarks"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID, no longer used"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "remote identification"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local, no longer used"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// What of IPv6 is assigned to the internet (RFC 4291, section 2.4), and what NAT64 makes of IPv4.
const GLOBAL_V6: [Ipv6Net; 2] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
];

/// The special network that `address` belongs to, if it belongs to one.
pub(super) fn range(address: IpAddr) -> Option<Special> {
    let all = if address.is_ipv4() { V4 } else { V6 };
    let named = all.iter().find(|special| special.network.contains(&address)).copied();
    let IpAddr::V6(v6) = address else { return named };
    named.or_else(|| {
        let global = GLOBAL_V6.iter().any(|network| network.contains(&v6));
        let network = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));
        (!global).then_some(Special { network, name: "not assigned to the internet" })
    })
}

/// How an IPv6 address stands for an IPv4 address, and for which.
pub(super) type Embedded = (&'static str, Ipv4Addr);

/// The IPv4 addresses that an IPv6 address, which is not a mapped one, leads to.
pub(super) fn embedded(address: Ipv6Addr) -> [Option<Embedded>; 2] {
    let octets = address.octets();
    let at = |place: usize| {
        Ipv4Addr::new(octets[place], octets[place + 1], octets[place + 2], octets[place + 3])
    };
    match address.segments() {
        // RFC 3056.
        [0x2002, ..] => [Some(("6to4", at(2))), None],
        // RFC 4380: the server, and the client with all bits turned over.
        [0x2001, 0, ..] => {
            let client = Ipv4Addr::from_bits(!at(12).to_bits());
            [Some(("Teredo", client)), Some(("Teredo server", at(4)))]
        }
        // RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [Some(("NAT64", at(12))), None],
        _ => [None, None],
    }
}
