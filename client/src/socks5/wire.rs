//! What stands on the wire between an application and the server: RFC 1928 and, for passwords, RFC
//! 1929.

use std::net::{Ipv4Addr, Ipv6Addr};

use phix_proto::requester::{Host, Target};

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

/// Why the address in a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// More bytes are needed.
    Short,
    /// The kind is not one of RFC 1928's.
    Kind,
    /// A name that cannot be in the DNS, or port 0.
    Host,
}

/// Reads kind, address and port from the front of `bytes`; says how many there were.
///
/// A name may be an address written out, as some applications send it; it is taken for one.
///
/// # Errors
/// If there are too few, or they mean nothing.
pub fn target(bytes: &[u8]) -> Result<(Target, usize), TargetError> {
    let (&kind, rest) = bytes.split_first().ok_or(TargetError::Short)?;
    let (host, len) = match kind {
        IPV4 => {
            let octets = rest.first_chunk::<4>().ok_or(TargetError::Short)?;
            (Ok(Host::Ip(Ipv4Addr::from(*octets).into())), 1 + 4)
        }
        IPV6 => {
            let octets = rest.first_chunk::<16>().ok_or(TargetError::Short)?;
            (Ok(Host::Ip(Ipv6Addr::from(*octets).into())), 1 + 16)
        }
        NAME => {
            let (&len, rest) = rest.split_first().ok_or(TargetError::Short)?;
            let name = rest.get(..usize::from(len)).ok_or(TargetError::Short)?;
            (Err(name), 2 + usize::from(len))
        }
        _ => return Err(TargetError::Kind),
    };
    let port = u16::from_be_bytes(*bytes[len..].first_chunk().ok_or(TargetError::Short)?);
    let target = match host {
        Ok(_) if port == 0 => return Err(TargetError::Host),
        Ok(host) => Target { host, port },
        Err(name) => {
            let name = std::str::from_utf8(name).map_err(|_| TargetError::Host)?;
            Target::new(name, port).map_err(|_| TargetError::Host)?
        }
    };
    Ok((target, len + 2))
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

impl ReplyCode {
    /// Its name where it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "connected",
            Self::Failure => "not connected: failure",
            Self::NotAllowed => "not connected: not allowed",
            Self::NetworkUnreachable => "not connected: network unreachable",
            Self::HostUnreachable => "not connected: host unreachable",
            Self::Refused => "not connected: refused",
            Self::TimedOut => "not connected: too late",
            Self::Command => "not connected: command",
            Self::AddressKind => "not connected: address kind",
        }
    }
}

/// The answer to a request. Which address the exit has on its side is not told: all zeros.
pub const fn reply(code: ReplyCode) -> [u8; 10] {
    [VERSION, code as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn named(name: &[u8]) -> Vec<u8> {
        [&[NAME, name.len() as u8], name, &[0x1f, 0x90]].concat()
    }

    #[test]
    fn targets_are_what_their_bytes_say() {
        let parsed = |bytes: &[u8]| target(bytes).map(|(target, n)| (target.to_string(), n));
        let v4 = [1, 192, 0, 2, 7, 0, 80];
        assert_eq!(parsed(&v4), Ok(("192.0.2.7:80".into(), 7)));
        let mut v6 = vec![4];
        v6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([1, 0xbb, 9, 9]);
        assert_eq!(parsed(&v6), Ok(("[2001:db8::1]:443".into(), 19)));
        assert_eq!(parsed(&named(b"example.org")), Ok(("example.org:8080".into(), 15)));
        let longest = b"a.".repeat(126);
        assert_eq!(parsed(&named(&longest)).unwrap().1, 256);
        for end in 0..v6.len() - 2 {
            assert_eq!(target(&v6[..end]), Err(TargetError::Short));
        }
    }

    #[test]
    fn names_that_spell_addresses_are_addresses() {
        for (name, address) in
            [("192.0.2.7", "192.0.2.7:8080"), ("::1", "[::1]:8080"), ("[::1]", "[::1]:8080")]
        {
            let (target, _) = target(&named(name.as_bytes())).unwrap();
            assert_eq!(target, address.parse::<SocketAddr>().unwrap().into());
        }
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        let bad: [&[u8]; 7] =
            [b"", b"a b", b"a\0b", b"a:80", b"user@host", b"a\r\nHost: b", "m\u{fc}ll".as_bytes()];
        for name in bad {
            assert_eq!(target(&named(name)), Err(TargetError::Host), "{name:?}");
        }
        assert_eq!(target(&[1, 192, 0, 2, 1, 0, 0]), Err(TargetError::Host), "no port");
        assert_eq!(target(&[2, 0, 0]), Err(TargetError::Kind));
    }
}
