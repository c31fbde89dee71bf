//! What a client and the IP packet router of an exit say to each other.
//!
//! ```text
//! request:   version 1 | provider 1 (the router is 1) | data or control
//! answer:    version 1 |                                data or control
//! data:      0 | length | IP packets, each behind its length in two bytes
//! control:   1 | what it is | its fields
//! ```
//!
//! The encoding is that of bincode 1 with numbers of variable length, big-endian ([`codec`]).
//! Versions 8, 9 and 10 are in use. Requests of all three have the same form; an answer of version
//! 10 that gives a client its addresses also says how large packets may be. Messages of version 8
//! stand alone, those of later versions in the [`Frame`] of a stream. Older versions are not spoken
//! any more by stock software either. Facts from nym-ip-packet-requests and nym-lp-data 1.21.6.

mod bundle;
mod codec;
mod request;
mod response;
mod stream;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

pub use bundle::{BUNDLE_MAX, Bundle, LENGTH, PACKET_MAX, packets};
pub use request::{Ask, Control, Request, RequestBody};
pub use response::{
    Assigned, Build, ConnectRefusal, DisconnectRefusal, Disconnection, Info, Level, MTU_FALLBACK,
    Response, ResponseBody,
};
pub use stream::{FRAME_HEAD, Frame, FrameKind};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Each message stands alone.
    V8 = 8,
    /// The same inside a stream.
    V9 = 9,
    /// With the largest packet in the answer to a client that connects.
    V10 = 10,
}

impl Version {
    /// The version with this number.
    ///
    /// # Errors
    /// If it is not spoken here.
    pub const fn of(number: u8) -> Result<Self, IprError> {
        match number {
            8 => Ok(Self::V8),
            9 => Ok(Self::V9),
            10 => Ok(Self::V10),
            _ => Err(IprError::Version(number)),
        }
    }

    /// Whether its messages must stand in a stream.
    pub const fn needs_stream(self) -> bool {
        !matches!(self, Self::V8)
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IprError {
    /// They end too soon.
    TooShort,
    /// They go on behind the end.
    TooLong,
    /// The version is not spoken here.
    Version(u8),
    /// The message is for another kind of provider.
    Provider(u8),
    /// There is no such kind of message, of answer or of frame.
    Kind(u64),
    /// A field has a value that it cannot have; which one.
    Field(&'static str),
}

impl fmt::Display for IprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the message ends too soon"),
            Self::TooLong => f.write_str("the message goes on behind its end"),
            Self::Version(version) => write!(f, "version {version} is not spoken here"),
            Self::Provider(kind) => write!(f, "the message is for a provider of kind {kind}"),
            Self::Kind(kind) => write!(f, "there is no message of kind {kind}"),
            Self::Field(name) => write!(f, "the field {name} has an impossible value"),
        }
    }
}

impl Error for IprError {}
