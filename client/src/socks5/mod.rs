//! A SOCKS5 server for applications, whose connections leave through an exit gateway.
//!
//! A [`Server`] takes connections and a [`Tunnel`] leads them all, over one mixnet client, to one
//! exit. The parts: [`wire`] is the format, [`handshake`] what is said before a connection is
//! relayed, without I/O, [`login`] who may say it, and [`verdict`] what an exit's reasons mean.

pub mod handshake;
mod inlet;
mod line;
pub mod login;
mod relay;
mod server;
mod stats;
mod tunnel;
pub mod verdict;
mod window;
pub mod wire;

pub use server::{Rules, Server};
pub use stats::Stats;
pub use tunnel::Tunnel;

pub use crate::listener::ServeError;
