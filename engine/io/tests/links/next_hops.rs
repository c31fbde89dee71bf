//! Next hops that are absent, late, stuck or unreliable.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;

use crate::common::{
    accept, assert_balance, assert_same, build, config, each, hop, nowhere, read, relay, send,
    several, start, until,
};

#[test]
fn an_absent_next_hop_costs_its_own_packets_only() {
    each(|link| {
        let (hop, to, server) = relay(link);
        let begin = Instant::now();
        let _lost = send(&server, &several(20, nowhere(1, link)));
        let sent = several(20, to);
        let _kept = send(&server, &sent);
        assert_same(read(&mut accept(&hop), 20, FrameVersion::Current), &sent);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let unreachable = DropReason::PeerUnreachable;
        until(&server, "unreachable", |counters| counters.dropped(unreachable) == 20);
        assert!(begin.elapsed() >= Duration::from_secs(3));
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.forwarded, 20);
    });
}

#[test]
fn a_late_next_hop_gets_its_packets() {
    each(|link| {
        let server = start(config(link));
        let address = nowhere(2, link);
        let sent = several(20, address);
        let _connection = send(&server, &sent);
        until(&server, "received", |counters| counters.received == 20);
        std::thread::sleep(Duration::from_millis(800));
        let hop = TcpListener::bind(address).unwrap();
        assert_same(read(&mut accept(&hop), 20, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.forwarded, 20);
    });
}

#[test]
fn a_next_hop_that_never_reads_is_given_up() {
    each(|link| {
        let (stuck, hop) = (hop(), hop());
        let server = start(config(link));
        let to = stuck.local_addr().unwrap();
        let size = PacketSize::Extended32;
        let built: Vec<_> = (0..50).map(|_| build(to, Duration::ZERO, size)).collect();
        // More than the sockets on the way take, and more than the server may keep.
        let mut connections = vec![send(&server, &built)];
        let open = accept(&stuck);
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.held().in_flight == 0 || server.held().queued == 0 {
            assert!(Instant::now() < deadline, "{:?}", server.counters());
            let more: Vec<_> = (0..50).map(|_| build(to, Duration::ZERO, size)).collect();
            connections.push(send(&server, &more));
            std::thread::sleep(Duration::from_millis(30));
        }
        let begin = Instant::now();
        let sent = several(20, hop.local_addr().unwrap());
        let _kept = send(&server, &sent);
        assert_same(read(&mut accept(&hop), 20, FrameVersion::Current), &sent);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let lost = DropReason::ConnectionLost;
        until(&server, "given up", |counters| counters.dropped(lost) > 0);
        drop(open);
        let report = server.kill();
        assert_balance(&report);
        assert!(report.counters.dropped(DropReason::PeerUnreachable) > 0);
    });
}

#[test]
fn a_next_hop_that_resets_and_returns() {
    each(|link| {
        let (hop, to, server) = relay(link);
        let mut first = Vec::new();
        let mut connections = Vec::new();
        for round in 0..3 {
            let sent = several(10, to);
            connections.push(send(&server, &sent));
            let mut from = accept(&hop);
            let got = read(&mut from, 3, FrameVersion::Current);
            assert!(got.iter().all(|got| sent.iter().any(|sent| sent.expected == *got)));
            first.push(got);
            until(&server, "forwarded", |counters| counters.forwarded >= 10 * (round + 1));
            // Long enough for the connection to count as a good one in the last round only.
            std::thread::sleep(Duration::from_millis(if round == 2 { 1100 } else { 0 }));
            socket2::SockRef::from(&from).set_linger(Some(Duration::ZERO)).unwrap();
            drop(from);
            std::thread::sleep(Duration::from_millis(50));
        }
        let sent = several(10, to);
        connections.push(send(&server, &sent));
        assert_same(read(&mut accept(&hop), 10, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.received, 40);
    });
}

#[test]
fn a_next_hop_that_dies_under_load() {
    each(|link| {
        let (hop, to, server) = relay(link);
        for _ in 0..4 {
            let built: Vec<_> =
                (0..40).map(|_| build(to, Duration::ZERO, PacketSize::Extended32)).collect();
            let writer = send(&server, &built);
            let mut from = accept(&hop);
            read(&mut from, 1, FrameVersion::Current);
            socket2::SockRef::from(&from).set_linger(Some(Duration::ZERO)).unwrap();
            drop((from, writer));
        }
        // What was queued goes to the connections that follow.
        let drain = std::thread::spawn(move || {
            while let Ok((mut from, _)) = hop.accept() {
                std::io::copy(&mut from, &mut std::io::sink()).unwrap_or(0);
            }
        });
        until(&server, "nothing held", |counters| {
            let done = counters.forwarded + counters.dropped_total();
            counters.received == 160 && done == 160
        });
        // Counts and places are published one after the other.
        let begin = Instant::now();
        while server.held().total() > 0 {
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", server.held());
            std::thread::sleep(Duration::from_millis(2));
        }
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.counters.received, report.abandoned), (160, 0));
        assert!(!drain.is_finished());
    });
}

#[test]
fn a_next_hop_may_send_and_close() {
    each(|link| {
        use std::io::Write;
        let (hop, to, server) = relay(link);
        let mut connections = Vec::new();
        for _ in 0..2 {
            let sent = several(5, to);
            connections.push(send(&server, &sent));
            let mut from = accept(&hop);
            from.write_all(b"nodes do not speak on these connections").unwrap();
            assert_same(read(&mut from, 5, FrameVersion::Current), &sent);
            drop(from);
            std::thread::sleep(Duration::from_millis(20));
        }
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.forwarded, 10);
    });
}
