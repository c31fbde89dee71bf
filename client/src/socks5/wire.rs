//! What stands on the wire between an application and the server: RFC 1928 and, for passwords, RFC
//! 1929.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First byte of what RFC 1928 defines.
pub const VERSION: u8 = 5;
/// First byte of what RFC 1929 defines.
pub const LOGIN_VERSION: u8 = 1;

/// Method: nobody is asked who they are.
pub const NO_LOGIN: u8 = 0;
/// Method: a name and a password.
pub const LOGIN: u8 = 2;
/// In place of a method: there is none in common.
pub const NO_METHOD: u8 = 0xff;

/// Command: a TCP connection.
pub const CONNECT: u8 = 1;

/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where an application wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A name in the DNS, which the exit looks up, and a port.
    Name(String, u16),
    /// An address.
    Address(SocketAddr),
}

/// As exits take it: `name:port`, `address:port` or `[address]:port`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why the address in a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// More bytes are needed.
    Short,
    /// The kind is not one of RFC 1928's.
    Kind,
    /// A name that cannot be in the DNS.
    Name,
}

impl Target {
    /// Reads kind, address and port from the front of `bytes`; says how many there were.
    ///
    /// A name may be an address written out, as some applications send it; it is taken for one.
    ///
    /// # Errors
    /// If there are too few, or they mean nothing.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), TargetError> {
        let (&kind, rest) = bytes.split_first().ok_or(TargetError::Short)?;
        let (host, before) = match kind {
            IPV4 => {
                let octets = rest.first_chunk::<4>().ok_or(TargetError::Short)?;
                (Err(IpAddr::from(Ipv4Addr::from(*octets))), 1 + 4)
            }
            IPV6 => {
                let octets = rest.first_chunk::<16>().ok_or(TargetError::Short)?;
                (Err(IpAddr::from(Ipv6Addr::from(*octets))), 1 + 16)
            }
            NAME => {
                let (&len, rest) = rest.split_first().ok_or(TargetError::Short)?;
                let name = rest.get(..usize::from(len)).ok_or(TargetError::Short)?;
                (host(name).ok_or(TargetError::Name)?, 2 + usize::from(len))
            }
            _ => return Err(TargetError::Kind),
        };
        let port = bytes[before..].first_chunk().ok_or(TargetError::Short)?;
        let port = u16::from_be_bytes(*port);
        let target = match host {
            Ok(name) => Self::Name(name, port),
            Err(address) => Self::Address(SocketAddr::new(address, port)),
        };
        Ok((target, before + 2))
    }
}

/// A name that can be asked for, or the address that it spells.
fn host(name: &[u8]) -> Option<Result<String, IpAddr>> {
    let visible = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/' | b'@');
    let text = std::str::from_utf8(name).ok().filter(|text| !text.is_empty())?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Some(Err(address));
    }
    name.iter().all(visible).then(|| Ok(text.to_owned()))
}

/// How a request ended, as the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReplyCode {
    /// The connection is there.
    Succeeded = 0,
    /// The server or the exit could not do it.
    Failure = 1,
    /// The exit's policy forbids it.
    NotAllowed = 2,
    /// The exit has no way to the network.
    NetworkUnreachable = 3,
    /// The name is not known, or the host does not answer.
    HostUnreachable = 4,
    /// The host wants no such connection.
    Refused = 5,
    /// It took too long.
    TimedOut = 6,
    /// The command is not CONNECT.
    Command = 7,
    /// The kind of address is not one of RFC 1928's.
    AddressKind = 8,
}

/// The answer to a request. Which address the exit has on its side is not told: all zeros.
pub const fn reply(code: ReplyCode) -> [u8; 10] {
    [VERSION, code as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &[u8]) -> Vec<u8> {
        [&[NAME, name.len() as u8], name, &[0x1f, 0x90]].concat()
    }

    #[test]
    fn targets_are_what_their_bytes_say() {
        let parsed = |bytes: &[u8]| Target::parse(bytes).map(|(target, n)| (target.to_string(), n));
        let v4 = [1, 192, 0, 2, 7, 0, 80];
        assert_eq!(parsed(&v4), Ok(("192.0.2.7:80".into(), 7)));
        let mut v6 = vec![4];
        v6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([1, 0xbb, 9, 9]);
        assert_eq!(parsed(&v6), Ok(("[2001:db8::1]:443".into(), 19)));
        assert_eq!(parsed(&named(b"example.org")), Ok(("example.org:8080".into(), 15)));
        let longest = [b'a'; 255];
        assert_eq!(parsed(&named(&longest)).unwrap().1, 259);
        for end in 0..v6.len() - 2 {
            assert_eq!(Target::parse(&v6[..end]), Err(TargetError::Short));
        }
    }

    #[test]
    fn names_that_spell_addresses_are_addresses() {
        for (name, address) in
            [("192.0.2.7", "192.0.2.7:8080"), ("::1", "[::1]:8080"), ("[::1]", "[::1]:8080")]
        {
            let (target, _) = Target::parse(&named(name.as_bytes())).unwrap();
            assert_eq!(target, Target::Address(address.parse().unwrap()));
        }
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        let bad: [&[u8]; 7] =
            [b"", b"a b", b"a\0b", b"a:80", b"user@host", b"a\r\nHost: b", "m\u{fc}ll".as_bytes()];
        for name in bad {
            assert_eq!(Target::parse(&named(name)), Err(TargetError::Name), "{name:?}");
        }
        assert_eq!(Target::parse(&[2, 0, 0]), Err(TargetError::Kind));
    }
}
