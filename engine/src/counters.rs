//! What one shard counts. Plain numbers, written by the shard alone; the shell publishes copies.
//!
//! Invariant: `received = forwarded + delivered + held + dropped, summed over all reasons`, where
//! held is what the shard still has in its queues, its wheel and on the way to the kernel.

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// No slot of its size was free.
    PoolEmpty,
    /// The header names a key rotation for which this node has no key.
    KeyUnknown,
    /// The header's MAC does not hold under the node's key.
    HeaderMac,
    /// The routing flag names neither a forward nor a final hop.
    RoutingFlag,
    /// Sphinx version 1 or 257, which the network has left behind.
    LegacyVersion,
    /// The replay filter has seen this packet.
    Replay,
    /// The replay filter had no place left for this packet's tag.
    ReplayFilterFull,
    /// The next hop's address cannot be read.
    NextHopMalformed,
    /// The next hop's address is one that packets are never sent to.
    NextHopRefused,
    /// The next hop is none of those that this node may send to.
    NextHopUnknown,
    /// The packet ends here, and this node delivers nothing.
    FinalHopRefused,
    /// The packet ends here, and what it carries is not a message.
    PayloadMalformed,
    /// All places of next hops that this one could have were taken.
    PeerTableFull,
    /// The queue to the next hop was full.
    PeerQueueFull,
    /// The next hop took nothing for longer than a packet may wait.
    PeerUnreachable,
    /// The connection to the next hop broke while the packet was being sent.
    ConnectionLost,
    /// The node stopped before the packet's turn.
    Stopping,
}

impl DropReason {
    /// Every reason; the position is the discriminant.
    pub const ALL: [Self; 17] = [
        Self::PoolEmpty,
        Self::KeyUnknown,
        Self::HeaderMac,
        Self::RoutingFlag,
        Self::LegacyVersion,
        Self::Replay,
        Self::ReplayFilterFull,
        Self::NextHopMalformed,
        Self::NextHopRefused,
        Self::NextHopUnknown,
        Self::FinalHopRefused,
        Self::PayloadMalformed,
        Self::PeerTableFull,
        Self::PeerQueueFull,
        Self::PeerUnreachable,
        Self::ConnectionLost,
        Self::Stopping,
    ];

    /// The reason's name in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PoolEmpty => "pool_empty",
            Self::KeyUnknown => "key_unknown",
            Self::HeaderMac => "header_mac",
            Self::RoutingFlag => "routing_flag",
            Self::LegacyVersion => "legacy_version",
            Self::Replay => "replay",
            Self::ReplayFilterFull => "replay_filter_full",
            Self::NextHopMalformed => "next_hop_malformed",
            Self::NextHopRefused => "next_hop_refused",
            Self::NextHopUnknown => "next_hop_unknown",
            Self::FinalHopRefused => "final_hop_refused",
            Self::PayloadMalformed => "payload_malformed",
            Self::PeerTableFull => "peer_table_full",
            Self::PeerQueueFull => "peer_queue_full",
            Self::PeerUnreachable => "peer_unreachable",
            Self::ConnectionLost => "connection_lost",
            Self::Stopping => "stopping",
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < DropReason::ALL.len() {
        assert!(DropReason::ALL[i] as usize == i);
        i += 1;
    }
};

/// One shard's counts since it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Whole packets that came in, whatever became of them.
    pub received: u64,
    /// Packets that the kernel took for the next hop.
    pub forwarded: u64,
    /// Packets that ended here and were handed to the role that serves them.
    pub delivered: u64,
    /// Packets whose delay was shortened to the longest one allowed.
    pub delays_clamped: u64,
    /// Batches that were processed; packets per batch tells how full they are.
    pub batches: u64,
    /// Packets that went through those batches.
    pub batched: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because the shard had as many as it may.
    pub refused: u64,
    /// Connections refused because their source had as many as it may.
    pub refused_source: u64,
    /// Connections closed because their bytes were not frames.
    pub malformed: u64,
    /// Connections that ended in the middle of a frame.
    pub truncated: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Counts one packet dropped for `reason`.
    pub const fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// Packets dropped for `reason`.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Packets dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Every count by name, drop reasons last, in a fixed order.
    pub fn values(&self) -> [u64; Self::LEN] {
        let mut all = [0; Self::LEN];
        let head = [
            self.received,
            self.forwarded,
            self.delivered,
            self.delays_clamped,
            self.batches,
            self.batched,
            self.accepted,
            self.refused,
            self.refused_source,
            self.malformed,
            self.truncated,
        ];
        all[..Self::HEAD].copy_from_slice(&head);
        all[Self::HEAD..].copy_from_slice(&self.dropped);
        all
    }

    /// The counts that [`Counters::values`] gave.
    pub fn from_values(values: &[u64; Self::LEN]) -> Self {
        let mut dropped = [0; DropReason::ALL.len()];
        dropped.copy_from_slice(&values[Self::HEAD..]);
        Self {
            received: values[0],
            forwarded: values[1],
            delivered: values[2],
            delays_clamped: values[3],
            batches: values[4],
            batched: values[5],
            accepted: values[6],
            refused: values[7],
            refused_source: values[8],
            malformed: values[9],
            truncated: values[10],
            dropped,
        }
    }

    /// Adds another shard's counts to these.
    pub fn add(&mut self, other: &Self) {
        let mut sum = self.values();
        sum.iter_mut().zip(other.values()).for_each(|(sum, value)| *sum += value);
        *self = Self::from_values(&sum);
    }

    const HEAD: usize = 11;
    /// How many counts there are.
    pub const LEN: usize = Self::HEAD + DropReason::ALL.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_back() {
        let mut numbers = [0; Counters::LEN];
        numbers.iter_mut().zip(1..).for_each(|(number, i)| *number = i);
        let counters = Counters::from_values(&numbers);
        assert_eq!(counters.values(), numbers);
        assert_eq!(counters.dropped(DropReason::PoolEmpty), 12);
        let mut twice = counters.clone();
        twice.add(&counters);
        assert_eq!(twice.dropped_total(), 2 * counters.dropped_total());
    }
}
