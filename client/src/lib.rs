//! The client side of a mixnet: topologies, packets, keys, and honest measurement.
//!
//! A route comes from a [`topology`], a [`packet`] carries a message along it, a [`sender`] puts
//! packets on the wire at the times that a schedule names, and a [`tally`] of self-checking
//! [`probe`]s says what became of them, with [`stats`] and a [`plot`] to set it beside theory.
//! [`keyfile`] keeps private keys.

pub mod keyfile;
pub mod packet;
pub mod probe;
pub mod stats;
pub mod topology;
