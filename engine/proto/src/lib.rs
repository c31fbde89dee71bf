//! What clients, gateways and the directory of a mixnet say to each other.
//!
//! Formats and state machines, pure: bytes in, bytes out; time and randomness are arguments. Node
//! and client share them. The formats are those of the Nym wire protocol; `phix-interop` holds them
//! against the stock crates.

pub mod directory;
pub mod gateway;
pub mod ipr;
mod kdf;
pub mod message;
pub mod requester;
