//! A SOCKS5 server for applications, whose connections leave through an exit gateway.
//!
//! The parts: [`wire`] is the format, [`handshake`] what is said before a connection is relayed,
//! without I/O, and [`login`] who may say it.

pub mod handshake;
pub mod login;
pub mod wire;
