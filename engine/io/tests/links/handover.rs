//! Connections that change hands while packets stream over them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use phix_engine::counters::{Counters, DropReason};
use phix_engine::shard::Keys;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;
use phix_io::{Basis, LinkChoice, Refuse, Server, ServerConfig};

use crate::common::{
    Built, assert_balance, assert_same, build, config, connect, hop, keys, links, stream, until,
};

const SENDERS: usize = 6;
const PACKETS: usize = 150;
const HANDOVERS: usize = 8;

/// A next hop that takes packets from whoever connects, until it is told to end.
fn collect(hop: &TcpListener, end: &AtomicBool, to: &Sender<Vec<u8>>) {
    hop.set_nonblocking(true).unwrap();
    std::thread::scope(|scope| {
        while !end.load(Ordering::Relaxed) {
            match hop.accept() {
                Ok((mut from, _)) => {
                    from.set_nonblocking(false).unwrap();
                    let to = to.clone();
                    scope.spawn(move || {
                        let frame =
                            FrameVersion::Current.header_len() + PacketSize::Regular.packet_len();
                        let mut bytes = vec![0; frame];
                        while from.read_exact(&mut bytes).is_ok() {
                            to.send(bytes[frame - PacketSize::Regular.packet_len()..].to_vec())
                                .unwrap();
                        }
                    });
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    });
}

/// A server over `link` that goes on where `old` stops, which sends what it has and ends; adds up
/// what that one counted.
fn hand_over(old: Server, link: LinkChoice, keys: &Keys, all: &mut Counters) -> Server {
    let fds = old.listeners().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let new = Server::start_silent(
        two_shards(link),
        Basis { listeners: Some(fds), ..Basis::default() },
        keys.clone(),
        |_| Refuse,
    )
    .unwrap();
    assert_eq!(new.address(), old.address());
    new.open(old.release()).unwrap();
    let report = old.stop_within(Duration::from_secs(5));
    assert_balance(&report);
    assert_eq!((report.failed, report.abandoned), (None, 0));
    all.add(&report.counters);
    new
}

fn two_shards(link: LinkChoice) -> ServerConfig {
    ServerConfig { shards: 2, ..config(link) }
}

/// Writes packets in pieces that know nothing of frames. The last frame is cut for as long as
/// servers change.
fn write(to: &mut TcpStream, packets: &[Built], mut step: usize, going: &AtomicBool) {
    let bytes = stream(packets);
    let mut rest = &bytes[..];
    while rest.len() > 100 || going.load(Ordering::Relaxed) {
        step = (step * 37 + 11) % 3999;
        let (head, tail) = rest.split_at(rest.len().saturating_sub(100).min(step + 1));
        to.write_all(head).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        rest = tail;
    }
    to.write_all(rest).unwrap();
}

#[test]
fn packets_stream_on_while_servers_change() {
    let links = links();
    let (keys, hop) = (keys(), hop());
    let to = hop.local_addr().unwrap();
    let sent: Vec<Vec<_>> = (0..SENDERS)
        .map(|_| {
            (0..PACKETS)
                .map(|_| build(to, Duration::from_millis(40), PacketSize::Regular))
                .collect()
        })
        .collect();
    let (end, (packets, inbox)) = (AtomicBool::new(false), channel());
    let mut all = Counters::default();
    let mut server = Server::start(two_shards(links[0]), keys.clone(), |_| Refuse).unwrap();
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| collect(&hop, &end, &packets));
        let writers: Vec<_> = sent
            .iter()
            .enumerate()
            .map(|(number, packets)| {
                let (mut connection, going) = (connect(&server), &going);
                scope.spawn(move || {
                    write(&mut connection, packets, 1 + number, going);
                    connection
                })
            })
            .collect();
        for round in 1..=HANDOVERS {
            std::thread::sleep(Duration::from_millis(20));
            server = hand_over(server, links[round % links.len()], &keys, &mut all);
        }
        going.store(false, Ordering::Relaxed);
        let mut open: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        let expected = (SENDERS * PACKETS) as u64;
        let before = all.forwarded;
        until(&server, "all sent on", |counters| before + counters.forwarded == expected);
        // The last server knows what the first one let through.
        open[0].write_all(&stream(&sent[0][..1])).unwrap();
        until(&server, "a replay", |counters| counters.dropped(DropReason::Replay) == 1);
        let report = server.stop();
        assert_balance(&report);
        all.add(&report.counters);
        end.store(true, Ordering::Relaxed);
    });
    drop(packets);
    assert_same(inbox.iter().collect(), &sent.into_iter().flatten().collect::<Vec<_>>());
    let packets = (SENDERS * PACKETS) as u64;
    assert_eq!((all.received, all.forwarded, all.dropped_total()), (packets + 1, packets, 1));
    assert_eq!((all.accepted, all.refused, all.malformed), (SENDERS as u64, 0, 0));
    assert_eq!(all.truncated, 0);
}

#[test]
fn connections_come_while_servers_change() {
    let links = links();
    let keys = keys();
    let mut all = Counters::default();
    let mut server = Server::start(two_shards(links[0]), keys.clone(), |_| Refuse).unwrap();
    let (address, going) = (server.address(), AtomicBool::new(true));
    std::thread::scope(|scope| {
        let comer = scope.spawn(|| {
            let mut count = 0;
            while going.load(Ordering::Relaxed) {
                drop(TcpStream::connect(address).expect("nobody is turned away"));
                count += 1;
                std::thread::sleep(Duration::from_micros(300));
            }
            count
        });
        for round in 1..=HANDOVERS {
            std::thread::sleep(Duration::from_millis(20));
            server = hand_over(server, links[round % links.len()], &keys, &mut all);
        }
        going.store(false, Ordering::Relaxed);
        let count: u64 = comer.join().unwrap();
        let before = all.accepted;
        until(&server, "all accepted", |counters| before + counters.accepted == count);
    });
}

#[test]
fn a_server_takes_back_what_nobody_wanted() {
    crate::common::each(|link| {
        let (hop, keys) = (hop(), keys());
        let server = Server::start(two_shards(link), keys, |_| Refuse).unwrap();
        let to = hop.local_addr().unwrap();
        let sent: Vec<_> = (0..2).map(|_| build(to, Duration::ZERO, PacketSize::Regular)).collect();
        let bytes = stream(&sent);
        let mut connection = connect(&server);
        connection.write_all(&bytes[..1000]).unwrap();
        until(&server, "accepted", |counters| counters.accepted == 1);
        let begin = Instant::now();
        let released = server.release();
        assert!(begin.elapsed() < Duration::from_secs(1), "nothing to wait for");
        assert_eq!(released.len(), 1);
        server.open(released).unwrap();
        connection.write_all(&bytes[1000..]).unwrap();
        connect(&server);
        until(&server, "goes on", |counters| counters.forwarded == 2 && counters.accepted == 2);
        assert_balance(&server.stop());
    });
}
