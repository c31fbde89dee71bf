//! Connections in: what breaks one leaves the others alone.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phix_engine::wire::frame::FrameVersion;

use crate::common::{
    accept, assert_balance, assert_same, config, connect, each, hop, is_closed, read, several,
    start, stream, until,
};

#[test]
fn what_is_no_frame_closes_that_connection_only() {
    each(|link| {
        let hop = hop();
        let server = start(config(link));
        let sent = several(4, hop.local_addr().unwrap());
        let mut good = connect(&server);
        good.write_all(&stream(&sent[..2])).unwrap();
        let headers: [&[u8]; 6] =
            [b"\x06", b"\x09", b"\x07\x09\x00", b"\x08\x01\x02\x00", b"\x08\x01\x00\x03", b"GET"];
        for header in headers {
            let mut bad = connect(&server);
            bad.write_all(header).unwrap();
            assert!(is_closed(&mut bad), "{header:?}");
        }
        good.write_all(&stream(&sent[2..3])).unwrap();
        // A good frame before the bad one counts.
        let mut mixed = connect(&server);
        mixed.write_all(&[&stream(&sent[3..])[..], b"\xff"].concat()).unwrap();
        assert!(is_closed(&mut mixed));
        assert_same(read(&mut accept(&hop), 4, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.malformed, 7);
        assert_eq!((report.counters.truncated, report.counters.accepted), (0, 8));
    });
}

#[test]
fn a_frame_cut_short_gives_its_memory_back() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.shard.capacity = [0, 4, 0, 0, 0];
        let server = start(config);
        let sent = several(3, hop.local_addr().unwrap());
        let bytes = stream(&sent);
        // Cut within a header, within a packet, and by a reset.
        for (round, len) in [1, 3, 4, 5, 1000, 2416].into_iter().enumerate() {
            let mut connection = connect(&server);
            connection.write_all(&bytes[..len]).unwrap();
            if len == 1000 {
                std::thread::sleep(Duration::from_millis(20));
                let now = Some(Duration::ZERO);
                socket2::SockRef::from(&connection).set_linger(now).unwrap();
                drop(connection);
            } else {
                connection.shutdown(Shutdown::Write).unwrap();
                assert!(is_closed(&mut connection));
            }
            let seen = round as u64 + 1;
            until(&server, "truncated", |counters| counters.truncated == seen);
        }
        let _connection = crate::common::send(&server, &sent);
        assert_same(read(&mut accept(&hop), 3, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.received, 3);
    });
}

#[test]
fn whole_frames_before_the_end_of_a_stream_count() {
    each(|link| {
        let hop = hop();
        let server = start(config(link));
        let sent = several(40, hop.local_addr().unwrap());
        for part in sent.chunks(10) {
            drop(crate::common::send(&server, part));
        }
        assert_same(read(&mut accept(&hop), 40, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_eq!(report.counters.truncated, 0);
    });
}

#[test]
fn only_so_many_connections() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.connections_max = 3;
        let server = start(config);
        let mut kept: Vec<_> = (0..3).map(|_| connect(&server)).collect();
        until(&server, "accepted", |counters| counters.accepted == 3);
        let mut refused: Vec<_> = (0..5).map(|_| connect(&server)).collect();
        assert!(refused.iter_mut().all(is_closed));
        until(&server, "refused", |counters| counters.refused == 5);
        let sent = several(2, hop.local_addr().unwrap());
        kept[2].write_all(&stream(&sent[..1])).unwrap();
        kept.remove(0);
        // The place of a connection that went is free again.
        let mut later = loop {
            let mut connection = connect(&server);
            connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut byte = [0];
            match std::io::Read::read(&mut connection, &mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break connection,
                _ => {}
            }
        };
        later.write_all(&stream(&sent[1..])).unwrap();
        assert_same(read(&mut accept(&hop), 2, FrameVersion::Current), &sent);
        assert_eq!(server.counters().accepted, 4, "{:?}", server.counters());
    });
}

/// Ends a test's threads also where the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_heavy_connection_leaves_room_for_a_light_one() {
    each(|link| {
        let (heavy_hop, light_hop) = (hop(), hop());
        let server = start(config(link));
        let heavy = stream(&several(400, heavy_hop.local_addr().unwrap()));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (server, done, heavy) = (&server, &done, &heavy);
            let _stop = SetAtEnd(done);
            // The same packets again and again: replays, so that the next hop sees each once.
            scope.spawn(move || {
                let mut connection = connect(server);
                while !done.load(Ordering::Relaxed) {
                    if connection.write_all(heavy).is_err() {
                        return;
                    }
                }
            });
            scope.spawn(move || {
                let mut from = accept(&heavy_hop);
                read(&mut from, 400, FrameVersion::Current);
            });
            until(server, "under load", |counters| counters.received > 2000);
            let sent = several(50, light_hop.local_addr().unwrap());
            let start = std::time::Instant::now();
            let _connection = crate::common::send(server, &sent);
            let mut from = accept(&light_hop);
            assert_same(read(&mut from, 50, FrameVersion::Current), &sent);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        });
        assert_balance(&server.kill());
    });
}
