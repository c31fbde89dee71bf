//! What applications and the client say to each other, in either form.
//!
//! Facts from the crate nym-client-websocket-requests of the Nym repository, which is not published
//! on its own: `requests.rs`, `responses.rs`, `text.rs` and `error.rs`.

use std::fmt;

use phix_proto::message::{Recipient, SenderTag};

/// What an application asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send a message that cannot be answered.
    Send {
        /// To whom.
        recipient: Recipient,
        /// What.
        message: Vec<u8>,
        /// The lane that it goes in; it has its own otherwise.
        connection: Option<u64>,
    },
    /// Send a message with reply SURBs.
    SendAnonymous {
        /// To whom.
        recipient: Recipient,
        /// What.
        message: Vec<u8>,
        /// How many SURBs.
        reply_surbs: u32,
        /// As above.
        connection: Option<u64>,
    },
    /// Answer a message.
    Reply {
        /// Whose message.
        sender: SenderTag,
        /// What.
        message: Vec<u8>,
        /// As above.
        connection: Option<u64>,
    },
    /// What is the client's address?
    SelfAddress,
    /// Drop what waits in a lane.
    ClosedConnection(u64),
    /// How much waits in a lane?
    LaneQueueLength(u64),
}

/// What an application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Something was wrong with a request.
    Error(RequestError),
    /// A message has come.
    Received {
        /// What it says.
        message: Vec<u8>,
        /// By what name to answer it.
        sender: Option<SenderTag>,
    },
    /// The client's address.
    SelfAddress(Recipient),
    /// How many packets wait in a lane.
    LaneQueueLength {
        /// The lane.
        lane: u64,
        /// Packets.
        length: u64,
    },
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
}

impl RequestError {
    pub(super) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for RequestError {}

/// Kinds of errors, with their numbers in the binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// The request has no bytes.
    Empty = 0x01,
    /// It ends too early.
    TooShort = 0x02,
    /// There is no such request.
    Unknown = 0x03,
    /// It contradicts itself or names what cannot be.
    Malformed = 0x04,
    /// It was understood, and could not be done.
    Other = 0xff,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty request",
            Self::TooShort => "request too short",
            Self::Unknown => "unknown request",
            Self::Malformed => "malformed request",
            Self::Other => "not done",
        })
    }
}
