//! The load tester against a node that runs as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;

use phix_client::keyfile::{self, KeyKind};
use phix_client::packet::SphinxVersion;
use phix_client::tester::book::Book;
use phix_client::tester::drive::{self, Load, Manner};
use phix_client::tester::prepare::{Delay, Recipe, Target, prepare};
use phix_client::tester::receiving::Home;
use phix_engine::units::Span;
use phix_engine::wire::frame::{FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use rustix::process::Signal;

use crate::common::{Node, Running};

const PACKETS: u64 = 600;

/// Runs a load of `PACKETS` packets against the node at `address`.
fn offer(address: SocketAddr, key: [u8; 32]) -> drive::Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let recipe = Recipe {
        target: Target::Node { address, key },
        home: listener.local_addr().unwrap(),
        frame: FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown),
        version: SphinxVersion::V259,
        delay: Delay::Exponential(Span::from_millis(10)),
        noise: false,
    };
    let mut prepared = prepare(&recipe, PACKETS as usize, |_| ()).unwrap();
    let offsets: Vec<_> = (0..PACKETS).map(|i| Span::from_micros(2_000 * i)).collect();
    let load = Load {
        frames: &mut prepared.frames,
        stride: prepared.stride,
        book: Book::new(prepared.rows, &offsets),
        first_hops: &prepared.first_hops,
        speech: None,
    };
    let manner =
        Manner { connections: 2, cpu: None, warm_up: Span::ZERO, drain: Span::from_millis(3_000) };
    let mut home = Home::new(listener).unwrap();
    drive::run(load, manner, &mut home, &AtomicBool::new(false), |_| ()).unwrap()
}

#[test]
fn nothing_is_lost_at_a_low_rate() {
    let node = Node::new();
    let secret = keyfile::read(&node.dir.join("keys/sphinx.key"), KeyKind::Sphinx).unwrap();
    let running = Running::start(&mut node.phix("run", &[]));
    let outcome = offer(running.address(), KeyKind::Sphinx.public(&secret));
    assert_eq!((outcome.counts.sent, outcome.counts.intact), (PACKETS, PACKETS));
    assert_eq!((outcome.counts.duplicates, outcome.counts.unknown), (0, 0));
    assert_eq!(outcome.measured.early, 0);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    running.stop(Signal::TERM);
}
