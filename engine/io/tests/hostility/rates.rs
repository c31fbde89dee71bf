//! How much one source may bring: who sends more is slowed down, and takes nothing from others.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_io::Server;

use crate::common::{assert_same, stream, until};
use crate::overload::{SetAtEnd, delayed, flood};
use crate::scene::{connect_from, each};

/// Packets per second of the limited sources.
const RATE: u32 = 200;
/// What a source may bring at once beyond that: a tenth of a second, and what one read holds.
const AT_ONCE: u64 = RATE as u64 / 10 + 120;

#[test]
fn a_source_beyond_its_rate_waits_and_loses_nothing() {
    const RUSH: usize = 900;
    each(
        |config| config.peers.packets_per_second = Some(RATE),
        |scene| {
            let server = &scene.server;
            let rush = delayed(scene, RUSH, Duration::ZERO);
            let (bytes, calm) = (stream(&rush), scene.packets(30));
            std::thread::scope(|scope| {
                let begun = Instant::now();
                scope.spawn(move || {
                    let mut fast = connect_from([127, 6, 6, 6], server).unwrap();
                    fast.write_all(&bytes).unwrap();
                });
                until(server, "the rush", |counters| counters.received > 50);
                // Another source has a rate of its own.
                let mut connection = connect_from([127, 9, 9, 9], server).unwrap();
                connection.write_all(&stream(&calm)).unwrap();
                let got = scene.hop.collect(RUSH + calm.len());
                let least = (RUSH as u64 - AT_ONCE) * 1000 / u64::from(RATE);
                assert!(begun.elapsed() >= Duration::from_millis(least), "{:?}", begun.elapsed());
                let last =
                    got.iter().rposition(|packet| calm.iter().any(|own| own.expected == *packet));
                assert!(last.unwrap() + 100 < got.len(), "the calm one waited for the other");
                assert_same(got, &rush.into_iter().chain(calm).collect::<Vec<_>>());
            });
        },
        |report| {
            assert_eq!(report.counters.forwarded, RUSH as u64 + 30);
            assert_eq!(report.counters.dropped_total(), 0);
        },
    );
}

#[test]
fn more_connections_do_not_make_a_source_faster() {
    const RATE: u32 = 1_000;
    const COUNTED: u64 = 4_000;
    each(
        |config| config.peers.packets_per_second = Some(RATE),
        |scene| {
            let server = &scene.server;
            let known = stream(&scene.packets(40));
            let (done, taken) = (AtomicBool::new(false), AtomicU64::new(0));
            std::thread::scope(|scope| {
                let (known, taken, done) = (&known, &taken, &done);
                let _stop = SetAtEnd(done);
                (0..8)
                    .for_each(|_| drop(scope.spawn(move || flood(1, server, known, taken, done))));
                until(server, "flooded", |counters| counters.accepted >= 8);
                let (begun, before) = (Instant::now(), server.counters().received);
                until(server, "more", |counters| counters.received >= before + COUNTED);
                // Each connection may be ahead by one read.
                let least = (COUNTED - 8 * AT_ONCE) * 1000 / u64::from(RATE);
                assert!(begun.elapsed() >= Duration::from_millis(least), "{:?}", begun.elapsed());
            });
            scene.hop.collect(40);
        },
        |_| (),
    );
}

/// Lets one source send as much as it can over many connections, and many others a little each.
fn half_of_all_traffic(server: &Server, known: &[u8], honest: impl FnOnce()) {
    let (done, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (taken, done) = (&taken, &done);
        let _stop = SetAtEnd(done);
        (0..16).for_each(|_| drop(scope.spawn(move || flood(1, server, known, taken, done))));
        until(server, "flooded", |counters| counters.received > 2_000);
        let before = taken.load(Ordering::Relaxed);
        honest();
        assert!(taken.load(Ordering::Relaxed) > before, "the flood went on meanwhile");
    });
}

#[test]
fn one_peer_that_sends_most_of_all_traffic_starves_nobody() {
    for rate in [None, Some(20_000)] {
        each(
            |config| config.peers.packets_per_second = rate,
            |scene| {
                let known = stream(&scene.packets(40));
                half_of_all_traffic(&scene.server, &known, || {
                    assert_eq!(scene.hop.collect(40).len(), 40);
                    for source in 1..=12 {
                        let sent = scene.packets(20);
                        let mut connection =
                            connect_from([127, 9, 9, source], &scene.server).unwrap();
                        connection.write_all(&stream(&sent)).unwrap();
                        assert_same(scene.hop.collect(20), &sent);
                    }
                });
                let counters = scene.server.counters();
                assert_eq!(counters.dropped(DropReason::Replay), counters.dropped_total());
            },
            |report| assert_eq!(report.counters.forwarded, 40 + 12 * 20),
        );
    }
}
