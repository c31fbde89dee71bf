//! Lines about what goes wrong again and again: one for each kind of fault, and no second one of
//! that kind within a minute.
//!
//! The shards count and say nothing. What they counted is looked at now and then; a count that
//! signals trouble and has grown becomes a line that says by how much and what to do.

use std::time::{Duration, Instant};

use phix_engine::counters::{Counters, DropReason};

/// Lines about one kind of fault are at least this far apart.
pub const PAUSE: Duration = Duration::from_secs(60);

/// One kind of fault.
#[derive(Debug)]
struct Kind {
    /// How often it has happened.
    count: fn(&Counters) -> u64,
    /// What has happened, after its number.
    what: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

/// Every kind. To add one, add a row.
const KINDS: &[Kind] = &[
    Kind {
        count: |counters| counters.dropped(DropReason::PeerUnreachable),
        what: "packets dropped because their next hop took nothing for 3 s (peer_unreachable)",
        remedy: "see whether this machine reaches other nodes (firewall, routes, `source`); if it \
                 does, the next hop is down",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::ConnectionLost),
        what: "packets lost with the connection to their next hop (connection_lost)",
        remedy: "a next hop restarts or refuses what it gets; if it is always the same network \
                 path, look at that",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::PeerQueueFull),
        what: "packets dropped because 2048 others waited for the same next hop (peer_queue_full)",
        remedy: "the next hop or the way to it is slower than the traffic for it; see whether this \
                 machine's own line is full",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::PeerTableFull),
        what: "packets dropped for want of a place for their next hop (peer_table_full)",
        remedy: "senders name more next hops than a network has; this is probably an attack",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::PoolEmpty),
        what: "packets dropped for want of memory for packets (pool_empty)",
        remedy: "raise `capacity`, or `capacity-extended` where large packets are common",
    },
    Kind {
        count: |counters| counters.replay_unsaved,
        what: "packets passed that would pass again after a restart (replay_marks_unsaved)",
        remedy: "the disk of `state-dir` is full or too slow for the traffic: make room there, or \
                 set it to another",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::ReplayFilterFull),
        what: "packets dropped because the replay memory is full (replay_filter_full)",
        remedy: "raise `replay-capacity` and start the node anew: until then it carries little or \
                 nothing",
    },
    Kind {
        count: |counters| counters.dropped(DropReason::KeyUnknown),
        what: "packets dropped that were made for another key rotation (key_unknown)",
        remedy: "senders use an old description of this node, or the machine's clock is wrong",
    },
    Kind {
        count: |counters| counters.refused,
        what: "connections refused because a shard had `connections-max` of them",
        remedy: "raise `connections-max` if these are other nodes; shut them out if they are not",
    },
    Kind {
        count: |counters| counters.refused_source,
        what: "connections refused because their source had `connections-per-source` of them",
        remedy: "raise `connections-per-source` if other nodes share an address; shut the source \
                 out if it is none",
    },
    Kind {
        count: |counters| counters.noise_failed,
        what: "handshakes of Noise that failed or took too long",
        remedy: "a neighbour's or this node's Noise key is not the one that the other side knows, \
                 or something that is no node connects",
    },
    Kind {
        count: |counters| counters.plain_refused,
        what: "connections not made or refused because the other node's Noise key is not known",
        remedy: "see that the file of Noise keys is current, or allow plain connections",
    },
];

/// What was said of one kind of fault.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// The count when the last line was said.
    count: u64,
    at: Option<Instant>,
}

/// What has been said of each kind.
#[derive(Clone, Debug)]
pub struct Faults {
    said: [Said; KINDS.len()],
}

impl Default for Faults {
    fn default() -> Self {
        Self { said: [Said::default(); KINDS.len()] }
    }
}

impl Faults {
    /// The lines to say at `now`, when this is what was counted since the start.
    pub fn look(&mut self, counters: &Counters, now: Instant) -> Vec<String> {
        let each = KINDS.iter().zip(&mut self.said);
        let note = |(kind, said): (&Kind, &mut Said)| {
            said.note((kind.what, kind.remedy), (kind.count)(counters), now)
        };
        each.filter_map(note).collect()
    }
}

impl Said {
    /// The line to say at `now`, when the fault of which these words say what it is and what to do
    /// about it has happened `count` times since the start.
    pub(crate) fn note(
        &mut self,
        (what, remedy): (&str, &str),
        count: u64,
        now: Instant,
    ) -> Option<String> {
        let since = self.at.map(|at| now.saturating_duration_since(at));
        if count <= self.count || since.is_some_and(|since| since < PAUSE) {
            return None;
        }
        let grown = count - self.count;
        *self = Self { count, at: Some(now) };
        let since = since.map_or_else(String::new, |since| format!(" in {} s", since.as_secs()));
        Some(format!("fault: {grown} {what}{since}: {remedy}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(reason: DropReason, count: u64) -> Counters {
        let mut counters = Counters::default();
        (0..count).for_each(|_| counters.drop_one(reason));
        counters
    }

    #[test]
    fn a_fault_is_said_at_once_and_then_once_a_minute_with_all_that_came() {
        let (mut faults, start) = (Faults::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..=180 {
            let now = start + Duration::from_secs(second);
            // From second 10 to second 100, ten packets a second.
            let count = 10 * second.saturating_sub(9).min(91);
            let counters = dropped(DropReason::PeerUnreachable, count);
            lines.extend(faults.look(&counters, now).into_iter().map(|line| (second, line)));
        }
        let numbers: Vec<(u64, u64)> = lines
            .iter()
            .map(|(second, line)| (*second, line.split(' ').nth(1).unwrap().parse().unwrap()))
            .collect();
        assert_eq!(numbers, [(10, 10), (70, 600), (130, 300)]);
        assert!(lines[1].1.contains("(peer_unreachable) in 60 s: see whether"), "{}", lines[1].1);
    }

    #[test]
    fn kinds_do_not_silence_each_other() {
        let (mut faults, now) = (Faults::default(), Instant::now());
        assert_eq!(faults.look(&Counters::default(), now), Vec::<String>::new());
        assert_eq!(faults.look(&dropped(DropReason::PoolEmpty, 1), now).len(), 1);
        let mut both = dropped(DropReason::PoolEmpty, 2);
        both.refused = 3;
        let lines = faults.look(&both, now);
        assert!(lines.len() == 1 && lines[0].starts_with("fault: 3 connections"), "{lines:?}");
        assert_eq!(faults.look(&both, now + PAUSE).len(), 1, "what was left unsaid");
        assert_eq!(faults.look(&both, now + 2 * PAUSE), Vec::<String>::new(), "nothing new");
    }

    #[test]
    fn what_everyone_may_send_is_no_fault_of_this_node() {
        let mut faults = Faults::default();
        for reason in [DropReason::Replay, DropReason::HeaderMac, DropReason::NextHopRefused] {
            assert_eq!(faults.look(&dropped(reason, 5), Instant::now()), Vec::<String>::new());
        }
    }
}
