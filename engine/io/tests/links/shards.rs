//! Several shards on one port.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;

use crate::common::{
    accept, assert_balance, assert_same, build, config, connect, each, hop, read, send, several,
    start, stream, until,
};

/// What comes at a next hop, packet by packet.
struct Came(Receiver<Vec<u8>>);

impl Came {
    fn take(&self, count: usize) -> Vec<Vec<u8>> {
        let wait = Duration::from_secs(10);
        (0..count).map(|_| self.0.recv_timeout(wait).expect("packets come in time")).collect()
    }
}

/// A next hop that takes as many connections as there come, for each shard has one of its own; and
/// its address.
fn collect(hop: TcpListener) -> (SocketAddr, Came) {
    let to = hop.local_addr().unwrap();
    let (packets, came) = channel();
    std::thread::spawn(move || {
        loop {
            let (mut from, packets) = (accept(&hop), packets.clone());
            std::thread::spawn(move || {
                while from.peek(&mut [0]).is_ok_and(|count| count > 0) {
                    let packet = read(&mut from, 1, FrameVersion::Current).remove(0);
                    if packets.send(packet).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (to, Came(came))
}

#[test]
fn a_replay_is_one_on_every_shard() {
    each(|link| {
        let (to, came) = collect(hop());
        let mut config = config(link);
        config.shards = 2;
        let server = start(config);
        // The system spreads connections by a hash: with 64 of them both shards have some.
        let sent = several(16, to);
        let mut connections: Vec<_> = (0..64).map(|_| connect(&server)).collect();
        for connection in &mut connections {
            connection.write_all(&stream(&sent)).unwrap();
        }
        until(&server, "received", |counters| counters.received == 64 * 16);
        let replays = 63 * 16;
        until(&server, "replays", |counters| counters.dropped(DropReason::Replay) == replays);
        until(&server, "forwarded", |counters| counters.forwarded == 16);
        let report = server.stop();
        assert_same(came.take(sent.len()), &sent);
        assert_balance(&report);
        assert_eq!(report.counters.accepted, 64);
    });
}

/// The first shard that gets a connection cannot keep up with it; the others help.
#[test]
fn one_connection_spreads_over_the_shards() {
    const PACKETS: usize = 400;
    each(|link| {
        let (to, came) = collect(hop());
        let mut config = config(link);
        config.shards = 3;
        let server = start(config);
        let delay = Duration::from_millis(300);
        let sent: Vec<_> = (0..PACKETS).map(|_| build(to, delay, PacketSize::Regular)).collect();
        let begin = Instant::now();
        let mut connection = send(&server, &sent);
        connection.write_all(&stream(&sent[..50])).unwrap();
        until(&server, "replays", |counters| counters.dropped(DropReason::Replay) == 50);
        until(&server, "forwarded", |counters| counters.forwarded == PACKETS as u64);
        assert!(begin.elapsed() >= delay, "none leaves early");
        let shards = server.observer().shards();
        let working = shards.iter().filter(|shard| shard.counters.batched > 0).count();
        assert!(working >= 2, "{working} shards have worked");
        let report = server.stop();
        assert_balance(&report);
        let counters = &report.counters;
        assert!(counters.handed_over > 0);
        assert_eq!(counters.handed_over, counters.taken_over);
        assert_same(came.take(sent.len()), &sent);
    });
}

/// A stop, or a sudden end, while packets pass between the shards: each of them is accounted for.
#[test]
fn an_end_in_the_middle_of_it_loses_no_count() {
    each(|link| {
        for (round, kill) in [true, false, true, false].into_iter().enumerate() {
            let (to, _came) = collect(hop());
            let mut config = config(link);
            config.shards = 3;
            config.drain = Duration::from_millis(100);
            let server = start(config);
            let sent = several(200, to);
            let _connection = send(&server, &sent);
            until(&server, "a start", |counters| counters.received > 40 * round as u64);
            let report = if kill { server.kill() } else { server.stop() };
            assert_balance(&report);
            assert_eq!(report.counters.handed_over, report.counters.taken_over);
            assert_eq!(report.failed, None);
        }
    });
}
