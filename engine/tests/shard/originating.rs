//! Packets that begin their way at a node.

use std::net::SocketAddr;

use phix_engine::counters::DropReason;
use phix_engine::limits::{ORIGINATE_MAX, PEER_QUEUE_MAX};
use phix_engine::shard::{FinalHops, Origin, Shard, Source, Wait, turn};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;

use crate::common::{Hand, Mailbox, Straight, config, frame, key, next_hop, only, packet};

/// So many packets of one kind, and whether the shard has said that it waits.
struct Repeated {
    packet: Vec<u8>,
    to: SocketAddr,
    left: usize,
    asleep: bool,
}

impl Source for Repeated {
    fn next(&mut self) -> Option<Origin<'_>> {
        self.left = self.left.checked_sub(1)?;
        Some(Origin { next_hop: self.to, rotation: KeyRotation::Even, packet: &self.packet })
    }

    fn rest(&mut self) -> bool {
        self.asleep = self.left == 0;
        self.asleep
    }

    fn rise(&mut self) {
        self.asleep = false;
    }
}

fn acks(count: usize, to: SocketAddr) -> Repeated {
    let packet = vec![0xac; PacketSize::Ack.packet_len()];
    Repeated { packet, to, left: count, asleep: false }
}

struct Rig {
    shard: Shard,
    link: Straight,
    clock: Hand,
}

impl Rig {
    fn new(acks: usize, frames: FrameVersion) -> Self {
        let mut config = config(FinalHops::Drop);
        config.capacity[PacketSize::Ack.index()] = acks;
        config.frames = frames;
        let shard = Shard::new(&config, only(key(7, KeyRotation::Unknown)), Time::ZERO);
        Self { shard, link: Straight::default(), clock: Hand::default() }
    }

    fn turn(&mut self, source: &mut Repeated) {
        let Self { shard, link, clock } = self;
        let Ok(_) = turn(shard, link, &mut Mailbox::default(), source, clock);
        shard.audit(0);
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.shard.counters().dropped(reason)
    }
}

#[test]
fn they_leave_in_the_turn_in_which_they_are_taken_as_they_were_given() {
    for (frames, header) in
        [(FrameVersion::Current, &[8, 2, 0, 2][..]), (FrameVersion::Legacy, &[7, 2, 0])]
    {
        let mut rig = Rig::new(64, frames);
        let mut source = acks(3, "[::ffff:127.0.0.9]:1789".parse().unwrap());
        rig.turn(&mut source);
        assert_eq!(rig.link.sent.len(), 3);
        for (to, frame) in &rig.link.sent {
            assert_eq!((*to, &frame[..header.len()]), (next_hop(), header));
            assert_eq!(frame[header.len()..], source.packet);
        }
        let counters = rig.shard.counters();
        assert_eq!((counters.originated, counters.forwarded, counters.received), (3, 3, 0));
        let lateness = &rig.shard.histograms().lateness;
        assert_eq!((lateness.count(), lateness.nanos()), (3, 0), "nothing was late");
    }
}

#[test]
fn a_turn_takes_a_bounded_number_and_the_shard_does_not_wait_while_there_are_more() {
    let mut rig = Rig::new(1024, FrameVersion::Current);
    let mut source = acks(ORIGINATE_MAX + 1, next_hop());
    rig.turn(&mut source);
    assert_eq!(rig.shard.counters().originated, ORIGINATE_MAX as u64);
    rig.turn(&mut source);
    assert_eq!(rig.shard.counters().originated, ORIGINATE_MAX as u64 + 1);
    assert_eq!(source.left, 0);
    (0..4).for_each(|_| rig.turn(&mut source));
    assert_eq!((rig.shard.held().total(), source.asleep), (0, false));
    assert_eq!(rig.shard.deadline(), Wait::Forever);
}

#[test]
fn what_there_is_no_room_for_is_dropped_and_counted() {
    let mut rig = Rig::new(5, FrameVersion::Current);
    rig.link.stalled = true;
    rig.turn(&mut acks(8, next_hop()));
    assert_eq!((rig.dropped(DropReason::PoolEmpty), rig.shard.held().queued), (3, 5));
    rig.turn(&mut acks(1, "0.0.0.0:1789".parse().unwrap()));
    assert_eq!(rig.dropped(DropReason::NextHopRefused), 1);
    rig.clock.0.set(Time::ZERO.after(Span::from_millis(3_000)));
    rig.turn(&mut acks(0, next_hop()));
    assert_eq!((rig.dropped(DropReason::PeerUnreachable), rig.shard.held().total()), (5, 0));

    let mut rig = Rig::new(PEER_QUEUE_MAX + 8, FrameVersion::Current);
    rig.link.stalled = true;
    let mut source = acks(PEER_QUEUE_MAX + 8, next_hop());
    while source.left > 0 {
        rig.turn(&mut source);
    }
    assert_eq!(rig.dropped(DropReason::PeerQueueFull), 8);
    rig.link.stalled = false;
    while rig.shard.held().total() > 0 {
        rig.turn(&mut source);
    }
    assert_eq!(rig.shard.counters().forwarded, PEER_QUEUE_MAX as u64);
}

#[test]
fn what_becomes_of_final_hops_changes_while_packets_wait() {
    let own = key(7, KeyRotation::Unknown);
    let mut rig = Rig::new(64, FrameVersion::Current);
    let ends_here = || frame(&packet(own.secret.public(), None, b"here"), KeyRotation::Unknown);
    let delay = Some((next_hop(), 5_000_000));
    let goes_on = frame(&packet(own.secret.public(), delay, b"on"), KeyRotation::Unknown);
    rig.link.incoming.extend(ends_here().into_iter().chain(goes_on));
    let mut none = acks(0, next_hop());
    (0..3).for_each(|_| rig.turn(&mut none));
    assert_eq!((rig.dropped(DropReason::FinalHopRefused), rig.shard.held().delayed), (1, 1));
    rig.shard.set_final_hops(FinalHops::Deliver);
    rig.link.incoming.extend(ends_here());
    (0..3).for_each(|_| rig.turn(&mut none));
    assert_eq!((rig.shard.counters().delivered, rig.shard.held().delayed), (1, 1));
    rig.clock.0.set(Time::ZERO.after(Span::from_millis(6)));
    (0..3).for_each(|_| rig.turn(&mut none));
    assert_eq!((rig.shard.counters().forwarded, rig.shard.held().total()), (1, 0));
}
