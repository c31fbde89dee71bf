//! After a shard is built, packets pass through it without a single allocation.

use std::convert::Infallible;

use crate::common::{Hand, Mailbox, config, frame, key, next_hop, only, packet};
use phix_engine::egress::PeerId;
use phix_engine::intake::{Assembler, Intake};
use phix_engine::limits::SEND_MAX;
use phix_engine::pool::Pool;
use phix_engine::shard::{
    Completion, FinalHops, Link, NoSource, Origin, Outgoing, Shard, Source, Wait, turn,
};
use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;

const PACKETS: usize = 300;

/// A link that allocates nothing itself: bytes from a slice, sends that end at once.
struct Bare<'a> {
    incoming: &'a [u8],
    assembler: Assembler,
    completed: Vec<Completion>,
    forwarded: usize,
}

impl Link for Bare<'_> {
    type Error = Infallible;

    fn receive(&mut self, mut intake: Intake<'_>, _wait: Wait) -> Result<(), Infallible> {
        let piece = &self.incoming[..self.incoming.len().min(20_000)];
        let used = self.assembler.push(piece, &mut intake).unwrap();
        self.incoming = &self.incoming[used..];
        Ok(())
    }

    fn room(&mut self, _peer: PeerId, _address: std::net::SocketAddr, _now: Time) -> usize {
        SEND_MAX
    }

    fn send(&mut self, _peer: PeerId, packets: Outgoing, _front: usize, _pool: &mut Pool) {
        self.forwarded += packets.len();
        self.completed.extend(packets.into_iter().map(|slot| Completion { slot, sent: true }));
    }

    fn completed(&mut self) -> Option<Completion> {
        self.completed.pop()
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn assembling(&self) -> usize {
        self.assembler.held()
    }

    fn wake(&mut self, _shard: usize) {
        unreachable!("a shard without neighbours wakes nobody")
    }
}

/// As many packets of the same bytes as are wanted.
struct Same {
    packet: Vec<u8>,
    left: usize,
}

impl Source for Same {
    fn next(&mut self) -> Option<Origin<'_>> {
        self.left = self.left.checked_sub(1)?;
        let (next_hop, rotation) = (next_hop(), KeyRotation::Odd);
        Some(Origin { next_hop, rotation, packet: &self.packet })
    }

    fn rest(&mut self) -> bool {
        self.left == 0
    }

    fn rise(&mut self) {}
}

#[test]
fn packets_begin_without_allocation() {
    let own = key(20, KeyRotation::Unknown);
    let mut shard = Shard::new(&config(FinalHops::Drop), only(own), Time::ZERO);
    let completed = Vec::with_capacity(SEND_MAX);
    let assembler = Assembler::default();
    let mut link = Bare { incoming: &[], assembler, completed, forwarded: 0 };
    let mut source = Same { packet: vec![7; 2_413], left: 0 };
    let (mut sink, clock) = (Mailbox::default(), Hand::default());
    let mut run = |count: usize| {
        source.left = count;
        for _ in 0..20 {
            let Ok(_) = turn(&mut shard, &mut link, &mut sink, &mut source, &clock);
        }
    };
    run(1);
    let counted = allocation_counter::measure(|| run(PACKETS));
    assert_eq!((link.forwarded, counted.count_total), (PACKETS + 1, 0));
}

#[test]
fn packets_pass_without_allocation() {
    let own = key(20, KeyRotation::Unknown);
    let delay = Span::from_millis(3).as_nanos();
    let make = |to| frame(&packet(own.secret.public(), to, b"on"), KeyRotation::Unknown);
    let mut frames: Vec<u8> = (0..PACKETS).flat_map(|_| make(Some((next_hop(), delay)))).collect();
    // A replay and a packet that ends here take their own ways.
    frames.extend_from_within(..2_417);
    frames.extend(make(None));
    let mut shard = Shard::new(&config(FinalHops::Drop), only(own), Time::ZERO);
    let mut link = Bare {
        incoming: &frames,
        assembler: Assembler::default(),
        completed: Vec::with_capacity(SEND_MAX),
        forwarded: 0,
    };
    let (mut sink, clock) = (Mailbox::default(), Hand::default());
    let mut run = |turns: u64, link: &mut Bare<'_>| {
        for _ in 0..turns {
            clock.0.set(clock.0.get().after(Span::from_millis(1)));
            let Ok(_) = turn(&mut shard, link, &mut sink, &mut NoSource, &clock);
        }
    };
    // The first packets make the entry of their next hop, which is the one thing that may allocate.
    run(20, &mut link);
    let before = link.forwarded;
    let counted = allocation_counter::measure(|| run(100, &mut link));
    assert!(before > 0 && link.forwarded - before > PACKETS / 2, "{before} {}", link.forwarded);
    assert_eq!(link.forwarded, PACKETS);
    assert_eq!(counted.count_total, 0);
}
