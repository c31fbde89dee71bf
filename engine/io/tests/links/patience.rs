//! Connections in that hold back what others wait for.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{
    accept, assert_balance, assert_same, build, config, connect, each, frame, hop, is_closed, read,
    several, start, stream, until,
};

#[test]
fn packets_that_do_not_go_on_give_their_slots_back() {
    each(|link| {
        let hop = hop();
        let to = hop.local_addr().unwrap();
        let mut config = config(link);
        config.connections_max = 100;
        config.shard.capacity = [0, 16, 0, 0, 64];
        let server = start(config);
        let large = build(to, Duration::ZERO, PacketSize::Extended32);
        let large = frame(&large.packet, FrameVersion::Current);
        let sent = several(2, to);
        let parts = stream(&sent);
        let (mut idle, mut slow) = (connect(&server), connect(&server));
        let begin = Instant::now();
        let mut holding: Vec<TcpStream> = (0..64).map(|_| connect(&server)).collect();
        holding.iter_mut().for_each(|one| one.write_all(&large[..4]).unwrap());
        // Packets are read one after the other, so this one comes when all slots are taken.
        std::thread::sleep(Duration::from_millis(200));
        connect(&server).write_all(&large).unwrap();
        until(&server, "no slot", |counters| counters.dropped(DropReason::PoolEmpty) == 1);
        // Bytes that do not end the packet win no time; a packet in parts that ends is none of it.
        slow.write_all(&parts[..1000]).unwrap();
        std::thread::sleep(Duration::from_secs(5));
        holding.iter_mut().for_each(|one| one.write_all(&large[4..5]).unwrap());
        slow.write_all(&parts[1000..3000]).unwrap();
        until(&server, "closed", |counters| counters.truncated == 64);
        let took = begin.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(14)).contains(&took), "{took:?}");
        assert!(holding.iter_mut().all(is_closed));
        idle.write_all(&large).unwrap();
        slow.write_all(&parts[3000..]).unwrap();
        until(&server, "forwarded", |counters| counters.forwarded == 3);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.counters.dropped_total(), report.counters.truncated), (1, 64));
    });
}

/// Lets this process have both ends of many connections.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn last_bytes_held_back_do_not_overfill_a_full_inbox() {
    const HOLDING: usize = 300;
    const FLOOD: usize = 8000;
    raise_descriptors();
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.connections_max = HOLDING + 1;
        config.shard.batch = 1;
        // What waits in the inbox and behind it, and what is half received.
        config.shard.capacity = [1024 + HOLDING + 64, 0, 0, 0, 0];
        let server = start(config);
        let sent = [build(hop.local_addr().unwrap(), Duration::ZERO, PacketSize::Ack)];
        let bytes = stream(&sent);
        let (last, rest) = bytes.split_last().unwrap();
        let mut holding: Vec<TcpStream> = (0..HOLDING).map(|_| connect(&server)).collect();
        holding.iter_mut().for_each(|one| one.write_all(rest).unwrap());
        let mut flooder = connect(&server);
        std::thread::scope(|scope| {
            // The same packet again and again: what fills the inbox does not have to go anywhere.
            scope.spawn(|| flooder.write_all(&bytes.repeat(FLOOD)).unwrap());
            until(&server, "a full inbox", |counters| counters.received > 1500);
            holding.iter_mut().for_each(|one| one.write_all(&[*last]).unwrap());
        });
        let all = (FLOOD + HOLDING) as u64;
        until(&server, "all", |counters| {
            counters.received == all && counters.forwarded + counters.dropped_total() == all
        });
        assert_same(read(&mut accept(&hop), 1, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.dropped(DropReason::PoolEmpty), 0);
        assert_eq!(report.counters.dropped(DropReason::Replay), all - 1);
        assert_eq!(report.abandoned, 0);
    });
}
