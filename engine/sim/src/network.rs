//! The network of a world: what is on its way, and when it arrives.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;

use chacha20::ChaCha8Rng;
use phix_engine::egress::PeerId;
use phix_engine::units::{Span, Time};
use rand::RngExt;

/// How the network misbehaves.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Chance that a send breaks its connection somewhere inside its bytes.
    pub break_chance: f64,
    /// Chance that a next hop takes nothing for a while when it is asked.
    pub stall_chance: f64,
    /// Longest time between a send and the completion of one of its slots. Completions are drawn
    /// one by one, so that they come out of order.
    pub completion_max: Span,
    /// Longest time that bytes are on their way.
    pub latency_max: Span,
    /// Longest piece in which bytes arrive.
    pub piece_max: usize,
}

impl Faults {
    /// A network that loses nothing and is quick.
    pub const NONE: Self = Self {
        break_chance: 0.0,
        stall_chance: 0.0,
        completion_max: Span::from_micros(50),
        latency_max: Span::from_micros(200),
        piece_max: 65_536,
    };

    /// A network that breaks, stalls, cuts and reorders a great deal.
    pub const MANY: Self = Self {
        break_chance: 0.02,
        stall_chance: 0.05,
        completion_max: Span::from_millis(20),
        latency_max: Span::from_millis(5),
        piece_max: 900,
    };
}

/// Number of a connection in its world; never used twice.
pub(crate) type ConnectionId = u64;

/// What happens at a shard.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes of a connection arrive.
    Bytes { connection: ConnectionId, bytes: Vec<u8> },
    /// A connection ends.
    Closed { connection: ConnectionId },
    /// The kernel is done with a slot of a send.
    Completed { send: u64, position: usize, sent: bool },
    /// A peer takes packets again.
    Writable { peer: PeerId },
    /// Another shard of the node has ended the wait.
    Woken,
}

#[derive(Debug)]
struct Due {
    at: Time,
    order: u64,
    shard: usize,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Everything that is on its way, the chance that decides about it, and the present.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) random: ChaCha8Rng,
    pub(crate) faults: Faults,
    queue: BinaryHeap<Reverse<Due>>,
    /// When the last bytes of each connection arrive: TCP keeps their order.
    arrives: BTreeMap<ConnectionId, Time>,
    made: u64,
}

impl Network {
    pub(crate) fn new(random: ChaCha8Rng, faults: Faults) -> Self {
        let (queue, arrives) = (BinaryHeap::new(), BTreeMap::new());
        Self { now: Time::ZERO, random, faults, queue, arrives, made: 0 }
    }

    /// A number that no connection and no send has yet.
    pub(crate) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// A span drawn evenly from zero to `max`.
    pub(crate) fn span(&mut self, max: Span) -> Span {
        Span::from_nanos(self.random.random_range(0..=max.as_nanos()))
    }

    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    /// One of `count` things, drawn evenly.
    pub(crate) fn choose(&mut self, count: usize) -> usize {
        self.random.random_range(0..count)
    }

    /// Lets `event` happen at a shard, by its position among those of the whole world.
    pub(crate) fn schedule(&mut self, at: Time, shard: usize, event: Event) {
        self.made += 1;
        self.queue.push(Reverse(Due { at, order: self.made, shard, event }));
    }

    /// Sends bytes along a connection, in pieces that arrive in order.
    pub(crate) fn carry(&mut self, to: usize, connection: ConnectionId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let longest = rest.len().min(self.faults.piece_max);
            let (piece, after) = rest.split_at(self.random.random_range(1..=longest));
            let at = self.arrival(connection);
            self.schedule(at, to, Event::Bytes { connection, bytes: piece.to_vec() });
            rest = after;
        }
    }

    /// Ends a connection after the bytes that are on their way.
    pub(crate) fn close(&mut self, to: usize, connection: ConnectionId) {
        let at = self.arrival(connection);
        self.arrives.remove(&connection);
        self.schedule(at, to, Event::Closed { connection });
    }

    /// The next thing that happens at `shard` now, if there is one.
    pub(crate) fn take(&mut self, shard: usize) -> Option<Event> {
        let Reverse(due) = self.queue.peek()?;
        if due.shard != shard || due.at > self.now {
            return None;
        }
        self.queue.pop().map(|Reverse(due)| due.event)
    }

    /// When the next thing happens, and at which shard.
    pub(crate) fn next(&self) -> Option<(Time, usize)> {
        self.queue.peek().map(|Reverse(due)| (due.at, due.shard))
    }

    fn arrival(&mut self, connection: ConnectionId) -> Time {
        let drawn = self.now.after(self.span(self.faults.latency_max));
        let at = self.arrives.get(&connection).map_or(drawn, |&last| last.max(drawn));
        self.arrives.insert(connection, at);
        at
    }
}
