//! The Linux shell around the engine: sockets, threads, the clock.
//!
//! A [`Server`] runs one thread per shard. Each thread owns a listener (they share one port), a
//! shard and a link, and does nothing but take turns ([`phix_engine::shard::turn`]). Two links
//! exist, io_uring and epoll; [`plan()`] says which one this machine gets, and why.
//!
//! The parts: `peers` (connections out: backoff, time limits), `inbound` (connections in: frames,
//! ends), `patience` (their time limits), `sources` (how many each peer may have), `allowance` (how
//! many packets each may bring), `sending` (what one vectored send still owes), `slab` (connections
//! by generation) are written once for both links; `epoll` and `uring` are about system calls only.
//! `injector` is the way in for packets that begin here, over a [`belt`] to each shard. [`crypto`]
//! is apart from all that: the kernels to hand to the engine.
//!
//! Invariant: `unsafe` occurs in `uring` and `memory`, and for one function of a C library in
//! [`crypto`], in the files that say so at their head.
//! Invariant: nothing here logs; what happens to packets and connections is counted.
#![cfg(target_os = "linux")]

mod allowance;
pub mod belt;
mod clock;
mod cores;
pub mod crypto;
mod epoll;
mod error;
mod handed;
mod inbound;
mod injector;
mod line;
mod memory;
pub mod noise;
mod pace;
mod patience;
mod peers;
mod plan;
mod published;
mod relay;
mod sending;
mod server;
mod signals;
mod slab;
mod sockets;
mod sources;
mod uring;
mod voice;
mod waker;
mod worker;

pub use clock::MonotonicClock;
pub use error::StartError;
pub use handed::{Handed, Unfinished, UnfinishedNoise};
pub use injector::{Injector, NotTaken};
pub use line::Connections;
pub use memory::{Memory, MemoryError};
pub use plan::{LinkChoice, LinkKind, LinkPlan, UnknownLink, ZeroCopy, plan, zero_copy};
pub use published::{Gauges, Observer, ShardView};
pub use relay::{RelayPlan, relay};
pub use server::{Basis, PeerLimits, Refuse, Server, ServerConfig, StopReport};
pub use signals::{StopSignal, UpgradeSignal};
pub use sockets::check_source;
