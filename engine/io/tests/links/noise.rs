//! Noise over real sockets. Nodes are told apart by their addresses, so that each test has some of
//! its own on the loopback.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::secret::NodeSecret;
use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::{
    Greeting, HEADER_LEN, Heard, Message, Noise, NoiseKey, NoisePeers, Pattern, Plain, Reader,
    Sealer, TAG_LEN,
};
use phix_io::{Basis, LinkChoice, Refuse, Server, ServerConfig};

use crate::common::{
    accept, assert_balance, assert_same, build, config, connect, each, hop, is_closed, read,
    several, start, stream, until,
};

const PATTERNS: [Pattern; 2] = [Pattern::XkPsk3, Pattern::IkPsk2];

fn key(byte: u8) -> NoiseKey {
    NoiseKey::new(NodeSecret::from_bytes([byte; 32]))
}

/// An address that no other test has.
fn host(test: u8, number: u8, link: LinkChoice) -> IpAddr {
    IpAddr::from([127, 1 + u8::from(link == LinkChoice::Uring), test, number])
}

/// A server's settings in which it speaks Noise with `peers`; its own key is number 1.
fn speaking(
    link: LinkChoice,
    pattern: Pattern,
    plain: Plain,
    peers: &[(IpAddr, &NoiseKey)],
) -> ServerConfig {
    let peers = peers.iter().map(|(address, key)| (*address, *key.public())).collect();
    let noise = Noise { key: Some(Arc::new(key(1))), pattern, peers: Arc::new(peers), plain };
    ServerConfig { noise, ..config(link) }
}

/// A connection to a server from an address.
fn connect_from(server: &Server, from: IpAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads one record of a handshake.
fn record(from: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; HEADER_LEN];
    from.read_exact(&mut head).unwrap();
    let mut record = head.to_vec();
    record.resize(HEADER_LEN + usize::from(u16::from_be_bytes([head[3], head[4]])), 0);
    from.read_exact(&mut record[HEADER_LEN..]).unwrap();
    record
}

/// A handshake with a server, as the initiator, byte by byte.
fn greet(on: &mut TcpStream, own: &NoiseKey, pattern: Pattern) -> Sealer {
    let (mut greeting, first) = Greeting::initiate(own, pattern, key(1).public()).unwrap();
    let write = |on: &mut TcpStream, message: &Message| {
        message.iter().for_each(|&byte| on.write_all(&[byte]).unwrap());
    };
    write(on, &first);
    loop {
        match greeting.hear(&mut &record(on)[..]).unwrap() {
            Heard::Part => panic!("the record was whole"),
            Heard::Reply(message) => write(on, &message),
            Heard::Done(message, session) => {
                message.iter().for_each(|message| write(on, message));
                return session.sealer;
            }
        }
    }
}

/// A handshake with a server, as the responder whose key is `own`.
fn answer(on: &mut TcpStream, own: &NoiseKey, pattern: Pattern) -> Reader {
    let mut greeting = Greeting::respond(own, pattern, Some(*key(1).public()));
    loop {
        match greeting.hear(&mut &record(on)[..]).unwrap() {
            Heard::Part => panic!("the record was whole"),
            Heard::Reply(message) => on.write_all(&message).unwrap(),
            Heard::Done(message, session) => {
                message.iter().for_each(|message| on.write_all(message).unwrap());
                return Reader::new(session.opener);
            }
        }
    }
}

fn seal(sealer: &mut Sealer, text: &[u8]) -> Vec<u8> {
    let mut record = [&[0; HEADER_LEN], text, &[0; TAG_LEN]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// The frames that come in records, `count` of the usual size.
fn read_frames(from: &mut TcpStream, mut reader: Reader, count: usize) -> Vec<Vec<u8>> {
    let frame = 4 + PacketSize::Regular.packet_len();
    let (mut text, mut gathering) = (Vec::new(), phix_io::noise::Gathering::default());
    while text.len() < count * frame {
        let mut bytes = vec![0; 5000];
        let got = from.read(&mut bytes).unwrap();
        assert!(got > 0, "the server closed the connection");
        reader
            .push(&mut bytes[..got], &mut gathering, |some| {
                text.extend_from_slice(some);
                Ok::<_, ()>(some.len())
            })
            .unwrap();
    }
    text.chunks(frame).map(|frame| frame[4..].to_vec()).collect()
}

#[test]
fn packets_in_and_out_in_both_patterns() {
    each(|link| {
        for (number, pattern) in PATTERNS.into_iter().enumerate() {
            let addresses = [10, 20].map(|base| host(1, base + number as u8, link));
            let (before, after) = (key(2), key(3));
            let hop = TcpListener::bind(SocketAddr::new(addresses[1], 0)).unwrap();
            let peers = [(addresses[0], &before), (addresses[1], &after)];
            let server = start(speaking(link, pattern, Plain::Refused, &peers));
            let sent = several(150, hop.local_addr().unwrap());
            let mut connection = connect_from(&server, addresses[0]);
            let mut sealer = greet(&mut connection, &before, pattern);
            // Records that know nothing of frames: one byte, a frame, several, parts of some.
            let (bytes, mut at, mut step) = (stream(&sent), 0, 1);
            let mut records = Vec::new();
            while at < bytes.len() {
                step = (step * 37 + 11) % 60_013;
                let end = bytes.len().min(at + step);
                records.extend(seal(&mut sealer, &bytes[at..end]));
                at = end;
            }
            records.extend(seal(&mut sealer, &[]));
            records.chunks(3001).for_each(|part| connection.write_all(part).unwrap());
            let mut from = accept(&hop);
            let reader = answer(&mut from, &after, pattern);
            assert_same(read_frames(&mut from, reader, sent.len()), &sent);
            drop(connection);
            let report = server.stop();
            assert_balance(&report);
            let c = &report.counters;
            assert_eq!((c.noise_handshakes, c.noise_failed, c.forged), (2, 0, 0));
            assert_eq!((c.forwarded, c.truncated, c.malformed), (150, 0, 0));
        }
    });
}

/// A record with more packets than the inbox has room for; the rest waits and nothing is lost.
#[test]
fn records_with_many_packets_wait_for_room() {
    each(|link| {
        let (from, own) = (host(2, 1, link), key(2));
        let mut config = speaking(link, Pattern::XkPsk3, Plain::Allowed, &[(from, &own)]);
        config.shard.capacity = [8192, 64, 8, 8, 8];
        let server = start(config);
        let hop = hop();
        let to = hop.local_addr().unwrap();
        let sent: Vec<_> =
            (0..200).map(|_| build(to, Duration::from_millis(1), PacketSize::Ack)).collect();
        // Each packet comes twenty times; all but the first are replays, and are received.
        let bytes = stream(&sent).repeat(20);
        let mut connection = connect_from(&server, from);
        let mut sealer = greet(&mut connection, &own, Pattern::XkPsk3);
        let records: Vec<u8> =
            bytes.chunks(65_000).flat_map(|part| seal(&mut sealer, part)).collect();
        connection.write_all(&records).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        until(&server, "all received", |counters| counters.received == 4000);
        assert_same(read(&mut accept(&hop), 200, FrameVersion::Current), &sent);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.dropped(DropReason::Replay), 3800);
        assert_eq!((report.counters.truncated, report.counters.forged), (0, 0));
    });
}

#[test]
fn plain_peers_are_served_where_that_is_allowed() {
    each(|link| {
        let hop = hop();
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Allowed, &[]));
        let sent = several(3, hop.local_addr().unwrap());
        let _connection = crate::common::send(&server, &sent);
        assert_same(read(&mut accept(&hop), 3, FrameVersion::Current), &sent);
        assert_eq!(server.stop().counters.noise_handshakes, 0);
    });
}

/// Nodes learn of each other at different times, so that either may not know of the other yet.
#[test]
fn who_knows_the_other_and_who_does_not_makes_no_difference_to_what_arrives() {
    each(|link| {
        let (known, unknown, hop) = (host(11, 1, link), host(11, 2, link), hop());
        let (own, nobodys) = (key(2), key(4));
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Allowed, &[(known, &own)]));
        let sent = several(40, hop.local_addr().unwrap());
        let parts: Vec<_> = sent.chunks(10).collect();
        let mut open = Vec::new();
        for (from, own, part) in [(known, &own, parts[0]), (unknown, &nobodys, parts[1])] {
            let mut connection = connect_from(&server, from);
            let mut sealer = greet(&mut connection, own, Pattern::XkPsk3);
            connection.write_all(&seal(&mut sealer, &stream(part))).unwrap();
            open.push(connection);
        }
        for (from, part) in [(known, parts[2]), (unknown, parts[3])] {
            let mut connection = connect_from(&server, from);
            connection.write_all(&stream(part)).unwrap();
            open.push(connection);
        }
        let mut next = accept(&hop);
        assert_same(read(&mut next, sent.len(), FrameVersion::Current), &sent);
        // Where a key is known, it is that one or none.
        let mut stranger = connect_from(&server, known);
        greet(&mut stranger, &nobodys, Pattern::XkPsk3);
        assert!(is_closed(&mut stranger));
        until(&server, "failed", |counters| counters.noise_failed == 1);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.counters.noise_handshakes, report.counters.malformed), (2, 0));
    });
}

/// A connection may change hands before its first byte tells what it is.
#[test]
fn connections_that_have_not_begun_change_hands_and_begin_in_either_way() {
    each(|link| {
        let (from, own, hop) = (host(12, 1, link), key(2), hop());
        let settings = speaking(link, Pattern::XkPsk3, Plain::Allowed, &[]);
        let keys = crate::common::keys();
        let old = Server::start(settings.clone(), keys.clone(), |_| Refuse).unwrap();
        let [mut greets, mut plain] = [(); 2].map(|()| connect_from(&old, from));
        until(&old, "accepted", |counters| counters.accepted == 2);
        let fds = old.listeners().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        let basis = Basis { listeners: Some(fds), ..Basis::default() };
        let new = Server::start_silent(settings, basis, keys, |_| Refuse).unwrap();
        new.open(old.release()).unwrap();
        assert_balance(&old.stop());
        let sent = several(4, hop.local_addr().unwrap());
        let mut sealer = greet(&mut greets, &own, Pattern::XkPsk3);
        greets.write_all(&seal(&mut sealer, &stream(&sent[..2]))).unwrap();
        plain.write_all(&stream(&sent[2..])).unwrap();
        assert_same(read(&mut accept(&hop), 4, FrameVersion::Current), &sent);
        assert_balance(&new.stop());
    });
}

/// A setting that an upgrade changes holds for connections of before as well.
#[test]
fn plain_connections_end_where_they_change_hands_to_who_refuses_them() {
    each(|link| {
        let (from, own, hop) = (host(13, 1, link), key(2), hop());
        let peers = [(from, &own)];
        let settings = |plain| speaking(link, Pattern::XkPsk3, plain, &peers);
        let keys = crate::common::keys();
        let old = Server::start(settings(Plain::Allowed), keys.clone(), |_| Refuse).unwrap();
        let [mut between, mut inside, mut greets] = [(); 3].map(|()| connect_from(&old, from));
        let mut unknown = connect(&old);
        let sent = several(4, hop.local_addr().unwrap());
        between.write_all(&stream(&sent[..1])).unwrap();
        inside.write_all(&stream(&sent[1..2])[..1_000]).unwrap();
        until(&old, "accepted", |counters| counters.accepted == 4 && counters.forwarded == 1);
        let fds = old.listeners().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        let basis = Basis { listeners: Some(fds), ..Basis::default() };
        let new = Server::start_silent(settings(Plain::Refused), basis, keys, |_| Refuse).unwrap();
        new.open(old.release()).unwrap();
        assert_balance(&old.stop());
        assert!(is_closed(&mut inside) && is_closed(&mut unknown));
        between.write_all(&stream(&sent[2..3])).unwrap();
        assert!(is_closed(&mut between), "frames are no handshake");
        greet(&mut greets, &own, Pattern::XkPsk3);
        until(&new, "refused and greeted", |counters| {
            (counters.plain_refused, counters.noise_failed, counters.noise_handshakes) == (2, 1, 1)
        });
        let report = new.stop();
        assert_balance(&report);
        assert_eq!((report.counters.received, report.counters.malformed), (0, 0));
    });
}

#[test]
fn plain_peers_are_refused_where_it_is_not() {
    each(|link| {
        let (from, own, hop) = (host(3, 1, link), key(2), hop());
        let peers = [(from, &own)];
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Refused, &peers));
        assert!(is_closed(&mut connect(&server)));
        until(&server, "refused", |counters| counters.plain_refused == 1);
        // A next hop whose key is not known is not connected to, and its packets expire.
        let mut connection = connect_from(&server, from);
        let mut sealer = greet(&mut connection, &own, Pattern::XkPsk3);
        let sent = several(2, hop.local_addr().unwrap());
        connection.write_all(&seal(&mut sealer, &stream(&sent))).unwrap();
        until(&server, "expired", |counters| {
            counters.dropped(DropReason::PeerUnreachable) == 2 && counters.plain_refused > 1
        });
        hop.set_nonblocking(true).unwrap();
        assert!(hop.accept().is_err(), "nobody connected");
        assert_balance(&server.stop());
    });
}

#[test]
fn a_forged_record_ends_its_connection_and_no_other() {
    each(|link| {
        let (from, own, hop) = (host(4, 1, link), key(2), hop());
        let peers = [(from, &own)];
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Allowed, &peers));
        let to = hop.local_addr().unwrap();
        let [mut bad, mut good] = [(); 2].map(|()| connect_from(&server, from));
        let mut sealers = [&mut bad, &mut good].map(|on| greet(on, &own, Pattern::XkPsk3));
        let sent = several(3, to);
        bad.write_all(&seal(&mut sealers[0], &stream(&sent[..1]))).unwrap();
        until(&server, "received", |counters| counters.received == 1);
        let mut record = seal(&mut sealers[0], &stream(&sent[1..2]));
        *record.last_mut().unwrap() ^= 1;
        bad.write_all(&record).unwrap();
        assert!(is_closed(&mut bad));
        good.write_all(&seal(&mut sealers[1], &stream(&sent[2..]))).unwrap();
        let got = read(&mut accept(&hop), 2, FrameVersion::Current);
        assert_eq!(got.len(), 2);
        until(&server, "counted", |counters| counters.forged == 1);
        let report = server.stop();
        assert_balance(&report);
        assert_eq!((report.counters.received, report.counters.malformed), (2, 0));
    });
}

#[test]
fn handshakes_that_fail_or_never_end_are_closed_and_counted() {
    each(|link| {
        let (from, own) = (host(5, 1, link), key(2));
        let peers = [(from, &own)];
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Refused, &peers));
        // Frames, where a handshake is due.
        let mut plain = connect_from(&server, from);
        plain.write_all(&stream(&several(1, "127.0.0.1:9".parse().unwrap()))).unwrap();
        assert!(is_closed(&mut plain));
        // The key of somebody else.
        let mut stranger = connect_from(&server, from);
        greet(&mut stranger, &key(9), Pattern::XkPsk3);
        assert!(is_closed(&mut stranger));
        // Hung up in the middle.
        let (_, first) = Greeting::initiate(&own, Pattern::XkPsk3, key(1).public()).unwrap();
        let mut short = connect_from(&server, from);
        short.write_all(&first[..30]).unwrap();
        drop(short);
        // Silence, at once and after a first message.
        let begun = Instant::now();
        let mut silent = connect_from(&server, from);
        let mut half = connect_from(&server, from);
        half.write_all(&first).unwrap();
        record(&mut half);
        assert!(is_closed(&mut silent) && is_closed(&mut half));
        assert!(begun.elapsed() >= Duration::from_millis(1_500));
        until(&server, "failed", |counters| counters.noise_failed == 5);
        let report = server.stop();
        assert_eq!((report.counters.noise_handshakes, report.counters.received), (0, 0));
    });
}

#[test]
fn a_next_hop_that_does_not_greet_is_given_up() {
    each(|link| {
        let (at, own) = (host(6, 1, link), key(3));
        let hop = TcpListener::bind(SocketAddr::new(at, 0)).unwrap();
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Allowed, &[(at, &own)]));
        let sent = several(2, hop.local_addr().unwrap());
        let _connection = crate::common::send(&server, &sent);
        // One that says nothing, and one that says something else.
        let mut silent = accept(&hop);
        assert_eq!(record(&mut silent).len(), HEADER_LEN + 48);
        let mut other = accept(&hop);
        record(&mut other);
        other.write_all(&[7; 100]).unwrap();
        assert!(is_closed(&mut silent));
        until(&server, "failed", |counters| counters.noise_failed >= 2);
        until(&server, "expired", |c| c.dropped(DropReason::PeerUnreachable) == 2);
        assert_balance(&server.stop());
    });
}

#[test]
fn other_nodes_keys_change_while_it_runs() {
    each(|link| {
        let (from, own, hop) = (host(7, 1, link), key(2), hop());
        let server = start(speaking(link, Pattern::XkPsk3, Plain::Refused, &[]));
        assert!(is_closed(&mut connect_from(&server, from)));
        let to = hop.local_addr().unwrap();
        let peers: NoisePeers =
            [(from, *own.public()), (to.ip(), *key(3).public())].into_iter().collect();
        server.set_noise_peers(&Arc::new(peers));
        // The change comes between two turns; who comes before is refused.
        let mut connection = loop {
            let mut connection = connect_from(&server, from);
            let (_, first) = Greeting::initiate(&own, Pattern::XkPsk3, key(1).public()).unwrap();
            connection.write_all(&first).unwrap();
            if connection.read(&mut [0]).is_ok_and(|count| count == 1) {
                break connect_from(&server, from);
            }
        };
        let mut sealer = greet(&mut connection, &own, Pattern::XkPsk3);
        let sent = several(1, to);
        connection.write_all(&seal(&mut sealer, &stream(&sent))).unwrap();
        let mut next = accept(&hop);
        let reader = answer(&mut next, &key(3), Pattern::XkPsk3);
        assert_same(read_frames(&mut next, reader, 1), &sent);
    });
}

#[test]
fn connections_in_noise_change_hands_anywhere_in_a_record() {
    each(|link| {
        for (number, pattern) in PATTERNS.into_iter().enumerate() {
            let address = host(9, 1 + number as u8, link);
            let (hop, peer) = (hop(), key(2));
            let mut settings = speaking(link, pattern, Plain::Allowed, &[(address, &peer)]);
            settings.connections_max = 2;
            let keys = crate::common::keys();
            let start = |listeners| {
                let keys = keys.clone();
                Server::start_silent(
                    settings.clone(),
                    Basis { listeners: Some(listeners), ..Basis::default() },
                    keys,
                    |_| Refuse,
                )
                .unwrap()
            };
            let mut server = Server::start(settings.clone(), keys.clone(), |_| Refuse).unwrap();
            let sent = several(12, hop.local_addr().unwrap());
            let mut connection = connect_from(&server, address);
            // The old server has a handshake to finish, while it accepts nothing more.
            let mut sealer = greet(&mut connection, &peer, pattern);
            let mut records = Vec::new();
            stream(&sent).chunks(1_700).for_each(|text| records.extend(seal(&mut sealer, text)));
            let mut forwarded = 0;
            for piece in records.chunks(1_237) {
                connection.write_all(piece).unwrap();
                let fds = server.listeners().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
                let new = start(fds);
                new.open(server.release()).unwrap();
                let report = server.stop();
                assert_balance(&report);
                assert_eq!((report.abandoned, report.counters.forged), (0, 0));
                forwarded += report.counters.forwarded;
                server = new;
            }
            until(&server, "all sent on", |counters| forwarded + counters.forwarded == 12);
            assert_balance(&server.stop());
        }
    });
}
