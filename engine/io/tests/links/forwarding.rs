//! The main job: packets in, the right packets out.

use std::io::Write;
use std::time::{Duration, Instant};

use phix_engine::shard::FinalHops;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;

use crate::common::{
    Mailbox, accept, assert_balance, assert_same, build, config, connect, each, frame, hop, read,
    relay, several, sphinx, start, start_with, stream, until,
};

#[test]
fn all_sizes_in_both_frame_versions() {
    each(|link| {
        for out in [FrameVersion::Legacy, FrameVersion::Current] {
            let hop = hop();
            let mut config = config(link);
            config.shard.frames = out;
            let server = start(config);
            let mut connection = connect(&server);
            let mut sent = Vec::new();
            for size in PacketSize::ALL {
                for version in [FrameVersion::Legacy, FrameVersion::Current] {
                    let built = build(hop.local_addr().unwrap(), Duration::ZERO, size);
                    connection.write_all(&frame(&built.packet, version)).unwrap();
                    sent.push(built);
                }
            }
            assert_same(read(&mut accept(&hop), sent.len(), out), &sent);
            let report = server.stop();
            assert_balance(&report);
            assert_eq!(report.counters.forwarded, sent.len() as u64);
            assert_eq!((report.counters.malformed, report.counters.truncated), (0, 0));
        }
    });
}

#[test]
fn streams_cut_anywhere() {
    each(|link| {
        let (hop, to, server) = relay(link);
        let sent = several(30, to);
        let mut connection = connect(&server);
        let bytes = stream(&sent);
        let (mut rest, mut step) = (&bytes[..], 1);
        while !rest.is_empty() {
            step = (step * 37 + 11) % 1999;
            let (head, tail) = rest.split_at(rest.len().min(step + 1));
            connection.write_all(head).unwrap();
            if step % 5 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            rest = tail;
        }
        assert_same(read(&mut accept(&hop), sent.len(), FrameVersion::Current), &sent);
        drop(connection);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.truncated, 0);
    });
}

#[test]
fn many_connections_at_once() {
    each(|link| {
        let hops = [hop(), hop(), hop()];
        let server = start(config(link));
        let sent = hops.each_ref().map(|hop| several(160, hop.local_addr().unwrap()));
        std::thread::scope(|scope| {
            for part in 0..16 {
                let (sent, server) = (&sent, &server);
                scope.spawn(move || {
                    let mut connection = connect(server);
                    for packets in sent {
                        connection.write_all(&stream(&packets[part * 10..][..10])).unwrap();
                    }
                    until(server, "all forwarded", |counters| counters.forwarded == 480);
                });
            }
        });
        for (hop, sent) in hops.iter().zip(&sent) {
            assert_same(read(&mut accept(hop), sent.len(), FrameVersion::Current), sent);
        }
        assert_balance(&server.stop());
    });
}

#[test]
fn more_packets_than_the_inbox_and_the_pool_hold() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.shard.capacity = [0, 1500, 0, 0, 0];
        let server = start(config);
        let sent = several(2500, hop.local_addr().unwrap());
        let bytes = stream(&sent);
        std::thread::scope(|scope| {
            let writer = connect(&server);
            scope.spawn(move || (&writer).write_all(&bytes).map(|()| writer).unwrap());
            let mut from = accept(&hop);
            let mut left = sent.len();
            let server = &server;
            while left > 0 {
                let lost = server.counters().dropped_total() as usize;
                if lost > 0 {
                    break;
                }
                let count = left.min(100);
                read(&mut from, count, FrameVersion::Current);
                left -= count;
            }
        });
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.received, 2500);
    });
}

#[test]
fn delays_are_kept() {
    each(|link| {
        let (hop, to, server) = relay(link);
        let delays = [300_u64, 100, 200];
        let sent = delays.map(|millis| {
            let delay = Duration::from_millis(millis);
            build(to, delay, PacketSize::Regular)
        });
        let begin = Instant::now();
        let _connection = crate::common::send(&server, &sent);
        let mut from = accept(&hop);
        for expected in [1, 2, 0] {
            let got = read(&mut from, 1, FrameVersion::Current);
            assert_eq!(got[0], sent[expected].expected);
            assert!(begin.elapsed() >= Duration::from_millis(delays[expected]));
        }
        assert!(begin.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn final_hops_are_delivered() {
    each(|link| {
        let mailbox = Mailbox::default();
        let mut config = config(link);
        config.shard.final_hops = FinalHops::Deliver;
        let server = start_with(config, |_| mailbox.clone());
        let mut connection = connect(&server);
        let message = b"for the last hop";
        let packet = sphinx(None, PacketSize::Regular, message);
        connection.write_all(&frame(&packet, FrameVersion::Legacy)).unwrap();
        until(&server, "delivered", |counters| counters.delivered == 1);
        assert_eq!(*mailbox.0.lock().unwrap(), [message.to_vec()]);
        assert_balance(&server.stop());
    });
}
