//! Every bound of the engine, in one place, with the facts that tie them together.
//!
//! Whatever grows with traffic stops at one of these numbers. What an operator may change is a
//! field of [`crate::shard::Config`]; its largest value stands here.

use crate::units::Span;
use crate::wire::geometry::PacketSize;

/// Packets that one batch holds at most.
pub const BATCH_MAX: usize = 64;

/// Packets that have arrived and wait for a batch, per shard.
pub const READY_MAX: usize = 1024;

/// Packets that one shard leaves with another at a time, at most.
pub const HANDOVER_MAX: usize = 256;

/// Other shards that a shard looks at for one with time to spare: those that come after it.
pub const NEIGHBOURS_MAX: usize = 8;

/// Longest delay that a sender can ask of a hop; a longer one is shortened to this.
pub const DELAY_MAX: Span = Span::from_millis(10_000);

/// Packets that begin their way at this node and are taken in one turn, at most; the rest is taken
/// in the next.
pub const ORIGINATE_MAX: usize = 256;

/// Resolution of the timing wheel: a packet leaves at most this long after its deadline.
pub const TICK: Span = Span::from_nanos(1 << 16);

/// How long a packet waits, under load, for others that fill its vector of the kernels. Longer than
/// a link under load sleeps, so that what comes next can fill it.
pub const FILL_PATIENCE: Span = Span::from_micros(400);

/// Packets that leave the wheel in one turn, at most; the rest leaves in the next.
pub const DUE_MAX: usize = 1024;

/// Next hops that one shard knows at a time.
pub const PEERS_MAX: usize = 1024;

/// How many of these may be ones that no connection has led to yet, where senders name any address.
pub const STRANGERS_MAX: usize = PEERS_MAX / 4;

/// How many of these may be ports of one host, where senders name any address.
pub const PEERS_PER_HOST_MAX: usize = PEERS_MAX / 16;

/// Packets that wait for one next hop, at most; the newest is dropped beyond that.
pub const PEER_QUEUE_MAX: usize = 2048;

/// How long a packet waits for its next hop before it is dropped. Longer than a connection attempt
/// may take, so that the first packets to a new next hop survive the handshake.
pub const EGRESS_PATIENCE: Span = Span::from_millis(3_000);

/// Packets that one send to a next hop carries at most; also the length of its vector.
pub const SEND_MAX: usize = 64;

/// Bytes before the packet in its slot: room for frame and Noise headers to be written in place.
pub const HEADROOM: usize = 64;

/// Bytes after the packet in its slot: room for the authentication tag of one Noise record.
pub const TAILROOM: usize = 16;

/// Slots of one size that a pool holds at most.
pub const SLOTS_PER_SIZE_MAX: usize = 1 << 22;

/// Bytes that the slot of a packet of `size` takes: a whole number of cache lines.
pub const fn slot_stride(size: PacketSize) -> usize {
    (HEADROOM + size.packet_len() + TAILROOM).next_multiple_of(64)
}

const _: () = {
    assert!(BATCH_MAX <= READY_MAX);
    assert!(BATCH_MAX <= HANDOVER_MAX);
    assert!(SEND_MAX <= PEER_QUEUE_MAX);
    assert!(PEERS_MAX <= u16::MAX as usize);
    assert!(SLOTS_PER_SIZE_MAX * PacketSize::ALL.len() < u32::MAX as usize);
    assert!(HEADROOM.is_multiple_of(64));
    // The wheel's two levels, 1,024 and 256 buckets, must span the longest delay.
    assert!(DELAY_MAX.as_nanos() < TICK.as_nanos() * 1024 * 255);
};
