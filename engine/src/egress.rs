//! Egress: one bounded queue per next hop.
//!
//! The queues are lists threaded through tables that run beside the pool, so that queueing
//! allocates nothing. When a queue is full the newest packet is dropped; what has waited longer
//! than [`EGRESS_PATIENCE`] is dropped too, so that a next hop that takes nothing cannot hold
//! memory for long.
//!
//! Invariant: a slot is in at most one queue. Invariant: a peer that packets in the wheel are
//! bound for (`pending`) or that has a queue is never replaced by another.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::limits::{EGRESS_PATIENCE, PEER_QUEUE_MAX, PEERS_MAX};
use crate::pool::Slot;
use crate::units::Time;

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
        }
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
    /// says under which peer; nothing if the table of peers is full of peers in use.
    pub fn expect(&mut self, address: SocketAddr, now: Time) -> Option<PeerId> {
        let id = match self.by_address.get(&address) {
            Some(&id) => id,
            None => self.admit(address)?,
        };
        let peer = &mut self.peers[id.index()];
        peer.pending += 1;
        peer.used = now;
        Some(id)
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
        let peer = Peer { address, head: NIL, tail: NIL, queued: 0, pending: 0, used: Time::ZERO };
        let id = if self.peers.len() < PEERS_MAX {
            self.peers.push(peer);
            PeerId::from_index(self.peers.len() - 1)
        } else {
            let idle = |(_, peer): &(usize, &Peer)| peer.queued == 0 && peer.pending == 0;
            let all = self.peers.iter().enumerate().filter(idle);
            let (index, _) = all.min_by_key(|(_, peer)| peer.used)?;
            self.by_address.remove(&self.peers[index].address);
            self.peers[index] = peer;
            PeerId::from_index(index)
        };
        self.by_address.insert(address, id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::units::Span;

    fn address(port: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port as u16 + 1)
    }

    fn put(egress: &mut Egress, port: usize, slot: u32, now: Time) -> Result<PeerId, Slot> {
        let id = egress.expect(address(port), now).expect("room for a peer");
        egress.queue(id, Slot::from_raw(slot), now).map(|()| id)
    }

    #[test]
    fn queues_are_first_in_first_out_and_take_turns() {
        let mut egress = Egress::new(8);
        for slot in 0..6 {
            put(&mut egress, slot % 2, slot as u32, Time::ZERO).unwrap();
        }
        let mut order = Vec::new();
        while let Some((id, to)) = egress.rotate() {
            order.push((to.port() - 1, egress.pop(id).unwrap().into_raw()));
        }
        assert_eq!(order, [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4), (1, 5)]);
        assert!(egress.is_empty());
    }

    #[test]
    fn the_newest_is_refused_when_a_queue_is_full() {
        let mut egress = Egress::new(PEER_QUEUE_MAX + 1);
        for slot in 0..PEER_QUEUE_MAX {
            put(&mut egress, 0, slot as u32, Time::ZERO).unwrap();
        }
        let refused = put(&mut egress, 0, PEER_QUEUE_MAX as u32, Time::ZERO).unwrap_err();
        assert_eq!(refused.into_raw() as usize, PEER_QUEUE_MAX);
        assert_eq!(egress.len(), PEER_QUEUE_MAX);
    }

    #[test]
    fn patience_ends() {
        let mut egress = Egress::new(2);
        let later = Time::ZERO.after(Span::from_millis(1));
        put(&mut egress, 0, 0, Time::ZERO).unwrap();
        put(&mut egress, 1, 1, later).unwrap();
        let limit = egress.next_expiry().unwrap();
        assert_eq!(limit, Time::ZERO.after(EGRESS_PATIENCE));
        assert_eq!(egress.pop_expired(limit).unwrap().into_raw(), 0);
        assert_eq!(egress.pop_expired(limit), None);
        assert_eq!(egress.next_expiry(), Some(later.after(EGRESS_PATIENCE)));
        Slot::into_raw(egress.pop_expired(later.after(EGRESS_PATIENCE)).unwrap());
    }

    #[test]
    fn a_full_table_replaces_only_idle_peers() {
        let mut egress = Egress::new(PEERS_MAX);
        for port in 0..PEERS_MAX {
            egress.expect(address(port), Time::from_nanos(port as u64)).unwrap();
        }
        assert_eq!(egress.expect(address(PEERS_MAX), Time::ZERO), None);
        egress.forget(PeerId::from_index(5));
        assert_eq!(egress.expect(address(PEERS_MAX), Time::ZERO).unwrap().index(), 5);
    }
}
