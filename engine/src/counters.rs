//! What one shard counts. Plain numbers, written by the shard alone; the shell publishes copies.
//!
//! Invariant: `received + taken_over + originated = forwarded + delivered + handed_over + held +
//! dropped`, the last summed over all reasons, where held is what the shard still has in its
//! queues, its wheel and on the way to the kernel. In the sum over the shards of a node,
//! `handed_over - taken_over` is what lies between them; once they have stopped it is zero, and
//! `received + originated` is what has ended.

/// Makes the rows into [`DropReason`]: what it means, the variant, its name.
macro_rules! reasons {
    ($($(#[doc = $help:literal])+ $reason:ident = $name:literal;)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[doc = $help])+ $reason,)+
        }

        impl DropReason {
            /// Every reason; the position is the discriminant.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$reason),+];

            /// The reason's name in reports and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// No slot of its size was free.
    PoolEmpty = "pool_empty";
    /// The header names a key rotation for which this node has no key.
    KeyUnknown = "key_unknown";
    /// The header's MAC does not hold under the node's key.
    HeaderMac = "header_mac";
    /// The routing flag names neither a forward nor a final hop.
    RoutingFlag = "routing_flag";
    /// Sphinx version 1 or 257, which the network has left behind.
    LegacyVersion = "legacy_version";
    /// The replay filter has seen this packet.
    Replay = "replay";
    /// The replay filter had no place left for this packet's tag.
    ReplayFilterFull = "replay_filter_full";
    /// The next hop's address cannot be read.
    NextHopMalformed = "next_hop_malformed";
    /// The next hop's address is one that packets are never sent to.
    NextHopRefused = "next_hop_refused";
    /// The next hop is none of those that this node may send to.
    NextHopUnknown = "next_hop_unknown";
    /// The packet ends here, and this node delivers nothing.
    FinalHopRefused = "final_hop_refused";
    /// The packet ends here, and what it carries is not a message.
    PayloadMalformed = "payload_malformed";
    /// The packet ends here, and the role that serves it had no room for one more.
    DeliveryFull = "delivery_full";
    /// All places of next hops that this one could have were taken.
    PeerTableFull = "peer_table_full";
    /// The queue to the next hop was full.
    PeerQueueFull = "peer_queue_full";
    /// The next hop took nothing for longer than a packet may wait.
    PeerUnreachable = "peer_unreachable";
    /// The connection to the next hop broke while the packet was being sent.
    ConnectionLost = "connection_lost";
    /// The node stopped before the packet's turn.
    Stopping = "stopping";
}

/// What one field of [`Counters`] counts, for those who show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Its name in metrics, without the prefix and the suffix that all have.
    pub name: &'static str,
    help: &'static str,
}

impl Count {
    /// What it counts, in words.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }
}

/// Makes the rows into the fields of [`Counters`]: what is counted, the field, its name in metrics.
macro_rules! counts {
    ($($(#[doc = $help:literal])+ $field:ident = $name:literal;)+) => {
        /// One shard's counts since it was built.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $field: u64,)+
            dropped: [u64; DropReason::ALL.len()],
        }

        impl Counters {
            /// What the fields count, in the order of [`Counters::values`].
            pub const COUNTS: [Count; [$($name),+].len()] =
                [$(Count { name: $name, help: concat!($($help),+) }),+];

            const fn head(&self) -> [u64; Self::COUNTS.len()] {
                [$(self.$field),+]
            }

            fn from_parts(
                head: [u64; Self::COUNTS.len()],
                dropped: [u64; DropReason::ALL.len()],
            ) -> Self {
                let [$($field),+] = head;
                Self { $($field,)+ dropped }
            }
        }
    };
}

counts! {
    /// Whole packets that came in, whatever became of them.
    received = "packets_received";
    /// Packets that began their way here: those of clients, and acknowledgements.
    originated = "packets_originated";
    /// Packets that the kernel took for the next hop.
    forwarded = "packets_forwarded";
    /// Packets that ended here and were handed to the role that serves them.
    delivered = "packets_delivered";
    /// Packets whose delay was shortened to the longest one allowed.
    delays_clamped = "delays_clamped";
    /// Packets that were accepted, but will not be remembered after a restart, because their marks
    /// found no room on their way to the disk.
    replay_unsaved = "replay_marks_unsaved";
    /// Batches that were processed; packets per batch tells how full they are.
    batches = "batches";
    /// Packets that went through those batches.
    batched = "packets_batched";
    /// Packets left with a neighbour before their batch.
    handed_over = "packets_handed_over";
    /// Packets that a neighbour left here.
    taken_over = "packets_taken_over";
    /// Connections accepted.
    accepted = "connections_accepted";
    /// Connections refused because the shard had as many as it may.
    refused = "connections_refused";
    /// Connections refused because their source had as many as it may.
    refused_source = "connections_refused_source";
    /// Connections closed because their bytes were not frames.
    malformed = "connections_malformed";
    /// Connections that ended in the middle of a frame.
    truncated = "connections_truncated";
    /// Handshakes of Noise that both ends completed.
    noise_handshakes = "noise_handshakes";
    /// Handshakes of Noise that failed, or were not over in time.
    noise_failed = "noise_handshakes_failed";
    /// Connections closed because a record in Noise was not what the other end sealed.
    forged = "connections_forged";
    /// Connections refused, or not made, because the other node's Noise key is not known.
    plain_refused = "connections_plain_refused";
    /// Sends for which the kernel was to read the packets where they lie.
    lent_sends = "sends_without_copy";
    /// Those of them for which it copied after all.
    copied_sends = "sends_without_copy_copied";
}

impl Counters {
    /// How many counts there are.
    pub const LEN: usize = Self::COUNTS.len() + DropReason::ALL.len();

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

    /// Every count: those that [`Counters::COUNTS`] names, then those of [`DropReason::ALL`].
    pub fn values(&self) -> [u64; Self::LEN] {
        let mut all = [0; Self::LEN];
        let (head, dropped) = all.split_at_mut(Self::COUNTS.len());
        head.copy_from_slice(&self.head());
        dropped.copy_from_slice(&self.dropped);
        all
    }

    /// The counts that [`Counters::values`] gave.
    pub fn from_values(values: &[u64; Self::LEN]) -> Self {
        let (head, rest) = values.split_at(Self::COUNTS.len());
        let (mut counts, mut dropped) = ([0; Self::COUNTS.len()], [0; DropReason::ALL.len()]);
        counts.copy_from_slice(head);
        dropped.copy_from_slice(rest);
        Self::from_parts(counts, dropped)
    }

    /// Adds another shard's counts to these.
    pub fn add(&mut self, other: &Self) {
        let mut sum = self.values();
        sum.iter_mut().zip(other.values()).for_each(|(sum, value)| *sum += value);
        *self = Self::from_values(&sum);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn values_and_back() {
        let mut numbers = [0; Counters::LEN];
        numbers.iter_mut().zip(1..).for_each(|(number, i)| *number = i);
        let counters = Counters::from_values(&numbers);
        assert_eq!(counters.values(), numbers);
        assert_eq!(counters.received, 1);
        assert_eq!(counters.dropped(DropReason::PoolEmpty), Counters::COUNTS.len() as u64 + 1);
        let mut twice = counters.clone();
        twice.add(&counters);
        assert_eq!(twice.dropped_total(), 2 * counters.dropped_total());
    }

    #[test]
    fn names_are_words_and_stand_once() {
        let counts = Counters::COUNTS.iter().map(|count| count.name);
        let names: Vec<&str> = counts.chain(DropReason::ALL.map(DropReason::name)).collect();
        for (i, name) in names.iter().enumerate() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!names[..i].contains(name), "{name}");
        }
        for count in Counters::COUNTS {
            assert!(count.help().ends_with('.') && !count.help().starts_with(' '), "{count:?}");
        }
    }
}
