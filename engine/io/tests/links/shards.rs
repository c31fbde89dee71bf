//! Several shards on one port.

use std::io::Write;
use std::time::Duration;

use phix_engine::counters::DropReason;
use phix_engine::wire::frame::FrameVersion;

use crate::common::{
    accept, assert_balance, assert_same, config, connect, each, hop, read, several, start, stream,
    until,
};

#[test]
fn a_replay_is_one_on_every_shard() {
    each(|link| {
        let hop = hop();
        let mut config = config(link);
        config.shards = 2;
        let server = start(config);
        // The system spreads connections by a hash: with 64 of them both shards have some.
        let sent = several(16, hop.local_addr().unwrap());
        let mut connections: Vec<_> = (0..64).map(|_| connect(&server)).collect();
        for connection in &mut connections {
            connection.write_all(&stream(&sent)).unwrap();
        }
        until(&server, "received", |counters| counters.received == 64 * 16);
        let replays = 63 * 16;
        until(&server, "replays", |counters| counters.dropped(DropReason::Replay) == replays);
        until(&server, "forwarded", |counters| counters.forwarded == 16);
        // Each shard has a connection of its own to the next hop.
        hop.set_nonblocking(false).unwrap();
        let mut got = Vec::new();
        let mut from = vec![accept(&hop)];
        while got.len() < 16 {
            let mut byte = [0];
            let waits = |stream: &std::net::TcpStream, byte: &mut [u8]| {
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                stream.peek(byte).is_ok_and(|count| count > 0)
            };
            match from.iter_mut().find(|stream| waits(stream, &mut byte)) {
                Some(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    got.extend(read(stream, 1, FrameVersion::Current));
                }
                None => from.push(accept(&hop)),
            }
        }
        assert_same(got, &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.accepted, 64);
    });
}
