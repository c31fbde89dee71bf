//! Egress: one bounded queue per next hop.
//!
//! The queues are lists threaded through tables that run beside the pool, so that queueing
//! allocates nothing. When a queue is full the newest packet is dropped; what has waited longer
//! than [`EGRESS_PATIENCE`] is dropped too, so that a next hop that takes nothing cannot hold
//! memory for long.
//!
//! Senders name next hops, and a sender may be anyone. Unless the node knows its network
//! ([`NextHops::Only`]), the table is shared out: peers that no connection has ever led to share
//! [`STRANGERS_MAX`] places, and the ports of one host [`PEERS_PER_HOST_MAX`]. Whoever names
//! addresses at random then pushes out others of that kind, and not the next hops in use.
//!
//! Invariant: a slot is in at most one queue. Invariant: a peer that packets in the wheel are
//! bound for (`pending`) or that has a queue is never replaced by another.

mod next_hops;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use crate::counters::DropReason;
use crate::limits::{
    EGRESS_PATIENCE, PEER_QUEUE_MAX, PEERS_MAX, PEERS_PER_HOST_MAX, STRANGERS_MAX,
};
use crate::pool::Slot;
use crate::units::Time;

pub use next_hops::NextHops;

/// A next hop of one shard: position in its table of peers, below [`PEERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u16);

impl PeerId {
    /// The peer at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`PEERS_MAX`].
    pub const fn from_index(index: usize) -> Self {
        assert!(index < PEERS_MAX);
        Self(index as u16)
    }

    /// Position, for tables that a link keeps per peer.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    head: u32,
    tail: u32,
    queued: usize,
    pending: usize,
    used: Time,
    /// A connection has led there since the peer got its place.
    reached: bool,
}

/// All queues of one shard.
#[derive(Debug)]
pub struct Egress {
    peers: Vec<Peer>,
    by_address: BTreeMap<SocketAddr, PeerId>,
    waiting: VecDeque<PeerId>,
    next: Box<[u32]>,
    since: Box<[Time]>,
    queued: usize,
    next_hops: NextHops,
    /// Peers that have not been reached.
    strangers: usize,
}

impl Egress {
    /// Queues for the slots of a pool of `capacity` slots.
    pub fn new(capacity: usize) -> Self {
        Self {
            peers: Vec::with_capacity(PEERS_MAX),
            by_address: BTreeMap::new(),
            waiting: VecDeque::with_capacity(PEERS_MAX),
            next: vec![NIL; capacity].into_boxed_slice(),
            since: vec![Time::ZERO; capacity].into_boxed_slice(),
            queued: 0,
            next_hops: NextHops::Any,
            strangers: 0,
        }
    }

    /// Changes which addresses may be next hops. Packets that are on their way to one that no
    /// longer may still go there.
    pub fn set_next_hops(&mut self, next_hops: NextHops) {
        self.by_address.retain(|address, _| next_hops.allows(address));
        self.next_hops = next_hops;
    }

    /// Packets in all queues.
    pub const fn len(&self) -> usize {
        self.queued
    }

    /// Whether no packet waits.
    pub const fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Peers in the table, whether packets wait for them or not.
    pub const fn known(&self) -> usize {
        self.peers.len()
    }

    /// Announces a packet that will be queued for `address` later, once its delay is over, and
    /// says under which peer.
    ///
    /// # Errors
    /// [`DropReason::NextHopUnknown`] if packets may not go there, [`DropReason::PeerTableFull`]
    /// if all places that the address could have are in use.
    pub fn expect(&mut self, address: SocketAddr, now: Time) -> Result<PeerId, DropReason> {
        let id = match self.by_address.get(&address) {
            Some(&id) => id,
            None if !self.next_hops.allows(&address) => return Err(DropReason::NextHopUnknown),
            None => self.admit(address).ok_or(DropReason::PeerTableFull)?,
        };
        let peer = &mut self.peers[id.index()];
        peer.pending += 1;
        peer.used = now;
        Ok(id)
    }

    /// Takes note that a connection leads to the peer.
    pub fn reached(&mut self, id: PeerId) {
        let peer = &mut self.peers[id.index()];
        self.strangers -= usize::from(!peer.reached);
        peer.reached = true;
    }

    /// Takes back an announcement: the packet was dropped before its delay was over.
    pub fn forget(&mut self, id: PeerId) {
        self.peers[id.index()].pending -= 1;
    }

    /// Queues an announced packet.
    ///
    /// # Errors
    /// Returns the slot if the queue is full.
    pub fn queue(&mut self, id: PeerId, slot: Slot, now: Time) -> Result<(), Slot> {
        let peer = &mut self.peers[id.index()];
        peer.pending -= 1;
        if peer.queued == PEER_QUEUE_MAX {
            return Err(slot);
        }
        let raw = slot.into_raw();
        self.next[raw as usize] = NIL;
        self.since[raw as usize] = now;
        if peer.queued == 0 {
            peer.head = raw;
            self.waiting.push_back(id);
        } else {
            self.next[peer.tail as usize] = raw;
        }
        peer.tail = raw;
        peer.queued += 1;
        self.queued += 1;
        Ok(())
    }

    /// How many peers have packets waiting. [`Egress::rotate`] walks them.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The peer whose turn it is among those with packets, and its address; it goes to the end of
    /// the round. A peer leaves the round when its queue becomes empty.
    pub fn rotate(&mut self) -> Option<(PeerId, SocketAddr)> {
        let id = self.waiting.pop_front()?;
        let peer = &self.peers[id.index()];
        debug_assert!(peer.queued > 0);
        self.waiting.push_back(id);
        Some((id, peer.address))
    }

    /// Takes the oldest packet for a peer.
    pub fn pop(&mut self, id: PeerId) -> Option<Slot> {
        let peer = &mut self.peers[id.index()];
        if peer.queued == 0 {
            return None;
        }
        let raw = peer.head;
        peer.head = self.next[raw as usize];
        peer.queued -= 1;
        self.queued -= 1;
        if peer.queued == 0 {
            // A peer that was served in its turn stands last; one whose packets expired, anywhere.
            if self.waiting.back() == Some(&id) {
                self.waiting.pop_back();
            } else {
                self.waiting.retain(|&waiting| waiting != id);
            }
        }
        Some(Slot::from_raw(raw))
    }

    /// Takes the oldest packet that has waited for too long, of any peer.
    pub fn pop_expired(&mut self, now: Time) -> Option<Slot> {
        let expired = |id: &PeerId| {
            let head = self.peers[id.index()].head;
            now.since(self.since[head as usize]) >= EGRESS_PATIENCE
        };
        let id = self.waiting.iter().copied().find(expired)?;
        self.pop(id)
    }

    /// When the next packet will have waited for too long.
    pub fn next_expiry(&self) -> Option<Time> {
        let since = |id: &PeerId| self.since[self.peers[id.index()].head as usize];
        self.waiting.iter().map(since).min().map(|oldest| oldest.after(EGRESS_PATIENCE))
    }

    fn admit(&mut self, address: SocketAddr) -> Option<PeerId> {
        let peer = Peer {
            address,
            head: NIL,
            tail: NIL,
            queued: 0,
            pending: 0,
            used: Time::ZERO,
            reached: false,
        };
        let index = self.place(&address)?;
        if index == self.peers.len() {
            self.peers.push(peer);
        } else {
            let old = core::mem::replace(&mut self.peers[index], peer);
            self.strangers -= usize::from(!old.reached);
            // An address that was forbidden and allowed again may have another place by now.
            if self.by_address.get(&old.address).is_some_and(|id| id.index() == index) {
                self.by_address.remove(&old.address);
            }
        }
        self.strangers += 1;
        let id = PeerId::from_index(index);
        self.by_address.insert(address, id);
        Some(id)
    }

    /// The place for a new peer: a free one, or that of an idle peer, of those that were never
    /// reached first, whose going leaves the quotas as they are.
    fn place(&self, address: &SocketAddr) -> Option<usize> {
        let host = ports_of_host(address);
        let shared = self.next_hops == NextHops::Any;
        let host_full = shared && self.by_address.range(host.clone()).count() >= PEERS_PER_HOST_MAX;
        let strangers_full = shared && self.strangers >= STRANGERS_MAX;
        if !host_full && !strangers_full && self.peers.len() < PEERS_MAX {
            return Some(self.peers.len());
        }
        let fits = |peer: &Peer| {
            let idle = peer.queued == 0 && peer.pending == 0;
            idle && (!host_full || host.contains(&peer.address))
                && !(strangers_full && peer.reached)
        };
        let all = self.peers.iter().enumerate().filter(|(_, peer)| fits(peer));
        all.min_by_key(|(_, peer)| (peer.reached, peer.used)).map(|(index, _)| index)
    }
}

/// Everything that one host can listen on: the ports of an IPv4 address, or of a network of 64
/// bits in IPv6, which is what a host gets.
fn ports_of_host(address: &SocketAddr) -> RangeInclusive<SocketAddr> {
    let (first, last) = match address.ip() {
        IpAddr::V4(ip) => (IpAddr::V4(ip), IpAddr::V4(ip)),
        IpAddr::V6(ip) => {
            let host = u128::from(u64::MAX);
            let bits = ip.to_bits();
            let ip = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
            (ip(bits & !host), ip(bits | host))
        }
    };
    SocketAddr::new(first, 0)..=SocketAddr::new(last, u16::MAX)
}
