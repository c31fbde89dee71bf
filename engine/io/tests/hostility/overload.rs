//! More than a server can do: what it takes on it does in time, the rest is dropped by reason or
//! waits with its sender, and when the rush is over nothing of it is left.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::wire::geometry::PacketSize;
use phix_io::Server;
use socket2::SockRef;

use crate::common::{Built, assert_same, build, stream, until};
use crate::scene::{Scene, connect_from, each};

/// Resident memory that the flood may add, in KiB: the buffers of this side of the connections.
const GROWTH_KB: u64 = 48 * 1024;

/// Ends the threads of a flood also where the test fails.
pub(crate) struct SetAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes `bytes`, whole frames, again and again as fast as the server takes them; counts bytes.
pub(crate) fn flood(
    source: u8,
    server: &Server,
    bytes: &[u8],
    taken: &AtomicU64,
    done: &AtomicBool,
) {
    let mut connection = connect_from([127, 6, 6, source], server).unwrap();
    connection.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    // What counts is what the server takes, not what the system stores on this side.
    SockRef::from(&connection).set_send_buffer_size(1 << 16).unwrap();
    let mut at = 0;
    while !done.load(Ordering::Relaxed) {
        match connection.write(&bytes[at..]) {
            Ok(count) => {
                taken.fetch_add(count as u64, Ordering::Relaxed);
                at = (at + count) % bytes.len();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the server ended an honest connection: {error}"),
        }
    }
}

/// Packets for the scene's next hop with this delay.
pub(crate) fn delayed(scene: &Scene, count: usize, delay: Duration) -> Vec<Built> {
    (0..count).map(|_| build(scene.to(), delay, PacketSize::Regular)).collect()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn under_a_flood_delays_are_kept_memory_stays_and_afterwards_all_is_as_before() {
    const DELAY: Duration = Duration::from_millis(300);
    each(
        |_| (),
        |scene| {
            let server = &scene.server;
            // Known packets cost a key agreement each, and leave the next hop alone.
            let known = stream(&scene.packets(40));
            let honest = delayed(scene, 60, DELAY);
            let (done, taken) = (AtomicBool::new(false), AtomicU64::new(0));
            std::thread::scope(|scope| {
                let (known, taken, done) = (&known, &taken, &done);
                let _stop = SetAtEnd(done);
                for source in 1..=4 {
                    scope.spawn(move || flood(source, server, known, taken, done));
                }
                until(server, "flooded", |counters| counters.received > 2_000);
                assert_eq!(scene.hop.collect(40).len(), 40);
                let before = resident_kb();
                let mut connection = connect_from([127, 9, 9, 9], server).unwrap();
                let sent = Instant::now();
                connection.write_all(&stream(&honest)).unwrap();
                // None leaves before its time, and all of them do at last.
                let mut got = Vec::new();
                while got.len() < honest.len() {
                    let more = scene.hop.arrived();
                    let early = !more.is_empty() && sent.elapsed() < DELAY;
                    assert!(!early, "{} left after {:?}", more.len(), sent.elapsed());
                    assert!(sent.elapsed() < Duration::from_secs(20), "{} came", got.len());
                    got.extend(more);
                }
                assert_same(got, &honest);
                let rest = server.counters().received;
                until(server, "more", |counters| counters.received > rest + 2_000);
                let grown = resident_kb().saturating_sub(before);
                assert!(grown < GROWTH_KB, "{grown} KiB more than before");
            });
            scene.passes(10);
            let counters = server.counters();
            assert_eq!(counters.dropped(DropReason::Replay), counters.dropped_total());
        },
        |report| assert_eq!(report.counters.forwarded, 110),
    );
}

#[test]
fn packets_beyond_the_pool_are_dropped_by_reason_and_room_comes_back_at_once() {
    const SLOTS: usize = 200;
    const SENT: usize = 600;
    const DELAY: Duration = Duration::from_millis(5_000);
    each(
        |config| config.shard.capacity = [0, SLOTS, 0, 0, 0],
        |scene| {
            let server = &scene.server;
            let rush = delayed(scene, SENT, DELAY);
            let bytes = stream(&rush);
            let mut connection = connect_from([127, 6, 6, 6], server).unwrap();
            let sent = Instant::now();
            connection.write_all(&bytes).unwrap();
            until(server, "all of it", |counters| counters.received == SENT as u64);
            let full = server.counters().dropped(DropReason::PoolEmpty);
            if sent.elapsed() < DELAY {
                assert_eq!(full, (SENT - SLOTS) as u64, "as many as found no slot");
                assert!(scene.hop.arrived().is_empty(), "a packet left before its time");
            }
            until(server, "the rest", |counters| {
                counters.forwarded + counters.dropped_total() == SENT as u64
            });
            let came = scene.hop.collect(SENT - full as usize);
            assert!(came.iter().all(|got| rush.iter().any(|built| built.expected == *got)));
            assert_eq!(server.held().total(), 0);
            scene.passes(20);
        },
        |report| {
            let dropped = report.counters.dropped_total();
            assert!((1..=(SENT - SLOTS) as u64).contains(&dropped), "{dropped} dropped");
        },
    );
}

#[test]
fn peers_that_all_want_everything_get_like_shares() {
    const PEERS: usize = 4;
    each(
        |_| (),
        |scene| {
            let server = &scene.server;
            let known = stream(&scene.packets(40));
            let taken: [AtomicU64; PEERS] = Default::default();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (known, done) = (&known, &done);
                let _stop = SetAtEnd(done);
                for (source, taken) in (1..).zip(&taken) {
                    scope.spawn(move || flood(source, server, known, taken, done));
                }
                // The first bytes fill the system's buffers, which nobody shares out.
                until(server, "full buffers", |counters| counters.received > 3_000);
                let read = || taken.each_ref().map(|count| count.load(Ordering::Relaxed));
                let before = read();
                until(server, "shared out", |counters| counters.received > 9_000);
                let shares: Vec<u64> =
                    read().iter().zip(before).map(|(after, before)| after - before).collect();
                let all: u64 = shares.iter().sum();
                let least = all / (4 * PEERS as u64);
                assert!(shares.iter().all(|&share| share >= least), "{shares:?}");
            });
        },
        |report| assert_eq!(report.counters.forwarded, 40),
    );
}

#[test]
fn one_peer_with_half_of_all_traffic_starves_nobody() {
    each(
        |_| (),
        |scene| {
            let server = &scene.server;
            let known = stream(&scene.packets(40));
            let light: Vec<Vec<Built>> = (0..8).map(|_| scene.packets(10)).collect();
            let (done, taken) = (AtomicBool::new(false), AtomicU64::new(0));
            std::thread::scope(|scope| {
                let (known, taken, done) = (&known, &taken, &done);
                let _stop = SetAtEnd(done);
                scope.spawn(move || flood(1, server, known, taken, done));
                until(server, "flooded", |counters| counters.received > 2_000);
                scene.hop.collect(40);
                let connections: Vec<TcpStream> = (1..)
                    .zip(&light)
                    .map(|(source, packets)| {
                        let mut one = connect_from([127, 9, 9, source], server).unwrap();
                        one.write_all(&stream(packets)).unwrap();
                        one
                    })
                    .collect();
                let before = server.counters().received;
                let got = scene.hop.collect(80);
                // What came before them was in the server or on its way already, and their own
                // turns come round as often as those of the heavy one.
                let waited = server.counters().received - before;
                assert!(waited < 20_000, "{waited} packets came while 80 others waited");
                let all: Vec<Built> = light.into_iter().flatten().collect();
                assert_same(got, &all);
                drop(connections);
            });
        },
        |report| assert_eq!(report.counters.forwarded, 120),
    );
}
