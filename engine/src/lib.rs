//! The pure core of a Sphinx mix node.
//!
//! This crate reads no clock, opens no socket, starts no thread and writes no log line. Time and
//! randomness are arguments; packets come in and go out through slots of a pool. It allocates when
//! it is built and not afterwards.
//!
//! The path of a packet: `intake` (bytes of a stream into a slot), `sphinx::open` (key agreement,
//! key derivation, header check), `replay` (each packet once), `sphinx::strip` (blinding and
//! payload), `wheel` (the delay), `egress` (a queue per next hop). `shard` strings them together
//! behind seven verbs, and `shard::turn` drives it over any `Link`.
//!
//! `sphinx::build` makes packets: the sender's side, for clients and load tests.
#![no_std]

extern crate alloc;

mod atomic;
mod berth;
pub mod counters;
pub mod cpu;
pub mod crypto;
pub mod egress;
pub mod histogram;
pub mod intake;
pub mod limits;
pub mod pool;
pub mod replay;
pub mod secret;
pub mod shard;
pub mod sphinx;
pub mod units;
pub mod wheel;
pub mod wire;
