//! The seam to what was delivered here: messages that ended at this node on one side, sessions and
//! the inbox on the other.
//!
//! A message is acknowledged to its sender when the client has confirmed it, or when it lies in the
//! inbox; so what was acknowledged outlives this process and the client's connection.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use phix_engine::wire::frame::KeyRotation;

/// A client's Ed25519 public key, which is its address at this gateway.
pub type ClientId = [u8; 32];

/// The packet that tells a sender that its message has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Its first hop.
    pub next_hop: SocketAddr,
    /// The key rotation that it was built for.
    pub rotation: KeyRotation,
    /// The Sphinx packet.
    pub packet: Box<[u8]>,
}

/// A message for a client, as its connection gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What was in the packet, without the acknowledgement.
    pub bytes: Box<[u8]>,
    /// What to send once the message is confirmed or kept; acknowledgements themselves have none.
    pub acknowledgement: Option<Acknowledgement>,
}

/// A message that lies in the inbox. Its acknowledgement was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the inbox; later messages have larger ones.
    pub number: i64,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Where messages are that their clients could not take.
///
/// Whoever puts a message in here calls [`Sessions::look`](super::sessions::Sessions::look)
/// afterwards, because the client may have come meanwhile.
pub trait Inbox: Send + Sync + 'static {
    /// Keeps messages that a client's connection did not take, and acknowledges them then.
    fn keep(&self, client: ClientId, messages: Vec<Message>) -> BoxFuture<'_, ()>;

    /// The oldest messages for `client`, a limited number, those with a larger number than `after`.
    fn waiting(&self, client: ClientId, after: i64) -> BoxFuture<'_, Vec<Stored>>;

    /// Drops what the client has confirmed: all messages up to the number `last`.
    fn taken(&self, client: ClientId, last: i64) -> BoxFuture<'_, ()>;
}

/// An inbox that keeps nothing: what clients do not take is not acknowledged, so that its senders
/// send it again.
#[derive(Clone, Copy, Debug)]
pub struct Forgetful;

impl Inbox for Forgetful {
    fn keep(&self, _: ClientId, _: Vec<Message>) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn waiting(&self, _: ClientId, _: i64) -> BoxFuture<'_, Vec<Stored>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn taken(&self, _: ClientId, _: i64) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
