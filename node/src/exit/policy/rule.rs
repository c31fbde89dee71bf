//! One rule of a policy.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The node connects to it.
    Accept,
    /// The node does not.
    Reject,
}

/// The addresses that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// `*`: all of them.
    All,
    /// `*4`: all of IPv4.
    V4,
    /// `*6`: all of IPv6.
    V6,
    /// `private`: the networks that Tor means by the word.
    Private,
    /// One address or one network.
    Net(IpNet),
}

/// The ports that a rule matches, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Ports {
    /// `*`: all of them.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };
}

/// One rule of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// Whether it is an `accept6` or `reject6`, which concern IPv6 only.
    pub only_v6: bool,
    /// To which addresses.
    pub addresses: Addresses,
    /// To which ports of theirs.
    pub ports: Ports,
    /// The line of the policy in which it stands, from 1.
    pub line: u32,
}

/// What `private` means, after Tor's manual, section ExitPolicy.
pub(crate) const PRIVATE: [IpNet; 12] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v6(0, 8),
    v6(0, 127),
    v6(0xfc00, 7),
    v6(0xfe80, 10),
    v6(0xfec0, 10),
    v6(0xff00, 8),
];

const fn v4(address: [u8; 4], bits: u8) -> IpNet {
    let [a, b, c, d] = address;
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(first: u16, bits: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), bits))
}

impl Rule {
    /// Whether it decides about `port` of `address`.
    pub fn matches(&self, address: IpAddr, port: u16) -> bool {
        (self.ports.first..=self.ports.last).contains(&port) && self.covers(address)
    }

    /// Whether it decides about some port of `address`.
    pub fn covers(&self, address: IpAddr) -> bool {
        if self.only_v6 && address.is_ipv4() {
            return false;
        }
        match self.addresses {
            Addresses::All => true,
            Addresses::V4 => address.is_ipv4(),
            Addresses::V6 => address.is_ipv6(),
            Addresses::Private => PRIVATE.iter().any(|network| network.contains(&address)),
            Addresses::Net(network) => network.contains(&address),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.action {
            Action::Accept => "accept",
            Action::Reject => "reject",
        };
        let six = if self.only_v6 { "6" } else { "" };
        write!(f, "{verb}{six} {}:{}", self.addresses, self.ports)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::V4 => f.write_str("*4"),
            Self::V6 => f.write_str("*6"),
            Self::Private => f.write_str("private"),
            Self::Net(IpNet::V4(network)) if network.prefix_len() == 32 => {
                write!(f, "{}", network.addr())
            }
            Self::Net(IpNet::V4(network)) => write!(f, "{network}"),
            Self::Net(IpNet::V6(network)) if network.prefix_len() == 128 => {
                write!(f, "[{}]", network.addr())
            }
            Self::Net(IpNet::V6(network)) => {
                write!(f, "[{}]/{}", network.addr(), network.prefix_len())
            }
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            _ if *self == Self::ALL => f.write_str("*"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}
