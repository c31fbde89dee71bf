//! A node whose exit has an IP packet router: a client of the mixnet pings a machine behind it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use phix_client::mixnet::{Client, Outgoing, Recipient};
use phix_proto::ipr::{
    Ask, Bundle, Control, Request, RequestBody, Response, ResponseBody, Version, packets,
};
use tokio::time::{sleep, timeout};

use crate::network::Network;
use crate::process::{GATEWAY, exit, set};
use crate::scene::settings;
use crate::{PATIENCE, namespace, within};

const METRICS: &str = "127.0.0.1:9178";
const TABLE: &str = "table inet phix_phixe\n";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

#[test]
fn clients_reach_machines_behind_the_router_of_an_exit() {
    namespace::inside("router::inside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a namespace that another test makes"]
async fn inside() {
    let _neighbour = namespace::neighbour();
    let mut network = Network::start();
    let more =
        [("exit-router", "phixe"), ("exit-router-addresses", "10.93.0.0/16"), ("metrics", METRICS)];
    // Its keys are made when it starts.
    let router = exit(&mut network, "10.77.0.2", &more, "router");
    let mut client =
        within(Client::builder().settings(settings(&network)).connect()).await.unwrap();
    let ask = Ask::Connect { buffer_timeout_ms: None };
    let control = Control { id: 7, sent: time::OffsetDateTime::now_utc(), ask };
    say(&client, router, RequestBody::Control(control)).await;
    let delivery = within(client.receive()).await.expect("the client runs");
    let answer = Response::parse(&delivery.data).unwrap();
    let ResponseBody::Connect(7, Ok(mine)) = answer.body else { panic!("{answer:?}") };
    assert!(mine.v4.octets().starts_with(&[10, 93]), "{mine:?}");
    within(ping(&mut client, router, mine.v4)).await;
    counted(&["phix_router_clients 1", "phix_router_connected_total 1"]).await;

    // Killed, it leaves its rules behind, and undoes them when it starts without a router.
    network.kill(GATEWAY);
    assert_eq!(namespace::run("nft list tables").unwrap(), TABLE);
    let dir = network.dir.path().join(format!("node{GATEWAY}"));
    set(&dir, &[("exit-router", "off")]);
    network.revive(GATEWAY);
    let deadline = Instant::now() + PATIENCE;
    while !namespace::run("nft list tables").unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the rules are undone");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn say(client: &Client, recipient: Recipient, body: RequestBody<'_>) {
    let data = Request { version: Version::V8, body }.to_bytes();
    let outgoing = Outgoing::Message { recipient, data, reply_surbs: 10 };
    let _ = within(client.sender().submit(outgoing, None)).await.unwrap();
}

/// Sends echo requests until the machine has answered one.
async fn ping(client: &mut Client, router: Recipient, own: Ipv4Addr) {
    loop {
        let mut bundle = Bundle::default();
        bundle.push(&echo_request(own)).unwrap();
        say(client, router, RequestBody::Data(&bundle.take().unwrap())).await;
        let Ok(delivery) = timeout(Duration::from_secs(5), client.receive()).await else {
            continue;
        };
        let delivery = delivery.expect("the client runs");
        let answer = Response::parse(&delivery.data).unwrap();
        let ResponseBody::Data(bundle) = answer.body else { panic!("{answer:?}") };
        let packet = packets(bundle).next().unwrap().unwrap();
        assert_eq!((&packet[12..16], &packet[16..20]), (&SERVER.octets()[..], &own.octets()[..]));
        assert_eq!((packet[20], &packet[28..]), (0, &b"ping"[..]), "an echo reply");
        return;
    }
}

/// An echo request of ICMP with the data `ping`, in an IPv4 packet.
fn echo_request(own: Ipv4Addr) -> Vec<u8> {
    let mut head = vec![0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 1, 0, 0];
    head.extend([own.octets(), SERVER.octets()].concat());
    let mut echo = [&[8, 0, 0, 0, 0, 1, 0, 1], &b"ping"[..]].concat();
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum);
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    head.extend(echo);
    head
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>();
    (!(((sum & 0xffff) + (sum >> 16)) as u16)).to_be_bytes()
}

/// Waits until the node's metrics have these lines.
async fn counted(lines: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut connection = TcpStream::connect(METRICS).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        connection.write_all(request).unwrap();
        let mut page = String::new();
        connection.read_to_string(&mut page).unwrap();
        if lines.iter().all(|line| page.lines().any(|one| one == *line)) {
            return;
        }
        assert!(Instant::now() < deadline, "{lines:?} are not in {page}");
        sleep(Duration::from_millis(200)).await;
    }
}
