//! What a SOCKS5 client and the network requester of an exit say to each other, and how the bytes
//! of a connection are put in order again.
//!
//! Every message of the mixnet carries one [`Request`] or [`Response`]. There are two forms. The
//! current one begins with `3`, the version of what all service providers have in common, then
//! says whether the message is for the provider itself or for its SOCKS5 part, whose version, `3`
//! again, follows. The [unversioned](Form::Unversioned) one is what there was before: requests
//! begin with 0, answers with their kind; it knows neither control messages nor queries. Whoever
//! answers does so in the form of the request.
//!
//! A connection is named by its client with 64 random bits. Both sides number the messages of a
//! connection from 0, each its own; the mixnet mixes them, and [`Ordered`] puts them in order. An
//! exit that has connected says so by its first message of data, which is empty; one that cannot
//! says why by an error, and closes the connection by a message of data after it, because stock
//! clients close for nothing else. Both sides send an empty message every minute.
//! Numbers are big-endian. Facts from nym-socks5-requests and nym-service-providers-common 1.21.6.

mod bincode;
mod control;
mod error;
mod ordered;
mod query;
mod request;
mod response;
mod target;
#[cfg(test)]
mod tests;

pub use control::{Control, ControlAnswer};
pub use error::RequesterError;
pub use ordered::{OrderError, Ordered};
pub use query::{Answer, ExitRule, Query};
pub use request::{Body, Connect, Request};
pub use response::{Content, Response};
pub use target::{Host, Target, TargetError};

/// The version of both layers that is in use.
const VERSION: u8 = 3;

/// Before this number a byte is no version: the message has the older form.
const FIRST_VERSION: u8 = 3;

const CONTROL: u8 = 0;
const PROVIDER: u8 = 1;

/// Which of the two forms a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Interface 3 with SOCKS5 protocol 3.
    Current,
    /// The form that had no versions.
    Unversioned,
}

/// A piece of what a connection carries, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Which connection.
    pub connection: u64,
    /// Its place among the sender's messages of this connection, from 0.
    pub sequence: u64,
    /// The sender's end of the connection is closed: nothing follows.
    pub closed: bool,
    /// The bytes; none in a message that only keeps the connection alive.
    pub bytes: &'a [u8],
}

/// Bytes of a message of data in the current form before the data itself.
pub const DATA_HEAD: usize = 4 + 8 + 1 + 8;

/// What follows the head of a message that is for the provider's SOCKS5 part.
///
/// # Errors
/// If the versions are not those that are spoken here.
fn provider_part(rest: &[u8]) -> Result<&[u8], RequesterError> {
    let (&version, rest) = rest.split_first().ok_or(RequesterError::TooShort)?;
    if version != VERSION {
        return Err(RequesterError::Version(version));
    }
    Ok(rest)
}

fn u64_at(bytes: &mut &[u8]) -> Result<u64, RequesterError> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(RequesterError::TooShort)?;
    *bytes = rest;
    Ok(u64::from_be_bytes(*number))
}

/// The end of a connection is said by any byte but 0.
fn flag_at(bytes: &mut &[u8]) -> Result<bool, RequesterError> {
    let flag = bytes.split_off_first().ok_or(RequesterError::TooShort)?;
    Ok(*flag != 0)
}
