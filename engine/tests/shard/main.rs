//! The shard from frame to frame: each reason to drop, each conservation law, replays however
//! they come.

mod allocation;
mod common;
mod filling;
mod measures;
mod neighbours;
mod originating;

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};

use common::{Rig, config, frame, key, next_hop, only, packet};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use phix_engine::counters::DropReason;
use phix_engine::egress::NextHops;
use phix_engine::limits::{DELAY_MAX, EGRESS_PATIENCE, PEERS_MAX, STRANGERS_MAX, TICK};
use phix_engine::shard::{FinalHops, Keys, NoSource, NodeKey, Wait, turn};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::{ALPHA, BETA};

const UNKNOWN: KeyRotation = KeyRotation::Unknown;

fn mix(key: NodeKey) -> Rig {
    Rig::new(only(key), &config(FinalHops::Drop))
}

fn forward(first: &NodeKey, delay: u64) -> Vec<u8> {
    packet(first.secret.public(), Some((next_hop(), delay)), b"on")
}

fn dropped(rig: &Rig, reason: DropReason) -> u64 {
    rig.shard.counters().dropped(reason)
}

/// A link that sends at once has nothing to report later: the shard must come back by itself.
#[test]
fn what_one_send_does_not_hold_follows_at_once() {
    let own = key(30, UNKNOWN);
    let mut rig = mix(own.clone());
    (0..100).for_each(|_| rig.link.incoming.extend(frame(&forward(&own, 50_000_000), UNKNOWN)));
    rig.settle();
    assert_eq!(rig.shard.held().delayed, 100);
    rig.clock.0.set(Time::ZERO.after(Span::from_millis(60)));
    let mut turns = 0;
    while rig.shard.deadline() != Wait::Forever {
        turn(&mut rig.shard, &mut rig.link, &mut rig.mailbox, &mut NoSource, &rig.clock).unwrap();
        turns += 1;
        let held = rig.shard.held();
        assert!(held.queued == 0 || rig.shard.deadline() == Wait::No, "{held:?} wait");
        assert!(turns < 10, "the shard waits for {:?}", rig.shard.held());
    }
    assert_eq!((rig.link.sent.len(), turns), (100, 2));
}

/// X25519 public keys are malleable: the top bit is ignored, and adding a point of small order
/// does not change the shared secret. The header's MAC does not cover alpha, so such a variant
/// opens; it must count as the packet it was made from.
#[test]
fn a_full_batch_after_a_long_rest_waits_for_its_delays() {
    let own = key(36, UNKNOWN);
    let mut rig = mix(own.clone());
    rig.at(Time::ZERO.after(Span::from_millis(60_000)));
    (0..16).for_each(|_| rig.link.incoming.extend(frame(&forward(&own, 50_000_000), UNKNOWN)));
    rig.settle();
    assert_eq!((rig.shard.held().delayed, rig.link.sent.len()), (16, 0));
    rig.at(Time::ZERO.after(Span::from_millis(60_060)));
    assert_eq!(rig.link.sent.len(), 16);
}

#[test]
fn alpha_variants_are_one_packet() {
    let own = key(1, UNKNOWN);
    let original = forward(&own, 0);
    let variants = alpha_variants(&original);
    assert_eq!(variants.len(), 15);
    let mut rig = mix(own);
    rig.link.incoming.extend(frame(&original, UNKNOWN));
    for variant in &variants {
        assert_ne!(variant, &original);
        rig.link.incoming.extend(frame(variant, UNKNOWN));
    }
    rig.settle();
    assert_eq!(rig.link.sent.len(), 1);
    assert_eq!(dropped(&rig, DropReason::Replay), 15);
}

/// The packet with each other alpha that gives the same shared secret: alpha plus each point of
/// small order, with and without the top bit, and alpha itself with the top bit.
fn alpha_variants(packet: &[u8]) -> Vec<Vec<u8>> {
    let alpha = MontgomeryPoint(packet[ALPHA].try_into().unwrap());
    let point = alpha.to_edwards(0).expect("alpha is a point of the curve");
    let shifted = EIGHT_TORSION.iter().map(|torsion| (point + torsion).to_montgomery().to_bytes());
    let with_top = |mut alpha: [u8; 32]| {
        alpha[31] |= 0x80;
        alpha
    };
    shifted
        .flat_map(|alpha| [alpha, with_top(alpha)])
        .filter(|alpha| alpha != &packet[ALPHA])
        .map(|alpha| [&alpha, &packet[ALPHA.end..]].concat())
        .collect()
}

#[test]
fn a_replay_is_dropped_once_per_replay_within_a_batch_and_across_batches() {
    let own = key(2, UNKNOWN);
    let one = frame(&forward(&own, 0), UNKNOWN);
    let mut rig = mix(own);
    for _ in 0..5 {
        rig.link.incoming.extend(one.iter());
    }
    rig.settle();
    assert_eq!((rig.link.sent.len(), dropped(&rig, DropReason::Replay)), (1, 4));
    rig.link.incoming.extend(one.iter());
    rig.settle();
    assert_eq!((rig.link.sent.len(), dropped(&rig, DropReason::Replay)), (1, 5));
}

#[test]
fn a_replay_at_two_cores_at_once_is_dropped_exactly_once() {
    const PACKETS: usize = 200;
    let own = key(3, UNKNOWN);
    let frames: Vec<u8> = (0..PACKETS).flat_map(|_| frame(&forward(&own, 0), UNKNOWN)).collect();
    let start = Arc::new(Barrier::new(2));
    let run = |own: NodeKey, frames: Vec<u8>, start: Arc<Barrier>| {
        let mut rig = mix(own);
        rig.link.incoming.extend(frames);
        start.wait();
        rig.settle();
        (rig.link.sent.len(), dropped(&rig, DropReason::Replay) as usize)
    };
    let (one, two) = std::thread::scope(|scope| {
        let spawn = || {
            let (own, frames, start) = (own.clone(), frames.clone(), Arc::clone(&start));
            scope.spawn(move || run(own, frames, start))
        };
        let (one, two) = (spawn(), spawn());
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!((one.0 + two.0, one.1 + two.1), (PACKETS, PACKETS));
}

#[test]
fn a_packet_waits_for_its_delay_counted_from_arrival() {
    let own = key(4, UNKNOWN);
    let delay = Span::from_millis(50);
    let frames = frame(&forward(&own, delay.as_nanos()), UNKNOWN);
    let mut rig = mix(own);
    let arrival = Time::from_nanos(1_000_000_007);
    rig.clock.0.set(arrival);
    rig.link.incoming.extend(frames);
    rig.settle();
    rig.at(Time::from_nanos(arrival.after(delay).as_nanos() - 1));
    assert!(rig.link.sent.is_empty());
    rig.at(arrival.after(delay).after(TICK));
    assert_eq!(rig.link.sent.len(), 1);
    assert_eq!(rig.link.sent[0].0, next_hop());
}

#[test]
fn an_absurd_delay_is_shortened_and_counted() {
    let own = key(5, UNKNOWN);
    let frames = frame(&forward(&own, u64::MAX), UNKNOWN);
    let mut rig = mix(own);
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!(rig.shard.counters().delays_clamped, 1);
    rig.at(Time::from_nanos(DELAY_MAX.as_nanos() - 1));
    assert!(rig.link.sent.is_empty());
    rig.at(Time::ZERO.after(DELAY_MAX).after(TICK));
    assert_eq!(rig.link.sent.len(), 1);
}

#[test]
fn forged_and_foreign_packets_are_dropped_by_reason() {
    let own = key(6, UNKNOWN);
    let good = forward(&own, 0);
    let mut flipped = good.clone();
    flipped[BETA.start + 5] ^= 1;
    let foreign = forward(&key(66, UNKNOWN), 0);
    let ends_here = packet(own.secret.public(), None, b"end");
    let refused = packet(own.secret.public(), Some(("224.0.0.1:1".parse().unwrap(), 0)), b"x");
    let mut rig = mix(own);
    for packet in [&flipped, &foreign, &ends_here, &refused, &good] {
        rig.link.incoming.extend(frame(packet, UNKNOWN));
    }
    rig.settle();
    assert_eq!(rig.link.sent.len(), 1);
    assert_eq!(dropped(&rig, DropReason::HeaderMac), 2);
    assert_eq!(dropped(&rig, DropReason::FinalHopRefused), 1);
    assert_eq!(dropped(&rig, DropReason::NextHopRefused), 1);
}

#[test]
fn a_next_hop_has_one_queue_whatever_form_its_address_has() {
    let own = key(13, UNKNOWN);
    let mapped: SocketAddr = "[::ffff:127.0.0.9]:1789".parse().unwrap();
    let packets = [next_hop(), mapped].map(|to| packet(own.secret.public(), Some((to, 0)), b"x"));
    let mut rig = mix(own);
    rig.link.incoming.extend(packets.iter().flat_map(|packet| frame(packet, UNKNOWN)));
    rig.settle();
    let to: Vec<SocketAddr> = rig.link.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [next_hop(); 2]);
}

#[test]
fn more_next_hops_at_a_time_than_the_table_holds_are_refused() {
    const TOO_MANY: usize = 20;
    let own = key(14, UNKNOWN);
    let mut large = config(FinalHops::Drop);
    large.capacity = [0, PEERS_MAX + TOO_MANY, 0, 0, 0];
    let second = Span::from_millis(1_000).as_nanos();
    let all: Vec<SocketAddr> = (1..=PEERS_MAX + TOO_MANY)
        .map(|port| SocketAddr::new(next_hop().ip(), port as u16))
        .collect();
    let frames: Vec<u8> = all
        .iter()
        .flat_map(|&to| frame(&packet(own.secret.public(), Some((to, second)), b"x"), UNKNOWN))
        .collect();
    let mut rig = Rig::new(only(own), &large);
    rig.shard.set_next_hops(NextHops::only(all));
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!(dropped(&rig, DropReason::PeerTableFull), TOO_MANY as u64);
    rig.at(Time::from_nanos(2 * second));
    assert_eq!(rig.link.sent.len(), PEERS_MAX);
}

#[test]
fn strangers_cannot_take_the_places_of_next_hops_in_use() {
    let own = key(15, UNKNOWN);
    let mut large = config(FinalHops::Drop);
    large.capacity = [0, PEERS_MAX, 0, 0, 0];
    let to = |number: usize| {
        let ip = core::net::Ipv4Addr::from_bits(0x0a00_0001 + number as u32);
        SocketAddr::new(ip.into(), 1789)
    };
    let frames = |delay: u64, numbers: core::ops::Range<usize>| -> Vec<u8> {
        numbers
            .flat_map(|number| {
                let to = Some((to(number), delay));
                frame(&packet(own.secret.public(), to, b"x"), UNKNOWN)
            })
            .collect()
    };
    let (known, second) = (0..4, Span::from_millis(1_000).as_nanos());
    let mut rig = Rig::new(only(own.clone()), &large);
    rig.link.incoming.extend(frames(0, known.clone()));
    rig.settle();
    assert_eq!(rig.link.sent.len(), known.len());
    // Nobody answers at these addresses, and each has a packet on its way.
    rig.link.incoming.extend(frames(second, 100..100 + STRANGERS_MAX + 50));
    rig.settle();
    assert_eq!(dropped(&rig, DropReason::PeerTableFull), 50);
    rig.link.incoming.extend(frames(0, known.clone()));
    rig.settle();
    assert_eq!(rig.link.sent.len(), 2 * known.len());
    assert_eq!(dropped(&rig, DropReason::PeerTableFull), 50);
}

#[test]
fn a_node_that_knows_its_network_sends_nowhere_else() {
    let own = key(16, UNKNOWN);
    let elsewhere: SocketAddr = "127.0.0.10:1789".parse().unwrap();
    let packets = [next_hop(), elsewhere].map(|to| {
        let packet = packet(own.secret.public(), Some((to, 0)), b"x");
        frame(&packet, UNKNOWN)
    });
    let mut rig = mix(own);
    rig.shard.set_next_hops(NextHops::only([next_hop()]));
    rig.link.incoming.extend(packets.concat());
    rig.settle();
    assert_eq!(rig.link.sent.len(), 1);
    assert_eq!(rig.link.sent[0].0, next_hop());
    assert_eq!(dropped(&rig, DropReason::NextHopUnknown), 1);
}

#[test]
fn a_final_hop_is_delivered_where_the_role_delivers() {
    let own = key(7, UNKNOWN);
    let frames = frame(&packet(own.secret.public(), None, b"hello"), UNKNOWN);
    let mut rig = Rig::new(only(own), &config(FinalHops::Deliver));
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!(rig.mailbox.0, [b"hello"]);
    assert_eq!(rig.shard.counters().delivered, 1);
}

#[test]
fn each_rotation_has_its_key_and_an_unknown_one_tries_both() {
    let (odd, even) = (key(8, KeyRotation::Odd), key(9, KeyRotation::Even));
    let keys = Keys { primary: odd.clone(), secondary: Some(even.clone()) };
    let mut rig = Rig::new(keys, &config(FinalHops::Drop));
    for (made_for, says) in [
        (&odd, KeyRotation::Odd),
        (&even, KeyRotation::Even),
        (&odd, KeyRotation::Unknown),
        (&even, KeyRotation::Unknown),
        (&odd, KeyRotation::Even),
    ] {
        rig.link.incoming.extend(frame(&forward(made_for, 0), says));
    }
    rig.settle();
    assert_eq!(rig.link.sent.len(), 4);
    assert_eq!(dropped(&rig, DropReason::HeaderMac), 1);
    assert_eq!([even.replay.len(), odd.replay.len()], [2, 2]);

    rig.shard.set_keys(only(even));
    rig.link.incoming.extend(frame(&forward(&odd, 0), KeyRotation::Odd));
    rig.settle();
    assert_eq!(dropped(&rig, DropReason::KeyUnknown), 1);
}

#[test]
fn a_next_hop_that_takes_nothing_costs_patience_and_no_more() {
    let own = key(10, UNKNOWN);
    let frames: Vec<u8> = (0..20).flat_map(|_| frame(&forward(&own, 0), UNKNOWN)).collect();
    let mut rig = mix(own);
    rig.link.stalled = true;
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!(rig.shard.held().queued, 20);
    rig.at(Time::ZERO.after(EGRESS_PATIENCE));
    assert_eq!(dropped(&rig, DropReason::PeerUnreachable), 20);
    assert_eq!(rig.shard.held().total(), 0);
}

#[test]
fn without_slots_packets_are_counted_and_the_stream_goes_on() {
    let own = key(11, UNKNOWN);
    let frames: Vec<u8> = (0..5).flat_map(|_| frame(&forward(&own, 0), UNKNOWN)).collect();
    let mut small = config(FinalHops::Drop);
    small.capacity = [0, 3, 0, 0, 0];
    let mut rig = Rig::new(only(own.clone()), &small);
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!((rig.link.sent.len(), dropped(&rig, DropReason::PoolEmpty)), (3, 2));
    rig.link.incoming.extend(frame(&forward(&own, 0), UNKNOWN));
    rig.settle();
    assert_eq!(rig.link.sent.len(), 4);
}

#[test]
fn a_node_that_stops_counts_what_it_drops() {
    let own = key(12, UNKNOWN);
    let frames: Vec<u8> =
        (0..7).flat_map(|_| frame(&forward(&own, 1_000_000_000), UNKNOWN)).collect();
    let mut rig = mix(own);
    rig.link.incoming.extend(frames);
    rig.settle();
    assert_eq!(rig.shard.held().delayed, 7);
    assert_eq!(rig.shard.abandon(), 7);
    rig.shard.audit(0);
    assert_eq!(dropped(&rig, DropReason::Stopping), 7);
}
