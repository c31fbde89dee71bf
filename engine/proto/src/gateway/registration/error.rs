use std::fmt;

use super::super::{CURRENT_VERSION, OLDEST_VERSION};

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The other side ended it and says why.
    Remote(String),
    /// The other side wants a version that is not spoken here.
    Version(u8),
    /// A message has another length than it must have.
    Length {
        /// Bytes that came.
        received: usize,
        /// Bytes that should have.
        expected: usize,
    },
    /// A public key is none, or one with which every shared key would be the same.
    Key,
    /// The other side has another shared key, or signed something else, or is someone else.
    Signature,
    /// The gateway says that it did not work.
    Refused,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(message) => write!(f, "the other side ended the handshake: {message}"),
            Self::Version(version) => write!(
                f,
                "protocol version {version} is not spoken here, only {OLDEST_VERSION} to \
                 {CURRENT_VERSION}"
            ),
            Self::Length { received, expected } => {
                write!(f, "the handshake message has {received} bytes instead of {expected}")
            }
            Self::Key => f.write_str("a public key in the handshake is not usable"),
            Self::Signature => f.write_str("the signature in the handshake is not right"),
            Self::Refused => f.write_str("the gateway refused the handshake"),
        }
    }
}

impl std::error::Error for HandshakeError {}
