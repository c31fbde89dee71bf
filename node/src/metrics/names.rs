//! Names that metrics have and that are not made from a table of the engine, shared by those who
//! write the page and those who read it.

use phix_engine::wire::geometry::PacketSize;

/// What all names of this program begin with.
pub const PREFIX: &str = "phix";
/// Packets dropped, by shard and reason.
pub const DROPPED: &str = "packets_dropped";
/// Packets held, by shard and stage.
pub const HELD: &str = "packets_held";
/// Connections, by shard and direction.
pub const CONNECTIONS: &str = "connections";
/// Next hops known, by shard.
pub const NEXT_HOPS: &str = "next_hops";
/// Slots of the pool, by shard and size.
pub const SLOTS: &str = "pool_slots";
/// Those of them that are free.
pub const SLOTS_FREE: &str = "pool_slots_free";
/// Time that a shard's thread ran, by shard.
pub const SHARD_CPU: &str = "shard_cpu";
/// Departure minus deadline.
pub const LATENESS: &str = "delay_error";
/// Arrival to batch.
pub const BATCH_WAIT: &str = "batch_wait";
/// Packets per batch.
pub const BATCH_SIZE: &str = "batch_packets";
/// When the values were taken.
pub const REFRESHED: &str = "values_refreshed_timestamp";
/// When the process started.
pub const STARTED: &str = "process_start_time";

/// The sizes of packets as they are called in labels, in the order of [`PacketSize::ALL`].
pub const SIZES: [&str; PacketSize::ALL.len()] =
    ["ack", "regular", "extended8", "extended16", "extended32"];
