//! Why a message of the protocol was refused.

use std::fmt;

use super::target::TargetError;
use crate::message::RecipientError;

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequesterError {
    /// It ends before its fields do.
    TooShort,
    /// It goes on after its fields have ended.
    TooLong,
    /// It has a version that is not spoken here.
    Version(u8),
    /// Its kind is none that there is.
    Kind(u8),
    /// The form without versions has no such message.
    NotInThisForm,
    /// It names no target.
    Target(TargetError),
    /// It gives an address for the answers that is none.
    ReturnAddress(RecipientError),
    /// A text in it is not UTF-8, or JSON where it should be, or is too long.
    Text,
    /// A number in it is out of range or not written in the shortest way.
    Number,
}

impl fmt::Display for RequesterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the message is too short"),
            Self::TooLong => f.write_str("the message is longer than its fields"),
            Self::Version(version) => write!(f, "version {version} is not spoken here"),
            Self::Kind(kind) => write!(f, "there is no message of kind {kind}"),
            Self::NotInThisForm => f.write_str("the form without versions has no such message"),
            Self::Target(error) => error.fmt(f),
            Self::ReturnAddress(error) => write!(f, "the return address is malformed: {error}"),
            Self::Text => f.write_str("a text in the message is malformed"),
            Self::Number => f.write_str("a number in the message is malformed"),
        }
    }
}

impl std::error::Error for RequesterError {}
