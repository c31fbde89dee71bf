//! What can go wrong for those who hold the handles.

use std::fmt;

use super::super::core::Unsendable;
use super::super::directory::DirectoryError;
use super::super::settings::SettingsError;
use super::super::store::StoreError;
use super::{LinkError, Status};

/// Why a client does not run. The text says what to do.
#[derive(Debug)]
pub enum ConnectError {
    /// The settings cannot be used.
    Settings(SettingsError),
    /// The client's directory cannot be used.
    Store(StoreError),
    /// There is no topology to be had.
    Directory(DirectoryError),
    /// The network has no gateway that lets clients in.
    NoGateway,
    /// The gateway that was named, or the one that the client is registered with, is not in the
    /// network or lets no clients in.
    GatewayGone([u8; 32]),
    /// The client is registered with another gateway than the one that was named.
    OtherGateway([u8; 32]),
    /// There is no link to the gateway.
    Link(LinkError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base58 = |key: &[u8; 32]| bs58::encode(key).into_string();
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Directory(error) => error.fmt(f),
            Self::NoGateway => f.write_str(
                "the network has no gateway that lets clients in; ask who runs it, or use another",
            ),
            Self::GatewayGone(gateway) => write!(
                f,
                "the gateway {} is not in the network or lets no clients in; wait until it is \
                 back, or make a client at another gateway",
                base58(gateway)
            ),
            Self::OtherGateway(gateway) => write!(
                f,
                "this client is registered with the gateway {}; make another client for another \
                 gateway",
                base58(gateway)
            ),
            Self::Link(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<SettingsError> for ConnectError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DirectoryError> for ConnectError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl From<LinkError> for ConnectError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The client has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has ended; its status says why")
    }
}

impl std::error::Error for Disconnected {}

/// Why a message is not sent again of which nobody knows whether all of it has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It was sent as often as the settings say, and not acknowledged.
    Unacknowledged,
    /// The gateway takes no packets, for want of bandwidth.
    OutOfBandwidth,
    /// The gateway refuses packets; why, in its words.
    Refused(String),
    /// The client has no session with its gateway; why, for a person.
    Disconnected(String),
    /// The client has ended, because it was told to, or for the reason given.
    Ended(Option<String>),
}

impl GivenUp {
    /// Why a message does not arrive while the client fares like this.
    pub fn because(status: &Status) -> Self {
        match status {
            Status::Connected => Self::Unacknowledged,
            Status::OutOfBandwidth => Self::OutOfBandwidth,
            Status::Refused(why) => Self::Refused(why.clone()),
            Status::Disconnected(why) => Self::Disconnected(why.clone()),
            Status::Ended(why) => Self::Ended(why.clone()),
        }
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let and_then = "the message was given up before all of it was acknowledged";
        match self {
            Self::Unacknowledged => {
                write!(f, "{and_then}; see that the recipient's gateway is in the network")
            }
            Self::OutOfBandwidth => write!(
                f,
                "{and_then}: this client's bandwidth is used up, and its gateway gives none for \
                 nothing; use another gateway"
            ),
            Self::Refused(why) => {
                write!(f, "{and_then}: the gateway refused packets and said: {why}")
            }
            Self::Disconnected(why) => write!(f, "{and_then}: {why}"),
            Self::Ended(Some(why)) => write!(f, "{and_then}, because the client ended: {why}"),
            Self::Ended(None) => write!(f, "{and_then}, because the client ended"),
        }
    }
}

impl std::error::Error for GivenUp {}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// It can never be sent.
    Unsendable(Unsendable),
    /// The client has ended.
    Disconnected,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable(why) => why.fmt(f),
            Self::Disconnected => Disconnected.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

impl From<Unsendable> for SendError {
    fn from(why: Unsendable) -> Self {
        Self::Unsendable(why)
    }
}

impl From<Disconnected> for SendError {
    fn from(_: Disconnected) -> Self {
        Self::Disconnected
    }
}
