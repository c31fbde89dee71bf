//! What a client wants to be connected to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Bytes of the longest name that DNS has, written out (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;

/// Bytes of the longest target: a name with a final point, a colon and a port.
pub(super) const TARGET_MAX: usize = NAME_MAX + 1 + 6;

/// A host, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name that the exit looks up. Letters, digits and `-._` only.
    Name(String),
}

/// A host and a port of it.
///
/// The text is `host:port`. An IPv6 address has brackets or, as stock clients write it, none; what
/// stands behind the last colon is the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port; not 0.
    pub port: u16,
}

impl Target {
    /// The target with this name, which is taken for an address if it is one.
    ///
    /// # Errors
    /// If it is no name, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, TargetError> {
        if port == 0 {
            return Err(TargetError::Port);
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) => {
                let address = bare.parse::<Ipv6Addr>().map_err(|_| TargetError::Host)?;
                Host::Ip(address.into())
            }
            None => host_of(host)?,
        };
        Ok(Self { host, port })
    }
}

fn host_of(text: &str) -> Result<Host, TargetError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host::Ip(address));
    }
    let labels = text.strip_suffix('.').unwrap_or(text);
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(right);
    if labels.len() > NAME_MAX || !labels.split('.').all(label) {
        return Err(TargetError::Host);
    }
    Ok(Host::Name(text.to_owned()))
}

impl From<SocketAddr> for Target {
    /// # Panics
    /// If the port is 0: nothing listens there.
    fn from(address: SocketAddr) -> Self {
        assert_ne!(address.port(), 0, "targets have a port");
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::Port)?;
        let digits =
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(TargetError::Port)?;
        Self::new(host, port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The port is missing, or not between 1 and 65535.
    Port,
    /// The host is neither an address nor a name.
    Host,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "a target ends with a colon and a port between 1 and 65535",
            Self::Host => "the host is neither an IP address nor a domain name",
        })
    }
}

impl std::error::Error for TargetError {}
