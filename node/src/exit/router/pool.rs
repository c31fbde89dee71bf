//! The addresses that clients get: a host's number in a network of each family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The network of IPv6 addresses, that of stock routers.
const V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 112);

/// Lengths of the prefix that a network of IPv4 addresses may have: 2 to 16 bits are for hosts.
pub(super) const SIZES: std::ops::RangeInclusive<u8> = 16..=30;

/// The number of the router itself.
const ROUTER: u32 = 1;

/// The addresses of one client, or of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

impl Pair {
    /// Whether `address` is one of them.
    pub(super) fn has(self, address: IpAddr) -> bool {
        address == self.v4 || address == self.v6
    }
}

/// Gives out numbers of hosts, one after the other and round again, so that an address that was
/// given back rests as long as it can.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    network: Ipv4Net,
    last: u32,
}

impl Pool {
    /// The pool of `network`, whose hosts have at most 16 bits for their number.
    ///
    /// # Panics
    /// If the network has fewer than two or more than 16 bits for its hosts.
    pub(super) fn new(network: Ipv4Net) -> Self {
        assert!(SIZES.contains(&network.prefix_len()), "a pool has 2 to 16 bits for hosts");
        Self { network: network.trunc(), last: ROUTER }
    }

    /// The networks that it takes its addresses from.
    pub(super) const fn networks(&self) -> (Ipv4Net, Ipv6Net) {
        (self.network, V6)
    }

    /// The addresses of the router itself.
    pub(super) fn router(&self) -> Pair {
        self.pair(ROUTER)
    }

    /// The next addresses that are not `taken`; nothing if all are.
    pub(super) fn next(&mut self, taken: impl Fn(IpAddr) -> bool) -> Option<Pair> {
        // The first number is the network itself, the last one its broadcast address.
        let hosts = (1_u32 << (32 - self.network.prefix_len())) - 2;
        for _ in 0..hosts {
            self.last = self.last % hosts + 1;
            let pair = self.pair(self.last);
            if self.last != ROUTER && !taken(pair.v4.into()) {
                return Some(pair);
            }
        }
        None
    }

    fn pair(&self, number: u32) -> Pair {
        let v4 = Ipv4Addr::from_bits(self.network.addr().to_bits() + number);
        Pair { v4, v6: Ipv6Addr::from_bits(V6.addr().to_bits() + u128::from(number)) }
    }
}
