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

#[cfg(test)]
mod tests {
    use super::*;

    fn wakers(count: usize) -> Vec<Waker> {
        (0..count).map(|_| Waker::new().unwrap()).collect()
    }

    fn send(injector: &Injector, to: &str, packet: &[u8]) -> Result<(), NotTaken> {
        let next_hop = to.parse().unwrap();
        injector.send(&Origin { next_hop, rotation: KeyRotation::Odd, packet })
    }

    fn ack(injector: &Injector) -> Result<(), NotTaken> {
        send(injector, "127.0.0.1:9", &[7; PacketSize::Ack.packet_len()])
    }

    #[test]
    fn a_full_shard_is_passed_over_and_where_all_are_full_the_sender_is_told() {
        let (injector, mut shards) = Injector::new(&wakers(2));
        let waiting = WAITING[PacketSize::Ack.index()];
        (0..2 * waiting).for_each(|_| ack(&injector).unwrap());
        assert_eq!(ack(&injector), Err(NotTaken::Full));
        assert_eq!(shards[0].0.len(), waiting);
        assert_eq!(send(&injector, "127.0.0.1:9", &[0; 2413]), Ok(()), "sizes wait apart");
        assert!(shards[1].next().is_some());
        assert_eq!(ack(&injector), Err(NotTaken::Full), "the shard has it until it asks for more");
        assert!(shards[1].next().is_some());
        assert_eq!(ack(&injector), Ok(()));
        drop(shards);
        assert_eq!(ack(&injector), Err(NotTaken::Stopped));
    }

    #[test]
    fn clones_prefer_different_shards() {
        let (injector, mut shards) = Injector::new(&wakers(3));
        for clone in [injector.clone(), injector.clone(), injector] {
            ack(&clone).unwrap();
        }
        for shard in &mut shards {
            let origin = shard.next().expect("each has one");
            assert_eq!((origin.rotation, origin.packet.len()), (KeyRotation::Odd, 386));
            assert!(shard.next().is_none());
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let (injector, _shards) = Injector::new(&wakers(1));
        for len in [0, 385, 387, 40_000] {
            assert_eq!(send(&injector, "127.0.0.1:9", &vec![0; len]), Err(NotTaken::Size), "{len}");
        }
        for to in ["0.0.0.0:9", "127.0.0.1:0", "[ff02::1]:9", "[::ffff:224.0.0.1]:9"] {
            assert_eq!(send(&injector, to, &[0; 386]), Err(NotTaken::Address), "{to}");
        }
    }

    #[test]
    fn a_shard_that_sleeps_is_woken_once_and_one_that_is_awake_is_not() {
        let wakers = wakers(1);
        let (injector, mut shards) = Injector::new(&wakers);
        let woken = || {
            let mut count = [0; 8];
            rustix::io::read(&wakers[0], &mut count).map_or(0, |_| u64::from_ne_bytes(count))
        };
        ack(&injector).unwrap();
        assert_eq!(woken(), 0, "it is awake");
        assert!(!shards[0].rest(), "there is a packet");
        while shards[0].next().is_some() {}
        assert!(shards[0].rest());
        (0..3).for_each(|_| ack(&injector).unwrap());
        assert_eq!(woken(), 1);
        shards[0].rise();
    }
}
