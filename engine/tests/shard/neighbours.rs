//! Several shards of one node: packets that pass from one to another.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use phix_engine::counters::{Counters, DropReason};
use phix_engine::egress::PeerId;
use phix_engine::intake::Intake;
use phix_engine::limits::{HANDOVER_MAX, TICK};
use phix_engine::pool::Pool;
use phix_engine::shard::{
    Completion, Config, FinalHops, Link, NoSource, NodeKey, Outgoing, Seat, Shard, Wait, turn,
};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;

use crate::common::{Hand, Mailbox, Rig, config, frame, key, next_hop, only, packet};

const UNKNOWN: KeyRotation = KeyRotation::Unknown;

fn node(own: &NodeKey, config: &Config, shards: usize) -> Vec<Rig> {
    let seats = Seat::several(config.capacity, shards).into_iter();
    seats.map(|seat| Rig::seated(seat, only(own.clone()), config)).collect()
}

fn pair(own: &NodeKey, config: &Config) -> (Rig, Rig) {
    let mut rigs = node(own, config, 2);
    let second = rigs.pop().unwrap();
    (rigs.pop().unwrap(), second)
}

fn frames(own: &NodeKey, count: usize, delay: Span) -> Vec<u8> {
    let to = Some((next_hop(), delay.as_nanos()));
    (0..count)
        .flat_map(|_| frame(&packet(own.secret.public(), to, b"on"), KeyRotation::Odd))
        .collect()
}

fn counters(rigs: &[&Rig]) -> Counters {
    let mut sum = Counters::default();
    rigs.iter().for_each(|rig| sum.add(rig.shard.counters()));
    sum
}

#[test]
fn half_of_what_is_too_much_goes_to_a_neighbour_with_time() {
    let own = key(30, UNKNOWN);
    let (mut busy, mut free) = pair(&own, &config(FinalHops::Drop));
    let frames = frames(&own, 100, Span::ZERO);
    // Nobody gives to a shard that has not said yet that it has time.
    busy.link.incoming.extend(&frames[..frames.len() / 2]);
    busy.turn();
    assert_eq!(busy.shard.counters().handed_over, 0);
    free.turn();
    busy.link.incoming.extend(&frames[frames.len() / 2..]);
    busy.turn();
    // 34 were left of the first 50 and 84 are ready; half of them, in whole batches of 16, go.
    assert_eq!(busy.shard.counters().handed_over, 32);
    assert_eq!(free.shard.deadline(), Wait::No);
    assert_eq!(busy.link.woken, [0; 0], "it is awake");
    for _ in 0..20 {
        free.turn();
        busy.turn();
    }
    let (b, f) = (busy.shard.counters(), free.shard.counters());
    assert_eq!((b.received, f.received), (100, 0));
    assert_eq!((b.handed_over, b.batched), (f.taken_over, 100 - f.batched));
    assert_eq!((busy.link.sent.len(), free.link.sent.len()), (68, 32));
}

#[test]
fn the_delay_counts_from_the_arrival_at_the_first_shard() {
    let own = key(31, UNKNOWN);
    let (mut busy, mut free) = pair(&own, &config(FinalHops::Drop));
    let delay = Span::from_millis(50);
    free.turn();
    busy.link.incoming.extend(frames(&own, 32, delay));
    let arrival = Time::from_nanos(1_000_000_007);
    busy.clock.0.set(arrival);
    busy.turn();
    assert_eq!(busy.shard.counters().handed_over, 16);
    free.at(arrival.after(Span::from_millis(20)));
    assert_eq!(free.shard.held().delayed, 16);
    free.at(Time::from_nanos(arrival.after(delay).as_nanos() - 1));
    assert!(free.link.sent.is_empty(), "never early");
    free.at(arrival.after(delay).after(TICK));
    assert_eq!(free.link.sent.len(), 16);
}

#[test]
fn frames_of_every_rotation_and_size_stay_what_they_are() {
    let own = key(32, UNKNOWN);
    let (mut one, mut two) = pair(&own, &config(FinalHops::Drop));
    two.turn();
    let sent = frames(&own, 64, Span::ZERO);
    one.link.incoming.extend(&sent);
    for _ in 0..10 {
        one.turn();
        two.turn();
    }
    assert!(two.link.sent.len() >= 16);
    for (to, frame) in one.link.sent.iter().chain(&two.link.sent) {
        assert_eq!(*to, next_hop());
        assert_eq!(frame[..2], sent[..2], "version and size");
        assert_eq!(frame.len(), sent.len() / 64);
        assert!(frame.contains(&KeyRotation::Odd.byte()));
    }
}

#[test]
fn a_replay_is_one_also_if_its_original_went_to_a_neighbour() {
    let own = key(33, UNKNOWN);
    let (mut one, mut two) = pair(&own, &config(FinalHops::Drop));
    let sent = frames(&own, 64, Span::ZERO);
    for _ in 0..2 {
        two.turn();
        one.link.incoming.extend(&sent);
        (0..20).for_each(|_| {
            one.turn();
            two.turn();
        });
    }
    let sum = counters(&[&one, &two]);
    assert!(two.shard.counters().taken_over >= 32);
    assert_eq!((sum.forwarded, sum.dropped(DropReason::Replay)), (64, 64));
}

#[test]
fn a_neighbour_without_slots_is_left_nothing() {
    let own = key(34, UNKNOWN);
    let mut small = config(FinalHops::Drop);
    small.capacity = [0, 32, 0, 0, 0];
    let (mut busy, mut full) = pair(&own, &small);
    full.link.incoming.extend(frames(&own, 32, Span::from_millis(1_000)));
    full.settle();
    busy.link.incoming.extend(frames(&own, 32, Span::ZERO));
    busy.settle();
    assert_eq!((busy.shard.counters().handed_over, busy.link.sent.len()), (0, 32));
    // Once its packets are gone, it has room again: for as many as a sixteenth of its slots.
    full.at(Time::ZERO.after(Span::from_millis(1_010)));
    busy.link.incoming.extend(frames(&own, 32, Span::ZERO));
    busy.turn();
    full.settle();
    assert_eq!((busy.shard.counters().handed_over, full.link.sent.len()), (2, 34));
}

#[test]
fn who_leaves_takes_what_is_his_and_nothing_any_more() {
    let own = key(35, UNKNOWN);
    let (mut one, mut two) = pair(&own, &config(FinalHops::Drop));
    two.turn();
    one.link.incoming.extend(frames(&own, 64, Span::ZERO));
    one.turn();
    assert_eq!(two.shard.counters().taken_over, 0);
    two.shard.leave();
    two.shard.audit(0);
    assert_eq!(two.shard.counters().taken_over, one.shard.counters().handed_over);
    two.settle();
    let given = one.shard.counters().handed_over;
    one.link.incoming.extend(frames(&own, 64, Span::ZERO));
    one.settle();
    assert_eq!(one.shard.counters().handed_over, given, "nothing goes to who has left");
    assert_eq!(counters(&[&one, &two]).forwarded, 128);
    // Nor to who has ended without a word.
    let (mut one, two) = pair(&own, &config(FinalHops::Drop));
    drop(two);
    one.link.incoming.extend(frames(&own, 64, Span::ZERO));
    one.settle();
    assert_eq!(one.shard.counters().handed_over, 0);
}

/// A link whose wait lasts until another shard has taken a turn.
struct Dozing<'a> {
    other: &'a mut Rig,
    waits: Vec<Wait>,
}

impl Link for Dozing<'_> {
    type Error = Infallible;

    fn receive(&mut self, _intake: Intake<'_>, wait: Wait) -> Result<(), Infallible> {
        self.waits.push(wait);
        self.other.turn();
        Ok(())
    }

    fn room(&mut self, _peer: PeerId, _address: SocketAddr, _now: Time) -> usize {
        0
    }

    fn send(&mut self, _peer: PeerId, _packets: Outgoing, _front: usize, _pool: &mut Pool) {
        unreachable!("there was no room")
    }

    fn completed(&mut self) -> Option<Completion> {
        None
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn assembling(&self) -> usize {
        0
    }

    fn wake(&mut self, _shard: usize) {
        unreachable!("it hands nothing over")
    }
}

#[test]
fn a_neighbour_that_sleeps_is_woken_once_for_all_that_it_gets() {
    let own = key(36, UNKNOWN);
    let config = config(FinalHops::Drop);
    let mut seats = Seat::several(config.capacity, 2);
    let mut sleeper = Shard::seated(seats.pop().unwrap(), &config, only(own.clone()), Time::ZERO);
    let mut other = Rig::seated(seats.pop().unwrap(), only(own.clone()), &config);
    other.link.incoming.extend(frames(&own, 100, Span::ZERO));
    let mut link = Dozing { other: &mut other, waits: Vec::new() };
    let (mut sink, clock) = (Mailbox::default(), Hand::default());
    let Ok(_) = turn(&mut sleeper, &mut link, &mut sink, &mut NoSource, &clock);
    assert_eq!(
        (link.waits.as_slice(), link.other.link.woken.as_slice()),
        (&[Wait::Forever][..], &[1][..])
    );
    assert_eq!(sleeper.counters().taken_over, 32, "as many as there are cells");
    // It has things to do now, and nobody has to wake it.
    let Ok(_) = turn(&mut sleeper, &mut link, &mut sink, &mut NoSource, &clock);
    assert_eq!(link.waits[1], Wait::No);
    assert_eq!(link.other.link.woken, [1]);
}

/// Shards on threads of their own, all packets at the first: nothing is lost, nothing comes twice,
/// whoever leaves when.
#[test]
fn shards_that_run_at_the_same_time_account_for_every_packet() {
    const SHARDS: usize = 4;
    const PACKETS: usize = 1_000;
    let own = key(37, UNKNOWN);
    let mut config = config(FinalHops::Drop);
    config.capacity = [0, 2 * PACKETS, 0, 0, 0];
    assert!(config.batch * 2 < HANDOVER_MAX);
    let mut rigs = node(&own, &config, SHARDS);
    let twice = frames(&own, PACKETS, Span::ZERO);
    rigs[0].link.incoming.extend(&twice);
    rigs[0].link.incoming.extend(&twice);
    let ended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (number, rig) in rigs.iter_mut().enumerate() {
            let ended = &ended;
            scope.spawn(move || {
                let mut seen = 0;
                let done = |rig: &Rig| {
                    let c = rig.shard.counters();
                    (c.forwarded + c.dropped_total()) as usize
                };
                while ended.load(Ordering::Relaxed) < 2 * PACKETS {
                    rig.turn();
                    let now = done(rig);
                    ended.fetch_add(now - seen, Ordering::Relaxed);
                    seen = now;
                    // One of them goes before the end.
                    if number == 2 && rig.shard.counters().taken_over > 100 {
                        rig.shard.leave();
                    }
                }
                rig.shard.leave();
                rig.settle();
            });
        }
    });
    let all: Vec<&Rig> = rigs.iter().collect();
    let sum = counters(&all);
    assert_eq!(sum.received as usize, 2 * PACKETS);
    assert_eq!((sum.forwarded, sum.dropped(DropReason::Replay)), (1_000, 1_000));
    assert_eq!(sum.handed_over, sum.taken_over);
    assert!(sum.handed_over > 0);
    let mut sent: Vec<&Vec<u8>> =
        rigs.iter().flat_map(|rig| rig.link.sent.iter().map(|(_, frame)| frame)).collect();
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), PACKETS);
}
