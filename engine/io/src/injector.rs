//! The way in for packets that begin at this node: from any thread to the shards.
//!
//! Each shard has a belt ([`Belt`]) that it empties in every turn. An [`Injector`] puts packets on
//! them; a shard that sleeps is woken once for all that comes until it has taken it.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phix_engine::pool::Capacity;
use phix_engine::shard::{Origin, Source};
use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;

use crate::belt::{Belt, NotPut, Parcel, Wake};
use crate::waker::Waker;

/// Packets of each size that wait for one shard at most: 4 MiB of them.
const WAITING: Capacity = [1024, 1024, 16, 16, 16];

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// As many packets wait as may. Those who bring more have to wait, and let their own senders
    /// wait.
    Full,
    /// It is not as long as a Sphinx packet of one of the five sizes.
    Size,
    /// Packets are never sent to an address of this kind; see [`address::routable`].
    Address,
    /// The node is stopping.
    Stopped,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many packets wait to be sent",
            Self::Size => "it has not the length of a Sphinx packet",
            Self::Address => "its first hop is an address to which nothing is sent",
            Self::Stopped => "the node is stopping",
        })
    }
}

impl Error for NotTaken {}

/// What stands on a packet for a shard.
#[derive(Clone, Copy, Debug)]
struct To {
    next_hop: SocketAddr,
    rotation: KeyRotation,
}

#[derive(Debug)]
struct Entrance {
    belt: Arc<Belt<To>>,
    waker: Waker,
}

#[derive(Debug)]
struct Entrances {
    shards: Box<[Entrance]>,
    /// How many injectors there have been.
    given: AtomicUsize,
}

/// Sends packets into the network that begin their way at this node. Each clone prefers another
/// shard, so that the clients of an entry, with a clone each, are spread over all of them.
#[derive(Debug)]
pub struct Injector {
    entrances: Arc<Entrances>,
    preferred: usize,
}

impl Clone for Injector {
    fn clone(&self) -> Self {
        let entrances = Arc::clone(&self.entrances);
        let preferred = entrances.given.fetch_add(1, Ordering::Relaxed) % entrances.shards.len();
        Self { entrances, preferred }
    }
}

impl Injector {
    /// The entrances to the shards that are woken by `wakers`, and each shard's side of them.
    pub(crate) fn new(wakers: &[Waker]) -> (Self, Vec<Injected>) {
        let entrance =
            |waker: &Waker| Entrance { belt: Arc::new(Belt::new(WAITING)), waker: waker.clone() };
        let shards: Box<[Entrance]> = wakers.iter().map(entrance).collect();
        let injected = |entrance: &Entrance| Injected(Arc::clone(&entrance.belt), None);
        let inner = shards.iter().map(injected).collect();
        let entrances = Arc::new(Entrances { shards, given: AtomicUsize::new(1) });
        (Self { entrances, preferred: 0 }, inner)
    }

    /// Has `packet` sent to its first hop, without delay. The packet is copied; it is sent if the
    /// shard has room for it and for its next hop, and dropped and counted there otherwise.
    ///
    /// # Errors
    /// If it cannot be taken; nothing has happened to it then.
    pub fn send(&self, packet: &Origin<'_>) -> Result<(), NotTaken> {
        let Origin { next_hop, rotation, packet } = *packet;
        if PacketSize::from_packet_len(packet.len()).is_none() {
            return Err(NotTaken::Size);
        }
        let next_hop = address::canonical(next_hop);
        if !address::routable(&next_hop) {
            return Err(NotTaken::Address);
        }
        let shards = &self.entrances.shards;
        let (after, first) = (&shards[self.preferred..], &shards[..self.preferred]);
        for entrance in after.iter().chain(first) {
            match entrance.belt.put(To { next_hop, rotation }, packet) {
                Ok(Wake::Needed) => {
                    entrance.waker.wake();
                    return Ok(());
                }
                Ok(Wake::No) => return Ok(()),
                Err(NotPut::Full) => {}
                Err(NotPut::TooLong) => return Err(NotTaken::Size),
                Err(NotPut::Closed) => return Err(NotTaken::Stopped),
            }
        }
        Err(NotTaken::Full)
    }
}

/// A shard's side: what was brought for it.
#[derive(Debug)]
pub(crate) struct Injected(Arc<Belt<To>>, Option<Parcel<To>>);

impl Injected {
    /// Takes nothing that comes from now on.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.close();
    }
}

impl Source for Injected {
    fn next(&mut self) -> Option<Origin<'_>> {
        self.1 = self.0.take();
        let parcel = self.1.as_ref()?;
        let To { next_hop, rotation } = parcel.note;
        Some(Origin { next_hop, rotation, packet: parcel.bytes() })
    }

    fn rest(&mut self) -> bool {
        self.0.rest()
    }

    fn rise(&mut self) {
        self.0.rise();
    }
}
