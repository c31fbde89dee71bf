//! Servers over real sockets, with real packets. Every test runs over each link that this machine
//! has.

mod common;
mod connections;
mod forwarding;
mod handover;
mod injecting;
mod lending;
mod next_hops;
mod noise;
mod patience;
mod relay;
mod shards;
mod stopping;
