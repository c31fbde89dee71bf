//! What waits for a vector of the kernels to fill, and for how long.

use phix_engine::crypto::{Kernels, PORTABLE};
use phix_engine::limits::FILL_PATIENCE;
use phix_engine::shard::{Config, FinalHops, Wait};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;

use crate::common::{Rig, config, frame, key, next_hop, only, packet};

/// Lanes that the kernels of these tests say they have.
const LANES: usize = 8;

/// A shard whose clock stands at `micros`, and packets for it.
struct Flow {
    rig: Rig,
    micros: u64,
}

impl Flow {
    fn new() -> Self {
        let kernels = Kernels { x25519_lanes: LANES, ..PORTABLE };
        let config = Config { kernels, ..config(FinalHops::Drop) };
        Self { rig: Rig::new(only(key(60, KeyRotation::Unknown)), &config), micros: 0 }
    }

    /// `packets` arrive `later` microseconds after the last ones, and two turns are taken: what
    /// link and shard do when the next turn brings nothing.
    fn arrive(&mut self, later: u64, packets: usize) {
        self.micros += later;
        self.rig.clock.0.set(Time::ZERO.after(Span::from_micros(self.micros)));
        let first = key(60, KeyRotation::Unknown).secret.public();
        let one = || packet(first, Some((next_hop(), 50_000_000)), b"on");
        (0..packets)
            .for_each(|_| self.rig.link.incoming.extend(frame(&one(), KeyRotation::Unknown)));
        self.rig.turn();
        self.rig.turn();
    }

    fn ready(&self) -> usize {
        self.rig.shard.held().ready
    }
}

#[test]
fn under_load_vectors_are_full_and_the_rest_waits_for_what_comes_next() {
    let mut flow = Flow::new();
    // Nothing is known of the load in the first stretch of time.
    flow.arrive(300, 9);
    flow.arrive(300, 9);
    let before = flow.rig.shard.counters().batched;
    let mut left = flow.ready();
    for _ in 0..20 {
        flow.arrive(300, 9);
        assert_eq!(flow.ready(), (left + 9) % LANES, "only what fills no vector waits");
        left = flow.ready();
    }
    let opened = flow.rig.shard.counters().batched - before;
    assert_eq!(opened % LANES as u64, 0);
    assert_eq!(flow.rig.shard.counters().batched + left as u64, 22 * 9);
}

#[test]
fn what_waits_does_so_for_no_longer_than_it_may() {
    let mut flow = Flow::new();
    (0..4).for_each(|_| flow.arrive(300, 8));
    flow.arrive(300, 27);
    assert_eq!(flow.ready(), 3);
    let end = Time::ZERO.after(Span::from_micros(flow.micros)).after(FILL_PATIENCE);
    assert_eq!(flow.rig.shard.deadline(), Wait::Until(end));
    flow.arrive(FILL_PATIENCE.as_nanos() / 1000 - 1, 0);
    assert_eq!(flow.ready(), 3);
    flow.arrive(1, 0);
    assert_eq!(flow.ready(), 0);
}

#[test]
fn without_load_nothing_waits() {
    let mut flow = Flow::new();
    for round in 0..30 {
        flow.arrive(1_000, 1 + round % 11);
        assert_eq!(flow.ready(), 0, "round {round}");
    }
    // A crowd after a rest is no load yet.
    flow.arrive(50_000, 13);
    assert_eq!(flow.ready(), 0);
}

#[test]
fn kernels_without_vectors_wait_for_nothing() {
    let mut flow = Flow::new();
    flow.rig = Rig::new(only(key(60, KeyRotation::Unknown)), &config(FinalHops::Drop));
    for _ in 0..10 {
        flow.arrive(100, 5);
        assert_eq!(flow.ready(), 0);
    }
}
