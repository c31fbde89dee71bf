//! A client offered to other programs on the same machine, by a WebSocket that speaks the protocol
//! of stock nym-client.

mod binary;
mod protocol;
mod server;
mod text;

pub use protocol::{ErrorKind, Request, RequestError, Response};
pub use server::Server;

pub use crate::listener::ServeError;
