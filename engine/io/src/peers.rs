//! Connections out: when to connect, when to wait, when to give up. The same for both links.
//!
//! A peer is idle, connecting, up, or waiting before it tries again. A link asks ([`Peers::ask`])
//! before it sends, does what the answer says, and reports what became of it.
//!
//! Invariant: a peer has at most one connection, and a report about any other one changes nothing.

use std::net::SocketAddr;

use phix_engine::egress::PeerId;
use phix_engine::limits::PEERS_MAX;
use phix_engine::units::{Span, Time};

use crate::slab::Key;

/// How long a connection attempt may take, and a handshake of Noise after it; what the stock
/// software allows.
const CONNECT_LIMIT: Span = Span::from_millis(1_500);
/// How long a send may make no progress before its connection is given up.
const STALL_LIMIT: Span = Span::from_millis(10_000);
/// How long a connection may carry nothing before it is closed.
const IDLE_LIMIT: Span = Span::from_millis(300_000);
/// A connection that was up for this long was a good one: its loss is no reason to wait.
const LIVED: Span = Span::from_millis(1_000);
const BACKOFF_MIN: Span = Span::from_millis(100);
const BACKOFF_MAX: Span = Span::from_millis(30_000);

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Connecting { key: Key, until: Time },
    Up { key: Key, since: Time, moved: Time, busy: bool },
    Waiting { until: Time },
}

impl State {
    const fn key(&self) -> Option<Key> {
        match self {
            Self::Connecting { key, .. } | Self::Up { key, .. } => Some(*key),
            Self::Idle | Self::Waiting { .. } => None,
        }
    }

    /// When something must be done about it, if nothing happens before.
    const fn limit(&self) -> Option<Time> {
        match self {
            Self::Idle => None,
            Self::Connecting { until, .. } | Self::Waiting { until } => Some(*until),
            Self::Up { moved, busy: true, .. } => Some(moved.after(STALL_LIMIT)),
            Self::Up { moved, busy: false, .. } => Some(moved.after(IDLE_LIMIT)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    address: Option<SocketAddr>,
    state: State,
    failures: u32,
}

/// What a link is to do for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Send on this connection.
    Ready(Key),
    /// Nothing: something is under way.
    Busy,
    /// Connect.
    Connect,
    /// Close this connection, which leads to another address, and connect.
    Replace(Key),
}

/// The table of all peers of one link.
#[derive(Debug)]
pub(crate) struct Peers {
    table: Box<[Peer]>,
    /// No limit passes before this.
    next_limit: Option<Time>,
    random: u64,
}

impl Peers {
    /// A table without connections. `seed` makes the jitter differ from that of other links.
    pub(crate) fn new(seed: u64) -> Self {
        let peer = Peer { address: None, state: State::Idle, failures: 0 };
        Self { table: vec![peer; PEERS_MAX].into(), next_limit: None, random: seed }
    }

    /// What to do so that packets get from here to `address`.
    pub(crate) fn ask(&mut self, id: PeerId, address: SocketAddr, now: Time) -> Ask {
        let peer = &mut self.table[id.index()];
        if peer.address != Some(address) {
            if matches!(peer.state, State::Up { busy: true, .. }) {
                return Ask::Busy;
            }
            let old = peer.state.key();
            *peer = Peer { address: Some(address), state: State::Idle, failures: 0 };
            return old.map_or(Ask::Connect, Ask::Replace);
        }
        match peer.state {
            State::Idle => Ask::Connect,
            State::Waiting { until } if until <= now => Ask::Connect,
            State::Up { key, busy: false, .. } => Ask::Ready(key),
            State::Waiting { .. } | State::Connecting { .. } | State::Up { .. } => Ask::Busy,
        }
    }

    /// The connection on which `id` can be sent to now.
    pub(crate) fn ready(&self, id: PeerId) -> Option<Key> {
        match self.table[id.index()].state {
            State::Up { key, busy: false, .. } => Some(key),
            _ => None,
        }
    }

    /// Reports that an attempt to connect has begun.
    pub(crate) fn connecting(&mut self, id: PeerId, key: Key, now: Time) {
        self.set(id, State::Connecting { key, until: now.after(CONNECT_LIMIT) });
    }

    /// Reports that an attempt could not even begin.
    pub(crate) fn refused(&mut self, id: PeerId, now: Time) {
        self.back_off(id, now);
    }

    /// Reports that the connection is there and a handshake has begun on it, which may take as long
    /// as an attempt to connect.
    pub(crate) fn greeting(&mut self, id: PeerId, key: Key, now: Time) {
        if self.owns(id, key) {
            self.connecting(id, key, now);
        }
    }

    /// Reports that the connection is up.
    pub(crate) fn connected(&mut self, id: PeerId, key: Key, now: Time) {
        if self.owns(id, key) {
            self.set(id, State::Up { key, since: now, moved: now, busy: false });
        }
    }

    /// Reports that a send has begun, or gone on, or (`busy` false) that it is done.
    pub(crate) fn moved(&mut self, id: PeerId, key: Key, busy: bool, now: Time) {
        if let State::Up { key: own, since, .. } = self.table[id.index()].state
            && own == key
        {
            self.set(id, State::Up { key, since, moved: now, busy });
        }
    }

    /// Reports that the connection, or the attempt, has ended.
    pub(crate) fn lost(&mut self, id: PeerId, key: Key, now: Time) {
        if !self.owns(id, key) {
            return;
        }
        match self.table[id.index()].state {
            State::Up { since, busy: false, .. } if now.since(since) >= LIVED => {
                let peer = &mut self.table[id.index()];
                (peer.state, peer.failures) = (State::Idle, 0);
            }
            State::Up { since, .. } if now.since(since) >= LIVED => {
                self.table[id.index()].failures = 0;
                self.back_off(id, now);
            }
            _ => self.back_off(id, now),
        }
    }

    /// When [`Peers::expired`] may have something to say.
    pub(crate) const fn next_limit(&self) -> Option<Time> {
        self.next_limit
    }

    /// The connections whose time is up. The link is to close them; here they are lost already.
    pub(crate) fn expired(&mut self, now: Time) -> Vec<Key> {
        if self.next_limit.is_none_or(|limit| now < limit) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        for index in 0..self.table.len() {
            let state = self.table[index].state;
            if state.limit().is_some_and(|limit| limit <= now) {
                keys.extend(state.key());
                match state {
                    State::Connecting { .. } | State::Up { busy: true, .. } => {
                        self.back_off(PeerId::from_index(index), now);
                    }
                    _ => self.table[index].state = State::Idle,
                }
            }
        }
        self.next_limit = self.table.iter().filter_map(|peer| peer.state.limit()).min();
        keys
    }

    fn owns(&self, id: PeerId, key: Key) -> bool {
        self.table[id.index()].state.key() == Some(key)
    }

    fn back_off(&mut self, id: PeerId, now: Time) {
        let failures = self.table[id.index()].failures;
        let longest = (BACKOFF_MIN.as_nanos() << failures.min(16)).min(BACKOFF_MAX.as_nanos());
        let wait = Span::from_nanos(longest / 2 + self.random() % (longest / 2));
        self.table[id.index()].failures = failures + 1;
        self.set(id, State::Waiting { until: now.after(wait) });
    }

    fn set(&mut self, id: PeerId, state: State) {
        self.table[id.index()].state = state;
        if let Some(limit) = state.limit() {
            self.next_limit = Some(self.next_limit.map_or(limit, |next| next.min(limit)));
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): spreads attempts in time, guards no secret.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    const PEER: PeerId = PeerId::from_index(7);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    fn world() -> (Peers, Key, Key) {
        let mut keys = Slab::new(2);
        (Peers::new(1), keys.insert(()).unwrap(), keys.insert(()).unwrap())
    }

    #[test]
    fn attempts_grow_apart_and_start_anew_after_a_good_connection() {
        let (mut peers, key, _) = world();
        let mut now = Time::ZERO;
        for failures in 0..12 {
            assert_eq!(peers.ask(PEER, address(1), now), Ask::Connect);
            peers.connecting(PEER, key, now);
            assert_eq!(peers.ask(PEER, address(1), now), Ask::Busy);
            peers.lost(PEER, key, now);
            let until = peers.table[PEER.index()].state.limit().unwrap();
            let wait = until.since(now).as_nanos() / 1_000_000;
            let longest = (100 << failures).min(30_000);
            assert!((longest / 2..=longest).contains(&wait), "{wait} after {failures}");
            assert!(peers.next_limit().unwrap() <= until);
            now = until;
            assert_eq!(peers.expired(now), []);
        }
        peers.connecting(PEER, key, now);
        peers.connected(PEER, key, now);
        now = now.after(LIVED);
        peers.lost(PEER, key, now);
        assert_eq!(peers.ask(PEER, address(1), now), Ask::Connect);
    }

    #[test]
    fn limits_close_connections() {
        let (mut peers, key, _) = world();
        assert_eq!(peers.ask(PEER, address(1), at(0)), Ask::Connect);
        peers.connecting(PEER, key, at(0));
        assert_eq!(peers.expired(at(1_499)), []);
        assert_eq!(peers.expired(at(1_500)), [key]);
        let again = peers.next_limit().unwrap();
        assert_eq!(peers.expired(again), []);
        peers.connecting(PEER, key, again);
        peers.connected(PEER, key, again);
        assert_eq!(peers.ask(PEER, address(1), again), Ask::Ready(key));
        peers.moved(PEER, key, true, again);
        let half = again.after(Span::from_millis(5_000));
        peers.moved(PEER, key, true, half);
        assert_eq!(peers.expired(again.after(STALL_LIMIT)), []);
        assert_eq!(peers.expired(half.after(STALL_LIMIT)), [key]);
    }

    #[test]
    fn an_idle_connection_ends_without_penalty() {
        let (mut peers, key, _) = world();
        peers.ask(PEER, address(1), at(0));
        peers.connecting(PEER, key, at(0));
        peers.connected(PEER, key, at(1));
        let late = at(1).after(IDLE_LIMIT);
        assert_eq!(peers.expired(late), [key]);
        assert_eq!(peers.ask(PEER, address(1), late), Ask::Connect);
    }

    #[test]
    fn a_new_address_replaces_the_connection_once_nothing_is_in_flight() {
        let (mut peers, old, new) = world();
        peers.ask(PEER, address(1), at(0));
        peers.connecting(PEER, old, at(0));
        peers.connected(PEER, old, at(0));
        peers.moved(PEER, old, true, at(0));
        assert_eq!(peers.ask(PEER, address(2), at(1)), Ask::Busy);
        peers.moved(PEER, old, false, at(2));
        assert_eq!(peers.ask(PEER, address(2), at(2)), Ask::Replace(old));
        peers.connecting(PEER, new, at(2));
        peers.lost(PEER, old, at(3));
        peers.connected(PEER, old, at(3));
        assert_eq!(peers.ask(PEER, address(2), at(3)), Ask::Busy);
        peers.connected(PEER, new, at(4));
        assert_eq!(peers.ask(PEER, address(2), at(4)), Ask::Ready(new));
    }
}
