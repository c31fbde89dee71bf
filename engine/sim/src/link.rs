//! A link without a kernel: bytes come from the world's network and go back to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use phix_engine::egress::PeerId;
use phix_engine::intake::{Assembler, Intake};
use phix_engine::limits::SEND_MAX;
use phix_engine::pool::{Pool, Slot};
use phix_engine::shard::{Completion, Link, Outgoing, Wait};
use phix_engine::units::{Span, Time};

use crate::network::{ConnectionId, Event, Network};

/// How long a peer that stalled or broke takes nothing.
const PAUSE_MAX: Span = Span::from_millis(4_000);

#[derive(Debug, Default)]
struct Inbound {
    assembler: Assembler,
    unread: VecDeque<u8>,
    closed: bool,
}

#[derive(Debug)]
struct Outbound {
    to: usize,
    connection: Option<ConnectionId>,
    sending: bool,
    paused: bool,
}

#[derive(Debug)]
struct Send {
    peer: PeerId,
    slots: Vec<Option<Slot>>,
}

/// Where a shard is: its position among those of the world, and how many each node has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) shard: usize,
    pub(crate) per_node: usize,
}

/// One shard's connections.
#[derive(Debug)]
pub(crate) struct SimLink {
    place: Place,
    network: Rc<RefCell<Network>>,
    directory: Rc<BTreeMap<SocketAddr, usize>>,
    inbound: BTreeMap<ConnectionId, Inbound>,
    outbound: BTreeMap<PeerId, Outbound>,
    sends: BTreeMap<u64, Send>,
    completed: VecDeque<Completion>,
}

impl SimLink {
    pub(crate) fn new(
        place: Place,
        network: Rc<RefCell<Network>>,
        directory: Rc<BTreeMap<SocketAddr, usize>>,
    ) -> Self {
        Self {
            place,
            network,
            directory,
            inbound: BTreeMap::new(),
            outbound: BTreeMap::new(),
            sends: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    /// Whether bytes wait here that the inbox had no room for.
    pub(crate) fn has_unread(&self) -> bool {
        self.inbound.values().any(|inbound| !inbound.unread.is_empty())
    }

    fn happen(&mut self, event: Event, intake: &mut Intake<'_>) {
        match event {
            Event::Bytes { connection, bytes } => {
                let new = !self.inbound.contains_key(&connection);
                intake.counters.accepted += u64::from(new);
                self.inbound.entry(connection).or_default().unread.extend(bytes);
            }
            Event::Closed { connection } => {
                if let Some(inbound) = self.inbound.get_mut(&connection) {
                    inbound.closed = true;
                }
            }
            Event::Completed { send, position, sent } => self.complete(send, position, sent),
            Event::Writable { peer } => {
                if let Some(outbound) = self.outbound.get_mut(&peer) {
                    outbound.paused = false;
                }
            }
            Event::Woken => {}
        }
    }

    fn complete(&mut self, number: u64, position: usize, sent: bool) {
        let send = self.sends.get_mut(&number).expect("a send lives until its last completion");
        let slot = send.slots[position].take().expect("a slot completes once");
        self.completed.push_back(Completion { slot, sent });
        if send.slots.iter().all(Option::is_none) {
            let peer = send.peer;
            self.sends.remove(&number);
            self.outbound.get_mut(&peer).expect("peers stay").sending = false;
        }
    }

    /// Feeds every connection's unread bytes to its assembler, as far as the inbox goes.
    fn assemble(&mut self, intake: &mut Intake<'_>) {
        self.inbound.retain(|_, inbound| {
            let used = inbound.assembler.push(inbound.unread.make_contiguous(), intake);
            let malformed = used.is_err();
            inbound.unread.drain(..used.unwrap_or(0));
            let ended = inbound.closed && inbound.unread.is_empty();
            if malformed || ended {
                let inside = inbound.assembler.finish(intake.pool);
                intake.counters.malformed += u64::from(malformed);
                intake.counters.truncated += u64::from(inside && !malformed);
            }
            !(malformed || ended)
        });
    }

    fn pause(&mut self, peer: PeerId) {
        let mut network = self.network.borrow_mut();
        let pause = network.span(PAUSE_MAX);
        let at = network.now.after(pause);
        network.schedule(at, self.place.shard, Event::Writable { peer });
        drop(network);
        self.outbound.get_mut(&peer).expect("peers stay").paused = true;
    }
}

impl Link for SimLink {
    type Error = std::convert::Infallible;

    fn receive(&mut self, mut intake: Intake<'_>, _wait: Wait) -> Result<(), Self::Error> {
        loop {
            let event = self.network.borrow_mut().take(self.place.shard);
            let Some(event) = event else { break };
            self.happen(event, &mut intake);
        }
        self.assemble(&mut intake);
        Ok(())
    }

    fn room(&mut self, peer: PeerId, address: SocketAddr, _now: Time) -> usize {
        let Some(&to) = self.directory.get(&address) else { return 0 };
        let fresh = Outbound { to, connection: None, sending: false, paused: false };
        let outbound = self.outbound.entry(peer).or_insert(fresh);
        if outbound.sending || outbound.paused {
            return 0;
        }
        let mut network = self.network.borrow_mut();
        let chance = network.faults.stall_chance;
        if network.chance(chance) {
            drop(network);
            self.pause(peer);
            return 0;
        }
        if outbound.connection.is_none() {
            // Each connection goes to some shard of the node.
            let Place { per_node, .. } = self.place;
            outbound.to = to * per_node + network.choose(per_node);
            outbound.connection = Some(network.number());
        }
        SEND_MAX
    }

    fn send(&mut self, peer: PeerId, packets: Outgoing, front: usize, pool: &mut Pool) {
        let frames: Vec<Vec<u8>> =
            packets.iter().map(|slot| pool.framed(slot, front).to_vec()).collect();
        let bytes = frames.concat();
        let outbound = self.outbound.get_mut(&peer).expect("room was asked for before");
        let (to, connection) = (outbound.to, outbound.connection.expect("connected by room"));
        outbound.sending = true;
        let mut network = self.network.borrow_mut();
        let chance = network.faults.break_chance;
        let carried = if network.chance(chance) {
            let max = Span::from_nanos(bytes.len() as u64);
            network.span(max).as_nanos() as usize
        } else {
            bytes.len()
        };
        network.carry(to, connection, &bytes[..carried]);
        let broke = carried < bytes.len();
        if broke {
            network.close(to, connection);
            outbound.connection = None;
        }
        let send = network.number();
        let mut end = 0;
        for (position, frame) in frames.iter().enumerate() {
            end += frame.len();
            let (later, sent) = (network.faults.completion_max, end <= carried);
            let at = network.now.after(network.span(later));
            network.schedule(at, self.place.shard, Event::Completed { send, position, sent });
        }
        drop(network);
        let slots = packets.into_iter().map(Some).collect();
        self.sends.insert(send, Send { peer, slots });
        if broke {
            self.pause(peer);
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        self.completed.pop_front()
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn assembling(&self) -> usize {
        self.inbound.values().map(|inbound| inbound.assembler.held()).sum()
    }

    fn wake(&mut self, shard: usize) {
        let Place { shard: own, per_node } = self.place;
        let mut network = self.network.borrow_mut();
        let now = network.now;
        network.schedule(now, own - own % per_node + shard, Event::Woken);
    }
}
