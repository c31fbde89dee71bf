//! The client side of a mixnet: topologies, packets, keys, and honest measurement.
//!
//! A route comes from a [`topology`], a [`packet`] carries a message along it, a [`sender`] puts
//! packets on the wire at the times that a schedule names, and a [`tally`] of self-checking
//! [`probe`]s says what became of them, with [`stats`] and a [`plot`] to set it beside theory.
//! [`load`] builds packets in advance for a [`schedule`]; [`tester`] offers packets to nodes as
//! fast as sockets allow and accounts for each; [`keyfile`] keeps private keys, [`files`] opens
//! what people name, [`message`] shows what arrived, [`progress`] what goes on, [`socks5`] takes
//! applications into the mixnet, and [`cli`] is the program.

pub mod cli;
pub mod files;
pub mod keyfile;
mod listener;
pub mod load;
pub mod message;
pub mod mixnet;
pub mod packet;
pub mod plot;
pub mod probe;
pub mod progress;
pub mod schedule;
pub mod sender;
pub mod socks5;
pub mod stats;
pub mod tally;
pub mod tester;
pub mod topology;
