//! What a shard measures of itself.

use std::cell::Cell;

use phix_engine::shard::{Clock, FinalHops, NoSource, turn};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;

use crate::common::{Rig, config, frame, key, next_hop, only, packet};

const DELAY: Span = Span::from_millis(50);

fn rig_with(packets: usize, delay: Span) -> Rig {
    let own = key(40, KeyRotation::Unknown);
    let to = Some((next_hop(), delay.as_nanos()));
    let one = || frame(&packet(own.secret.public(), to, b"on"), KeyRotation::Unknown);
    let frames: Vec<u8> = (0..packets).flat_map(|_| one()).collect();
    let mut rig = Rig::new(only(own), &config(FinalHops::Drop));
    rig.link.incoming.extend(frames);
    rig
}

#[test]
fn lateness_counts_from_the_deadline_to_the_link() {
    let mut rig = rig_with(3, DELAY);
    rig.settle();
    assert_eq!(rig.shard.histograms().lateness.count(), 0, "they wait");
    let late = Span::from_millis(4);
    rig.at(Time::ZERO.after(DELAY).after(late));
    let lateness = &rig.shard.histograms().lateness;
    assert_eq!((lateness.count(), lateness.nanos()), (3, 3 * late.as_nanos()));
}

#[test]
fn lateness_counts_the_wait_for_a_next_hop() {
    let mut rig = rig_with(1, Span::ZERO);
    rig.link.stalled = true;
    rig.settle();
    rig.at(Time::ZERO.after(DELAY));
    rig.link.stalled = false;
    rig.settle();
    assert_eq!(rig.shard.histograms().lateness.nanos(), DELAY.as_nanos());
}

/// A clock on which a millisecond passes between two readings.
struct Passing(Cell<u64>);

impl Clock for Passing {
    fn now(&self) -> Time {
        self.0.set(self.0.get() + 1);
        Time::ZERO.after(Span::from_millis(self.0.get()))
    }
}

#[test]
fn lateness_counts_the_time_that_a_batch_takes() {
    let Rig { mut shard, mut link, mut mailbox, .. } = rig_with(1, Span::ZERO);
    let clock = Passing(Cell::new(0));
    let mut take_turn =
        || turn(&mut shard, &mut link, &mut mailbox, &mut NoSource, &clock).unwrap();
    let arrived = take_turn();
    let left = take_turn();
    assert_eq!(
        left.since(arrived),
        Span::from_millis(2),
        "one reading before the batch, one after"
    );
    assert_eq!(link.sent.len(), 1);
    assert_eq!(shard.histograms().lateness.nanos(), left.since(arrived).as_nanos());
    assert_eq!(shard.histograms().batch_wait.nanos(), Span::from_millis(1).as_nanos());
}

#[test]
fn what_becomes_due_during_a_batch_leaves_in_the_same_turn() {
    let rig = rig_with(1, Span::from_micros(1_500));
    let Rig { mut shard, mut link, mut mailbox, .. } = rig;
    let clock = Passing(Cell::new(0));
    let mut take_turn =
        || turn(&mut shard, &mut link, &mut mailbox, &mut NoSource, &clock).unwrap();
    let arrived = take_turn();
    assert_eq!(take_turn().since(arrived), Span::from_millis(2));
    assert_eq!(link.sent.len(), 1);
}

#[test]
fn batches_are_counted_by_size() {
    let packets = 16 + 5;
    let mut rig = rig_with(packets, DELAY);
    rig.settle();
    let sizes = &rig.shard.histograms().batch_size;
    assert_eq!([4, 5, 15, 16].map(|size| sizes.up_to(size)), [0, 1, 1, 2]);
    assert_eq!(sizes.packets(), packets as u64);
    assert_eq!(rig.shard.histograms().batch_wait.count(), packets as u64);
}
