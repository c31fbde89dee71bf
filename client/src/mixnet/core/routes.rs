//! Ways through the network: one mix of each layer, and the gateway of whoever it is for.

use arrayvec::ArrayVec;
use chacha20::ChaCha20Rng;
use phix_engine::limits::DELAY_MAX;
use phix_engine::sphinx::build::Hop;
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::KeyRotation;

use crate::stats;
use crate::topology::{self, Topology};

/// Three mixes and a gateway.
const HOPS: usize = 4;

/// The nodes that a packet passes, with the delays that it asks of them.
pub(super) type Way = ArrayVec<Hop, HOPS>;

/// Draws ways through a topology.
pub(super) struct Router {
    topology: Topology,
    rotation: KeyRotation,
    hop_delay: Span,
    ack_delay: Span,
}

impl Router {
    pub(super) fn new(topology: Topology, hop_delay: Span, ack_delay: Span) -> Self {
        let rotation = KeyRotation::from_id(topology.metadata().key_rotation_id);
        Self { topology, rotation, hop_delay, ack_delay }
    }

    /// Takes a topology in place of the one before; whether packets that were made for that one
    /// are of no use any more.
    pub(super) fn replace(&mut self, topology: Topology) -> bool {
        let outdated = topology.form().rewarded_set != self.topology.form().rewarded_set
            || topology.form().node_details != self.topology.form().node_details;
        self.rotation = KeyRotation::from_id(topology.metadata().key_rotation_id);
        self.topology = topology;
        outdated
    }

    /// What ways are drawn from.
    pub(super) const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The rotation that the keys of all ways belong to.
    pub(super) const fn rotation(&self) -> KeyRotation {
        self.rotation
    }

    /// A way for a message to a client of `gateway`; none if no packet can go there.
    pub(super) fn there(&self, gateway: &[u8; 32], rng: &mut ChaCha20Rng) -> Option<Way> {
        self.draw(gateway, self.hop_delay, rng)
    }

    /// A way for an acknowledgement to a client of `gateway`.
    pub(super) fn back(&self, gateway: &[u8; 32], rng: &mut ChaCha20Rng) -> Option<Way> {
        self.draw(gateway, self.ack_delay, rng)
    }

    fn draw(&self, gateway: &[u8; 32], mean: Span, rng: &mut ChaCha20Rng) -> Option<Way> {
        let gateway = self.topology.node_by_identity(gateway)?;
        let route = self.topology.random_route(rng, gateway);
        if !route.iter().all(|hop| address::routable(&hop.address)) {
            return None;
        }
        let (last, mixes) = route.split_last()?;
        let mut way: Way = mixes.iter().map(|hop| engine_hop(hop, delay(mean, rng))).collect();
        way.push(engine_hop(last, Span::ZERO));
        Some(way)
    }
}

fn engine_hop(hop: &topology::Hop, delay: Span) -> Hop {
    Hop { address: address::encode(hop.address), public_key: hop.key, delay }
}

/// Exponential, and no more than nodes grant.
fn delay(mean: Span, rng: &mut ChaCha20Rng) -> Span {
    let nanos = stats::exponential(rng, mean.as_nanos() as f64) as u64;
    Span::from_nanos(nanos.min(DELAY_MAX.as_nanos()))
}
