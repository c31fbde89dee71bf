//! A deterministic world for shards.
//!
//! The nodes of a [`World`] are the engine's own [`Shard`](phix_engine::shard::Shard), driven by
//! the engine's own [`turn`](phix_engine::shard::turn), over a link that exists in memory only.
//! Time is virtual: it jumps to the next thing that happens. All chance comes from one seed, so
//! that a run which fails can be had again.
//!
//! After each turn of each node the conservation laws are checked: no slot is lost, no packet is
//! uncounted. What the world did is folded into a hash; the same seed gives the same hash.
//!
//! What is absent: Noise, changes of keys while packets are on their way, and the kernel's own
//! faults beyond lost connections and stalls. The shards of a node take their turns one after the
//! other, in an order that chance decides; what they do at the same time is for the tests of the
//! engine.

mod link;
mod network;
mod traffic;
mod world;

pub use network::Faults;
pub use traffic::Expected;
pub use world::{Outcome, World, WorldConfig};
