//! The seam between a shard and the world: what a link must do, and nothing about how.
//!
//! Three links exist: io_uring and epoll in phix-io, and the simulated one in phix-sim. The same
//! [`turn`](super::turn) drives all of them.

use core::net::SocketAddr;

use arrayvec::ArrayVec;

use crate::egress::PeerId;
use crate::intake::Intake;
use crate::limits::SEND_MAX;
use crate::pool::{Pool, Slot};
use crate::replay::{Mark, ReplayFilter};
use crate::units::Time;
use crate::wire::frame::KeyRotation;

/// How long a link may wait for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: there is work.
    No,
    /// Until this time at the latest.
    Until(Time),
    /// Until something happens.
    Forever,
}

impl Wait {
    /// The shorter of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Until(a), Self::Until(b)) => Self::Until(a.min(b)),
            (Self::Until(a), Self::Forever) | (Self::Forever, Self::Until(a)) => Self::Until(a),
            (Self::Forever, Self::Forever) => Self::Forever,
        }
    }
}

/// The end of a slot's way through a link.
#[derive(Debug)]
#[must_use]
pub struct Completion {
    /// The slot, which the kernel no longer reads.
    pub slot: Slot,
    /// Whether the whole frame was handed to the next hop's connection.
    pub sent: bool,
}

/// Packets for one peer, in order, as a shard hands them to a link.
pub type Outgoing = ArrayVec<Slot, SEND_MAX>;

/// Connections in and out, for one shard.
///
/// Invariant: every slot given to [`Link::send`] comes back by [`Link::completed`] exactly once,
/// also when its connection breaks.
pub trait Link {
    /// What ends the shard: the link itself is broken (not one connection of it).
    type Error;

    /// Waits for something to happen, as `wait` allows, and takes in what arrived, until there is
    /// nothing more or the inbox is full. It may return early.
    ///
    /// # Errors
    /// If the link cannot go on.
    fn receive(&mut self, intake: Intake<'_>, wait: Wait) -> Result<(), Self::Error>;

    /// How many packets the link takes for `peer` now. Zero while it is being connected or busy;
    /// the link then sees to it that this changes, or that its packets expire.
    fn room(&mut self, peer: PeerId, address: SocketAddr, now: Time) -> usize;

    /// Takes packets for `peer`, at most as many as [`Link::room`] said. A frame is the packet and
    /// the `front` bytes before it; the link may encrypt it where it lies.
    fn send(&mut self, peer: PeerId, packets: Outgoing, front: usize, pool: &mut Pool);

    /// A slot that the link is done with, if there is one.
    fn completed(&mut self) -> Option<Completion>;

    /// Hands over to the kernel what was sent in this turn.
    ///
    /// # Errors
    /// If the link cannot go on.
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// Slots that half-received packets occupy.
    fn assembling(&self) -> usize;

    /// Ends the present or the next wait of the link of another shard, whose position among the
    /// node's shards is `shard`. Where a node has one shard, this is never called.
    fn wake(&mut self, shard: usize);
}

/// A message that reached its final hop here.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Whom it is for: the destination field of the header.
    pub destination: &'a [u8; 32],
    /// The identifier field of the header (that of the SURB, for replies).
    pub identifier: &'a [u8; 16],
    /// The decrypted payload: zeros, message, end mark, zeros (see `sphinx::final_message`).
    pub payload: &'a [u8],
    /// The key rotation that the packet's frame named, for packets that go out in answer to it.
    pub rotation: KeyRotation,
    /// When the packet arrived here.
    pub arrived: Time,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// It is none that this role serves.
    Malformed,
    /// There is no room for it at present.
    NoRoom,
}

/// What a shard hands out besides packets: the messages that end at this node, and what must
/// outlive it.
pub trait Sink {
    /// Takes a message. It must not wait.
    ///
    /// # Errors
    /// If it is not taken; the packet is dropped and counted then.
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered>;

    /// Takes the marks that accepted packets left in `filter`, once per batch and key; says whether
    /// they will be saved. It must not wait. Who saves nothing has nothing to do.
    fn remember(&mut self, filter: &ReplayFilter, marks: &[Mark]) -> bool {
        let _ = (filter, marks);
        true
    }
}

/// A packet that begins its way at this node: whole, as its first hop is to receive it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its first hop.
    pub next_hop: SocketAddr,
    /// The key rotation that it was built for.
    pub rotation: KeyRotation,
    /// Its bytes, of one of the five sizes.
    pub packet: &'a [u8],
}

/// Where packets come from that begin their way at this node.
///
/// A shard takes them in every turn, at most [`ORIGINATE_MAX`](crate::limits::ORIGINATE_MAX), and
/// says before it waits that it is going to: whoever brings a packet from then on has to wake it.
pub trait Source {
    /// The oldest packet, if there is one. It is taken: the next call gives the next.
    fn next(&mut self) -> Option<Origin<'_>>;

    /// The shard is going to wait. False if packets are there: then it must not.
    fn rest(&mut self) -> bool;

    /// The shard waits no longer.
    fn rise(&mut self);
}

/// The source of a node that only passes on what others send.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSource;

impl Source for NoSource {
    fn next(&mut self) -> Option<Origin<'_>> {
        None
    }

    fn rest(&mut self) -> bool {
        true
    }

    fn rise(&mut self) {}
}

/// The clock of the shell that drives a shard.
pub trait Clock {
    /// The present; never less than what it said before.
    fn now(&self) -> Time;
}
