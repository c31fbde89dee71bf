//! The end of a server, in good order and otherwise; and starts that are refused.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::shard::{Delivery, FinalHops, Sink, Undelivered};
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;
use phix_io::{Refuse, Server};

use crate::common::{
    accept, assert_balance, assert_same, build, config, connect, each, frame, hop, keys, read,
    send, several, sphinx, start, start_with, until,
};

#[test]
fn a_stop_sends_what_is_due() {
    each(|link| {
        let hop = hop();
        let server = start(config(link));
        let to = hop.local_addr().unwrap();
        let delay = Duration::from_millis(300);
        let sent: Vec<_> = (0..20).map(|_| build(to, delay, PacketSize::Regular)).collect();
        let mut connection = send(&server, &sent);
        until(&server, "received", |counters| counters.received == 20);
        let address = server.address();
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.counters.forwarded, report.abandoned), (20, 0));
        assert!(report.took < Duration::from_millis(1500), "{:?}", report.took);
        let mut from = accept(&hop);
        assert_same(read(&mut from, 20, FrameVersion::Current), &sent);
        assert_eq!(from.read(&mut [0]).unwrap(), 0, "a stop ends connections in order");
        assert!(crate::common::is_closed(&mut connection));
        assert!(std::net::TcpStream::connect(address).is_err());
    });
}

#[test]
fn an_absurd_delay_is_clamped_and_a_drain_is_limited() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.drain = Duration::from_millis(300);
        let server = start(config);
        let day = Duration::from_secs(86_400);
        let sent: Vec<_> =
            (0..5).map(|_| build(hop.local_addr().unwrap(), day, PacketSize::Regular)).collect();
        let _connection = send(&server, &sent);
        until(&server, "clamped", |counters| counters.delays_clamped == 5);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.abandoned, report.counters.dropped(DropReason::Stopping)), (5, 5));
        let took = report.took;
        assert!((Duration::from_millis(300)..Duration::from_secs(2)).contains(&took), "{took:?}");
    });
}

#[test]
fn a_kill_sends_nothing_more() {
    each(|link| {
        let hop = hop();
        let server = start(config(link));
        let to = hop.local_addr().unwrap();
        let _open = send(&server, &several(1, to));
        let mut from = accept(&hop);
        read(&mut from, 1, FrameVersion::Current);
        let delay = Duration::from_millis(200);
        let built: Vec<_> = (0..20).map(|_| build(to, delay, PacketSize::Regular)).collect();
        let _connection = send(&server, &built);
        until(&server, "received", |counters| counters.received == 21);
        let report = server.kill();
        assert_balance(&report);
        assert_eq!((report.counters.forwarded, report.abandoned), (1, 20));
        assert!(report.took < Duration::from_secs(1), "{:?}", report.took);
        let end = from.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_kill_takes_back_what_is_in_flight() {
    each(|link| {
        let stuck = hop();
        let server = start(config(link));
        let to = stuck.local_addr().unwrap();
        let mut connections = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.held().in_flight == 0 || server.held().queued == 0 {
            assert!(Instant::now() < deadline, "{:?}", server.counters());
            let size = PacketSize::Extended32;
            let more: Vec<_> = (0..50).map(|_| build(to, Duration::ZERO, size)).collect();
            connections.push(send(&server, &more));
            std::thread::sleep(Duration::from_millis(30));
        }
        let report = server.kill();
        assert_balance(&report);
        assert!(report.counters.dropped(DropReason::ConnectionLost) > 0);
        assert!(report.took < Duration::from_secs(1), "{:?}", report.took);
    });
}

#[test]
fn new_keys_serve_what_comes_after() {
    each(|link| {
        let hop = hop();
        let server = start(config(link));
        let sent = several(2, hop.local_addr().unwrap());
        let mut other = keys();
        other.primary.secret = phix_engine::secret::NodeSecret::from_bytes([9; 32]);
        server.set_keys(other);
        let _first = send(&server, &sent[..1]);
        let wrong = DropReason::HeaderMac;
        until(&server, "wrong key", |counters| counters.dropped(wrong) == 1);
        server.set_keys(keys());
        let _second = send(&server, &sent[1..]);
        assert_same(read(&mut accept(&hop), 1, FrameVersion::Current), &sent[1..]);
    });
}

#[test]
fn a_start_that_is_refused_is_said_in_a_sentence() {
    each(|link| {
        let server = start(config(link));
        let mut second = config(link);
        second.listen = server.address();
        let error = Server::start(second, keys(), |_| Refuse).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {}", server.address())), "{error}");
        assert!(error.contains("address already in use; choose another"), "{error}");
        let mut none = config(link);
        none.shards = 0;
        assert!(Server::start(none, keys(), |_| Refuse).is_err());
        let mut foreign = config(link);
        foreign.source = Some("9.9.9.9".parse().unwrap());
        let error = Server::start(foreign, keys(), |_| Refuse).unwrap_err().to_string();
        assert!(error.contains("leave it out"), "{error}");
    });
}

#[test]
fn pinned_threads_and_a_source_address() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.pin = true;
        config.shards = 2;
        config.source = Some("127.0.0.77".parse().unwrap());
        let server = start(config);
        let sent = several(3, hop.local_addr().unwrap());
        let _connection = send(&server, &sent);
        let mut from = accept(&hop);
        assert_eq!(from.peer_addr().unwrap().ip().to_string(), "127.0.0.77");
        assert_same(read(&mut from, 3, FrameVersion::Current), &sent);
        drop(connect(&server));
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.forwarded, 3);
    });
}

/// A sink that breaks.
struct Broken;

impl Sink for Broken {
    fn deliver(&mut self, _delivery: Delivery<'_>) -> Result<(), Undelivered> {
        panic!("a sink that breaks, on purpose")
    }
}

#[test]
fn a_worker_that_panics_is_reported_and_does_not_hold_up_a_stop() {
    each(|link| {
        let stuck = hop();
        let mut config = config(link);
        config.shard.final_hops = FinalHops::Deliver;
        let server = start_with(config, |_| Broken);
        // Packets are under way to a next hop when it happens.
        let mut connection = send(&server, &several(20, stuck.local_addr().unwrap()));
        let last = frame(&sphinx(None, PacketSize::Regular, b"the last"), FrameVersion::Current);
        connection.write_all(&last).unwrap();
        let begin = Instant::now();
        let reason = loop {
            if let Some(reason) = server.failed() {
                break reason;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "the panic is reported");
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(reason, "shard 0: its thread panicked: a sink that breaks, on purpose");
        assert!(crate::common::is_closed(&mut connection));
        // More commands than would wait for a worker that still runs.
        (0..10).for_each(|_| server.set_keys(keys()));
        let report = server.stop();
        assert_eq!(report.failed, Some(reason));
        assert!(report.took < Duration::from_secs(1), "{:?}", report.took);
    });
}
