//! Worlds with and without faults: what the conservation laws and the delays must say.

use std::collections::BTreeMap;

use phix_engine::counters::{Counters, DropReason};
use phix_engine::limits::{STRANGERS_MAX, TICK};
use phix_engine::units::Span;
use phix_sim::{Faults, Outcome, World, WorldConfig};

fn config(seed: u64, faults: Faults) -> WorldConfig {
    WorldConfig {
        seed,
        nodes: 2,
        shards: 1,
        packets: 300,
        astray: 0,
        own: 0,
        within: Span::from_millis(2_000),
        delay_max: Span::from_millis(200),
        slots: [200, 300],
        faults,
    }
}

/// How often each packet arrived, by number.
fn arrivals(outcome: &Outcome) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for arrived in &outcome.arrived {
        *counts.entry(arrived.number).or_insert(0) += 1;
    }
    counts
}

#[test]
fn without_faults_every_packet_arrives_once_after_its_delays() {
    let config = config(1, Faults::NONE);
    let outcome = World::new(config).run();
    assert_eq!(outcome.arrived.len(), outcome.expected.len());
    for arrived in &outcome.arrived {
        let expected = outcome.expected[arrived.number as usize];
        assert_eq!(arrived.node, expected.last);
        let latency = arrived.at.since(expected.sent).as_nanos();
        let links = expected.hops as u64;
        let waits = Faults::NONE.completion_max.as_nanos() + TICK.as_nanos();
        // A frame may arrive in several pieces, and behind others of its connection; both stay
        // within the network's latency. At a hop it may wait a tick, and for one send to complete.
        let most = expected.delay.as_nanos()
            + links * Faults::NONE.latency_max.as_nanos()
            + (links - 1) * waits;
        assert!(latency >= expected.delay.as_nanos(), "{expected:?} took {latency} ns");
        assert!(latency <= most, "{expected:?} took {latency} ns, at most {most}");
    }
}

#[test]
fn with_faults_every_packet_is_accounted_for() {
    for seed in 0..12 {
        let outcome = World::new(config(seed, Faults::MANY)).run();
        assert!(arrivals(&outcome).values().all(|&times| times == 1), "seed {seed}");
        assert!(outcome.held.iter().all(|held| held.total() == 0), "seed {seed}");
        let delivered: u64 = outcome.counters.iter().map(|counters| counters.delivered).sum();
        assert_eq!(delivered, outcome.arrived.len() as u64, "seed {seed}");
        let dropped: u64 = outcome.counters.iter().map(|counters| counters.dropped_total()).sum();
        let lost = outcome.expected.len() as u64 - delivered;
        assert!(lost > 0, "seed {seed}: the faults did nothing");
        assert_eq!(lost, dropped, "seed {seed}");
    }
}

/// All packets are sent at once, over one connection to each node.
fn crowd(seed: u64, shards: usize, faults: Faults) -> WorldConfig {
    WorldConfig { shards, packets: 400, within: Span::ZERO, ..config(seed, faults) }
}

#[test]
fn one_connection_spreads_over_the_shards_and_no_packet_is_lost_or_comes_twice() {
    for shards in [2, 3, 12] {
        let outcome = World::new(crowd(shards as u64, shards, Faults::NONE)).run();
        assert_eq!(outcome.arrived.len(), outcome.expected.len());
        assert!(arrivals(&outcome).values().all(|&times| times == 1));
        for arrived in &outcome.arrived {
            let expected = outcome.expected[arrived.number as usize];
            assert!(arrived.at.since(expected.sent) >= expected.delay, "{expected:?} left early");
        }
        let working = outcome.counters.iter().filter(|counters| counters.taken_over > 0).count();
        assert!(working >= 2, "{working} of {shards} shards took something over");
        let sum = |of: fn(&Counters) -> u64| outcome.counters.iter().map(of).sum::<u64>();
        assert_eq!(sum(|counters| counters.handed_over), sum(|counters| counters.taken_over));
    }
}

#[test]
fn with_faults_and_several_shards_every_packet_is_accounted_for() {
    for seed in 0..6 {
        let outcome = World::new(crowd(seed, 3, Faults::MANY)).run();
        assert!(arrivals(&outcome).values().all(|&times| times == 1), "seed {seed}");
        assert!(outcome.held.iter().all(|held| held.total() == 0), "seed {seed}");
        let sum = |of: fn(&Counters) -> u64| outcome.counters.iter().map(of).sum::<u64>();
        let handed = sum(|counters| counters.handed_over);
        assert!(handed > 0, "seed {seed}: nothing was handed over");
        assert_eq!(handed, sum(|counters| counters.taken_over), "seed {seed}");
        let lost = outcome.expected.len() as u64 - sum(|counters| counters.delivered);
        assert_eq!(lost, sum(Counters::dropped_total), "seed {seed}");
    }
}

#[test]
fn a_small_pool_drops_and_recovers() {
    let small = WorldConfig { slots: [2, 3], ..config(3, Faults::NONE) };
    let outcome = World::new(small).run();
    let delivered = outcome.arrived.len() as u64;
    let dropped: u64 =
        outcome.counters.iter().map(|counters| counters.dropped(DropReason::PoolEmpty)).sum();
    assert!(dropped > 0 && delivered > 0);
    assert_eq!(delivered + dropped, outcome.expected.len() as u64);
}

#[test]
fn packets_astray_do_not_cost_the_others_their_next_hops() {
    const ASTRAY: u32 = 2 * STRANGERS_MAX as u32;
    let many = WorldConfig { astray: ASTRAY, slots: [300, 3_000], ..config(5, Faults::NONE) };
    let outcome = World::new(many).run();
    assert_eq!(outcome.arrived.len(), outcome.expected.len());
    let dropped = |reason| outcome.counters[0].dropped(reason);
    let full = dropped(DropReason::PeerTableFull);
    assert!(full > 0, "the strangers' places were never all taken");
    assert_eq!(full + dropped(DropReason::PeerUnreachable), u64::from(ASTRAY));
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = |seed| World::new(config(seed, Faults::MANY)).run();
    let (one, again, other) = (run(7), run(7), run(8));
    assert_eq!(one.hash, again.hash);
    assert_eq!(one.arrived, again.arrived);
    assert_ne!(one.hash, other.hash);
}

#[test]
fn what_begins_at_a_node_is_accounted_for_as_what_arrives_there() {
    for (seed, faults) in [(31, Faults::NONE), (32, Faults::MANY), (33, Faults::MANY)] {
        for shards in [1, 3] {
            let outcome =
                World::new(WorldConfig { own: 200, shards, ..config(seed, faults) }).run();
            let sum = |count: fn(&Counters) -> u64| outcome.counters.iter().map(count).sum::<u64>();
            assert_eq!(sum(|counters| counters.originated), 200);
            assert!(arrivals(&outcome).values().all(|&times| times == 1), "seed {seed}");
            assert!(outcome.held.iter().all(|held| held.total() == 0), "seed {seed}");
            let lost = (outcome.expected.len() - outcome.arrived.len()) as u64;
            assert_eq!(lost, sum(Counters::dropped_total), "seed {seed}");
            assert_eq!(
                lost > 0,
                seed > 31,
                "seed {seed}: faults lose packets and nothing else does"
            );
        }
    }
}
