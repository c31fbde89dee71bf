//! Connections in that change hands: out of one server, into another, in the same process or not.

use std::os::fd::OwnedFd;

use crate::noise::ReceivingKey;

/// A connection in, at rest: nobody reads it, and what it has brought of its present packet lies
/// beside it. Whoever adopts it goes on with the next byte.
#[derive(Debug)]
pub struct Handed {
    /// The connection.
    pub socket: OwnedFd,
    /// Where its stream stands.
    pub stream: Unfinished,
}

/// Where the stream of a connection stands.
#[derive(Debug)]
pub struct Unfinished {
    /// The bytes of the frame that has begun, in plain.
    pub frame: Vec<u8>,
    /// What decrypts the next bytes, where they come in Noise.
    pub noise: Option<UnfinishedNoise>,
}

/// Where a stream in Noise stands. Secret: it opens what is sent on this connection.
#[derive(Debug)]
pub struct UnfinishedNoise {
    /// Opens the next record.
    pub key: ReceivingKey,
    /// The bytes of the record that has begun, as they came.
    pub record: Vec<u8>,
}
