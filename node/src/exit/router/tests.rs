//! Clients at a router: what they are given, what they may send, and when it ends.

mod kernel;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use phix_client::mixnet::SenderTag;
use phix_proto::ipr::{
    Ask, Assigned, Bundle, ConnectRefusal, Control, DisconnectRefusal, Disconnection, Frame,
    FrameKind, Info, Request, RequestBody, Response, ResponseBody, Version, packets,
};

use super::counts::{Counts, Dropped};
use super::limits::{BUNDLING, SILENCE, TIDYING};
use super::pool::Pool;
use super::table::{Output, Table};
use crate::exit::policy::{OPEN, Policy};

/// A router, what it counts, its policy, and the time.
struct World {
    table: Table,
    counts: std::sync::Arc<Counts>,
    policy: Policy,
    now: Instant,
}

const fn tag(number: u8) -> SenderTag {
    SenderTag::from_bytes([number; 16])
}

/// An IP packet of UDP with right lengths and checksum, from port 1000.
fn udp(from: (Ipv4Addr, Ipv6Addr), to: std::net::IpAddr, port: u16, data: &[u8]) -> Vec<u8> {
    let length = 8 + data.len() as u16;
    let mut segment = [1000_u16, port, length, 0].map(u16::to_be_bytes).concat();
    segment.extend(data);
    let (mut packet, addresses) = match to {
        std::net::IpAddr::V4(to) => {
            let mut head = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
            head[2..4].copy_from_slice(&(20 + length).to_be_bytes());
            let addresses = [from.0.octets(), to.octets()].concat();
            head.extend(&addresses);
            let sum = checksum(&head);
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            (head, addresses)
        }
        std::net::IpAddr::V6(to) => {
            let mut head = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
            head[4..6].copy_from_slice(&length.to_be_bytes());
            let addresses = [from.1.octets(), to.octets()].concat();
            head.extend(&addresses);
            (head, addresses)
        }
    };
    let pseudo = [&addresses[..], &[0, 17], &length.to_be_bytes(), &segment].concat();
    segment[6..8].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    packet.extend(segment);
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl World {
    fn new(policy: &str) -> Self {
        Self::with("10.93.0.0/16", Policy::parse(policy).unwrap())
    }

    fn with(network: &str, policy: Policy) -> Self {
        let (counts, now) = (std::sync::Arc::<Counts>::default(), Instant::now());
        let pool = Pool::new(network.parse().unwrap());
        Self { table: Table::new(pool, counts.clone(), now), counts, policy, now }
    }

    fn say(&mut self, from: SenderTag, bytes: &[u8]) {
        self.table.message(Some(from), bytes, &self.policy, self.now);
    }

    fn ask(&mut self, from: SenderTag, version: Version, id: u64, ask: Ask) {
        let control = Control { id, sent: time::OffsetDateTime::UNIX_EPOCH, ask };
        let request = Request { version, body: RequestBody::Control(control) };
        self.say(from, &request.to_bytes());
    }

    fn send(&mut self, from: SenderTag, packet: &[u8]) {
        let mut bundle = Bundle::default();
        bundle.push(packet).unwrap();
        let bundle = bundle.take().unwrap();
        let body = RequestBody::Data(&bundle);
        self.say(from, &Request { version: Version::V8, body }.to_bytes());
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.table.tick(self.now);
    }

    /// The messages that are to be sent, which stand alone.
    fn said(&mut self) -> Vec<(SenderTag, Vec<u8>)> {
        let outputs = self.table.outputs().into_iter();
        let message = |output| match output {
            Output::Message(to, bytes) => (to, bytes),
            Output::Packet(packet) => panic!("a packet: {packet:?}"),
        };
        outputs.map(message).collect()
    }

    /// What the one message says that is to be sent.
    fn answer(&mut self) -> ResponseBody<'static> {
        let mut said = self.said();
        assert_eq!(said.len(), 1, "{said:?}");
        Response::parse(said.pop().unwrap().1.leak()).unwrap().body
    }

    fn connect(&mut self, from: SenderTag) -> Assigned {
        self.ask(from, Version::V8, 7, Ask::Connect { buffer_timeout_ms: None });
        match self.answer() {
            ResponseBody::Connect(7, Ok(assigned)) => assigned,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn clients_get_addresses_of_their_own_and_give_them_back() {
    let mut world = World::new(OPEN);
    let one = world.connect(tag(1));
    let other = world.connect(tag(2));
    assert_eq!((one.v4, one.v6), ("10.93.0.2".parse().unwrap(), "fc00::2".parse().unwrap()));
    assert_eq!((other.v4, other.v6), ("10.93.0.3".parse().unwrap(), "fc00::3".parse().unwrap()));
    assert_eq!(world.connect(tag(1)), one, "who asks again has the same");
    assert_eq!((world.counts.connected.get(), world.counts.clients.get()), (2, 2));
    world.ask(tag(1), Version::V8, 9, Ask::Disconnect);
    assert_eq!(world.answer(), ResponseBody::Disconnect(9, Ok(())));
    world.ask(tag(1), Version::V8, 10, Ask::Disconnect);
    let refusal = Err(DisconnectRefusal::NotConnected);
    assert_eq!(world.answer(), ResponseBody::Disconnect(10, refusal));
    let next = world.connect(tag(3)).v4;
    assert_eq!(next, "10.93.0.4".parse::<Ipv4Addr>().unwrap(), "what was given back rests");
    assert_eq!(world.counts.clients.get(), 2);
}

#[test]
fn a_pool_that_is_empty_is_said_and_gives_out_again() {
    let mut world = World::with("10.93.0.0/29", Policy::parse(OPEN).unwrap());
    // Eight numbers without network, broadcast and router.
    let all: Vec<Ipv4Addr> = (1..=5).map(|number| world.connect(tag(number)).v4).collect();
    assert_eq!(all.last(), Some(&"10.93.0.6".parse().unwrap()));
    world.ask(tag(6), Version::V8, 1, Ask::Connect { buffer_timeout_ms: None });
    let none = Err(ConnectRefusal::NoAddressLeft);
    assert_eq!(world.answer(), ResponseBody::Connect(1, none));
    world.ask(tag(2), Version::V8, 2, Ask::Disconnect);
    world.answer();
    assert_eq!(world.connect(tag(6)).v4, all[1]);
}

#[test]
fn packets_go_where_the_policy_lets_them() {
    let mut world = World::new("reject 8.8.4.4:*\naccept *:53");
    let mine = world.connect(tag(1));
    let from = (mine.v4, mine.v6);
    let good = [
        udp(from, "8.8.8.8".parse().unwrap(), 53, b"question"),
        udp(from, "2001:4860:4860::8888".parse().unwrap(), 53, b"question"),
    ];
    for packet in good {
        world.send(tag(1), &packet);
        assert_eq!(world.table.outputs(), [Output::Packet(packet)]);
    }
    world.send(tag(1), &udp(from, "8.8.8.8".parse().unwrap(), 25, b"spam"));
    let ResponseBody::Info(0, Info::Refused(target), _) = world.answer() else { panic!() };
    assert_eq!(target, "8.8.8.8:25");
    for target in ["8.8.4.4", "127.0.0.1", "10.93.0.1", "10.93.0.3", "169.254.169.254", "fc00::1"] {
        world.send(tag(1), &udp(from, target.parse().unwrap(), 53, b"inside"));
        assert_eq!(world.said(), [], "{target} is refused, and that is not said each time");
    }
    assert_eq!(world.counts.dropped(Dropped::Policy), 7);
    assert_eq!(world.counts.out.get(), 2);
}

#[test]
fn what_is_no_honest_packet_is_dropped_and_counted() {
    let mut world = World::new(OPEN);
    let mine = world.connect(tag(1));
    let right = udp((mine.v4, mine.v6), "8.8.8.8".parse().unwrap(), 53, b"question");
    let with = |change: fn(&mut Vec<u8>)| {
        let mut packet = right.clone();
        change(&mut packet);
        packet
    };
    let wrong = [
        (with(|packet| packet[15] ^= 1), Dropped::Spoofed),
        (with(|packet| packet[6] = 0x20), Dropped::Fragment),
        (with(|packet| packet[7] = 1), Dropped::Fragment),
        (with(|packet| packet[9] = 47), Dropped::Protocol),
        (with(|packet| packet.truncate(22)), Dropped::Packet),
        (with(|packet| packet[0] = 0x55), Dropped::Packet),
        (with(|packet| packet[0] = 0x44), Dropped::Packet),
        (with(|packet| packet.push(0)), Dropped::Packet),
        (with(Vec::clear), Dropped::Packet),
    ];
    for (packet, why) in wrong {
        let before = world.counts.dropped(why);
        world.send(tag(1), &packet);
        assert_eq!(world.counts.dropped(why), before + 1, "{why:?}");
        assert_eq!(world.table.outputs(), [], "{why:?}");
    }
    world.send(tag(2), &right);
    assert_eq!(world.counts.dropped(Dropped::NotConnected), 1);
    world.say(tag(1), &[8, 1, 9]);
    assert_eq!(world.counts.dropped(Dropped::Malformed), 1);
    world.table.message(None, &[8], &world.policy, world.now);
    assert_eq!(world.counts.dropped(Dropped::NoWay), 1);
    assert_eq!(world.table.outputs(), []);
}

#[test]
fn packets_of_the_network_wait_for_each_other_and_not_for_long() {
    let mut world = World::new(OPEN);
    let mine = world.connect(tag(1));
    let other = world.connect(tag(2));
    let server: (Ipv4Addr, Ipv6Addr) = ("8.8.8.8".parse().unwrap(), "2a00::1".parse().unwrap());
    let small = udp(server, mine.v4.into(), 1000, b"one");
    let large = udp(server, mine.v6.into(), 1000, &[7; 1300]);
    let late = udp(server, other.v4.into(), 1000, b"late");
    let now = world.now;
    world.table.packet(&small, now);
    world.table.packet(&late, now + BUNDLING / 2);
    assert_eq!(world.said(), []);
    assert_eq!(world.table.deadline(), now + BUNDLING);
    world.table.packet(&small, now);
    world.after(BUNDLING);
    let in_bundle = |body| match body {
        ResponseBody::Data(bundle) => {
            packets(bundle).map(|packet| packet.unwrap().to_vec()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(in_bundle(world.answer()), [small.clone(), small.clone()]);
    world.after(BUNDLING / 2);
    assert_eq!(in_bundle(world.answer()), [late]);
    world.table.packet(&large, world.now);
    world.table.packet(&large, world.now);
    assert_eq!(in_bundle(world.answer()), std::slice::from_ref(&large), "the second found no room");
    world.after(BUNDLING);
    assert_eq!(in_bundle(world.answer()), [large]);
    world.table.packet(&udp(server, "10.93.0.99".parse().unwrap(), 1000, b"?"), world.now);
    world.table.packet(b"no packet", world.now);
    assert_eq!(world.counts.dropped(Dropped::NoClient), 2);
    assert_eq!(world.counts.back.get(), 5);
}

#[test]
fn silent_clients_lose_their_addresses_and_pings_keep_them() {
    let mut world = World::new(OPEN);
    let (silent, alive) = (world.connect(tag(1)), world.connect(tag(2)));
    world.after(SILENCE - TIDYING);
    world.ask(tag(2), Version::V8, 3, Ask::Ping);
    assert_eq!(world.answer(), ResponseBody::Pong(3));
    world.after(TIDYING);
    let said = world.said();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].0, tag(1));
    let body = Response::parse(&said[0].1).unwrap().body;
    assert_eq!(body, ResponseBody::CutOff(Disconnection::SilentClient));
    assert_eq!((world.counts.expired.get(), world.counts.clients.get()), (1, 1));
    let server = ("8.8.8.8".parse().unwrap(), "2a00::1".parse().unwrap());
    world.table.packet(&udp(server, silent.v4.into(), 1, b"late"), world.now);
    assert_eq!(world.counts.dropped(Dropped::NoClient), 1);
    assert_eq!(world.connect(tag(2)), alive);
}

#[test]
fn later_versions_come_and_go_in_a_stream() {
    let mut world = World::new(OPEN);
    world.ask(tag(1), Version::V9, 1, Ask::Ping);
    assert_eq!((world.said(), world.counts.dropped(Dropped::NoStream)), (vec![], 1));
    let mut frame = |kind, version: Option<Version>| {
        let control = Control {
            id: 300,
            sent: time::OffsetDateTime::UNIX_EPOCH,
            ask: Ask::Connect { buffer_timeout_ms: Some(1) },
        };
        let body = RequestBody::Control(control);
        let content = version.map(|version| Request { version, body }.to_bytes());
        let content = content.unwrap_or_default();
        let frame = Frame { stream: 77, kind, sequence: 0, content: &content }.to_bytes();
        world.say(tag(1), &frame);
        world.said()
    };
    assert_eq!(frame(FrameKind::Open, None), []);
    for (sequence, version) in [(0, Version::V10), (1, Version::V9)] {
        let said = frame(FrameKind::Data, Some(version));
        let answer = Frame::parse(&said[0].1).unwrap();
        assert_eq!((answer.stream, answer.sequence, answer.kind), (77, sequence, FrameKind::Data));
        let response = Response::parse(answer.content).unwrap();
        assert_eq!(response.version, version);
        let ResponseBody::Connect(300, Ok(assigned)) = response.body else { panic!() };
        assert_eq!(assigned.mtu, super::limits::MTU);
    }
}

#[test]
fn health_says_which_program_it_is() {
    let mut world = World::new(OPEN);
    world.ask(tag(1), Version::V8, 4, Ask::Health);
    let ResponseBody::Health(4, build, None) = world.answer() else { panic!() };
    assert_eq!((build.binary.as_str(), build.version.as_str()), ("phix-node", "0.1.0"));
    assert_eq!(build.commit, "");
}
