//! Keys that change while packets stream.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use phix_client::keyfile::{self, KeyKind};
use phix_client::packet::{Factory, Packet, PacketConfig};
use phix_client::topology::{self, Hop};
use phix_engine::wire::frame::KeyRotation;
use rustix::process::Signal;

use crate::common::{Node, PATIENCE, Running, done, has, phix, refused};
use crate::path::{DESTINATION, End, route, rows};
use crate::upgrade::upgrade;

const LENGTH: u64 = 12_000;
const OVERLAP: u64 = 4_000;
/// What a thread may lose of its time without a packet coming too late for its key.
const MARGIN: u64 = 2_000;

/// Changes of keys that are gone through until packets of both keys were sent on both sides of one:
/// on a busy machine an upgrade may last longer than both keys are served.
const CHANGES: u32 = 8;

/// How often a new program takes the node's place.
const UPGRADE_EVERY: Duration = Duration::from_millis(1_700);

/// The rotation now, and how many milliseconds it has lasted.
fn clock() -> (u32, u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = now.as_millis() as u64;
    ((now / LENGTH) as u32, now % LENGTH)
}

fn key_path(node: &Node, number: u32) -> PathBuf {
    node.dir.join(format!("keys/sphinx-{number}.key"))
}

fn journal_path(node: &Node, number: u32) -> PathBuf {
    node.dir.join(format!("state/replay-{number}.journal"))
}

/// A sender that knows the keys of one node, and an end that counts what comes out.
struct Stream<'a> {
    node: &'a Node,
    route: Vec<Hop>,
    stream: TcpStream,
    end: &'a End,
    keys: BTreeMap<u32, [u8; 32]>,
    /// The last packet that passed under each key.
    passed: BTreeMap<u32, Packet>,
    sent: u64,
    replayed: u64,
}

impl Stream<'_> {
    /// Builds a packet for the key of a rotation, and says so in its frame or not.
    fn packet(&mut self, number: u32, says: bool) -> Packet {
        let read = || keyfile::read(&key_path(self.node, number), KeyKind::Sphinx).unwrap();
        let key = *self.keys.entry(number).or_insert_with(|| KeyKind::Sphinx.public(&read()));
        self.route[0].key = key;
        let rotation = if says { KeyRotation::from_id(number) } else { KeyRotation::Unknown };
        let mean_delay = Duration::ZERO;
        let config = PacketConfig { mean_delay, rotation, ..PacketConfig::default() };
        Factory::new(config).build(&number.to_le_bytes(), &self.route, DESTINATION).unwrap()
    }

    /// Sends a packet for this key, sees it come out, and sends it and the one before once more.
    fn pass(&mut self, number: u32, says: bool) {
        let packet = self.pass_once(number, says);
        for again in [Some(packet.clone()), self.passed.insert(number, packet)].iter().flatten() {
            self.stream.write_all(&again.frame).unwrap();
            self.replayed += 1;
        }
    }

    /// Sends a packet for this key and sees it come out: the node has then read all before it.
    fn pass_once(&mut self, number: u32, says: bool) -> Packet {
        let packet = self.packet(number, says);
        self.stream.write_all(&packet.frame).unwrap();
        let message = self.end.inbox.recv_timeout(PATIENCE).expect("no packet is lost");
        assert_eq!(message, number.to_le_bytes());
        self.sent += 1;
        packet
    }
}

fn node() -> Node {
    Node::with(&["--rotation", "12s", "--rotation-overlap", "4s"])
}

/// Waits for a rotation that the node was there for, before the overlap with the next.
fn first_rotation(node: &Node) -> u32 {
    loop {
        match clock() {
            (number, since) if since < LENGTH - OVERLAP && key_path(node, number).exists() => {
                return number;
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Waits until something is so.
fn comes_about(what: &str, so: impl Fn() -> bool) {
    let ends = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < ends, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Streams packets for all keys that are served, from before a change until the old key is gone,
/// while new programs take the node's place again and again, or do not.
fn changed_under_load(link: &str, upgrades: bool) {
    if !has(link) {
        return;
    }
    let end = End::start();
    let node = node();
    // The keys of a fresh node are those of this rotation and the next.
    let running = Running::start(&mut node.phix("run", &["--link", link]));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, running)] = nodes;
    let stream = TcpStream::connect(route[0].address).unwrap();
    let (keys, passed) = (BTreeMap::new(), BTreeMap::new());
    let (node, end) = (&node, &end);
    let mut stream = Stream { node, route, stream, end, keys, passed, sent: 0, replayed: 0 };
    let mut first = first_rotation(node);
    let last_change = first + CHANGES;
    let (mut early, mut late, mut says) = (0, 0, false);
    let (mut last, mut upgraded) = (running.child.id(), Instant::now());
    loop {
        if upgrades && upgraded.elapsed() > UPGRADE_EVERY {
            last = upgrade(node);
            upgraded = Instant::now();
        }
        says = !says;
        // A packet that is on its way while the keys change is one of the old key.
        stream.pass(clock().0, says);
        // A busy machine may have taken its time over that.
        let (number, since) = clock();
        if number == first && since > LENGTH - OVERLAP + MARGIN {
            stream.pass(first + 1, says);
            early += 1;
        }
        if number == first + 1 && since < OVERLAP - MARGIN {
            stream.pass(first, says);
            late += 1;
        }
        if number > first && since > OVERLAP + MARGIN {
            if (early > 0 && late > 0) || number >= last_change {
                break;
            }
            (first, early, late) = (number, 0, 0);
        }
    }
    assert!(early > 0 && late > 0, "both keys were served on both sides: {early}, {late}");
    comes_about("the old key is gone, with all that was known of it", || {
        !key_path(node, first).exists() && !journal_path(node, first).exists()
    });
    assert!(journal_path(node, first + 1).exists());
    comes_about("the next key can be announced", || key_path(node, first + 2).exists());
    let old = stream.passed.remove(&first).unwrap();
    stream.stream.write_all(&old.frame).unwrap();
    stream.pass_once(first + 1, true);
    let (sent, replayed) = (stream.sent, stream.replayed);
    let report = running.stop_last(last);
    assert_eq!(rows(&report, "received"), sent + replayed + 1, "{report}");
    assert_eq!((rows(&report, "sent on"), rows(&report, "replay")), (sent, replayed), "{report}");
    assert_eq!(rows(&report, "dropped"), replayed + 1, "{report}");
    // Of all processes one changes the keys, or one begins with what the change has led to.
    let change = format!("serving the keys of rotations {} and {first}\n", first + 1);
    assert!(report.matches(&change).count() <= 1 && (upgrades || report.contains(&change)));
}

#[test]
fn keys_change_under_load_without_loss_over_epoll() {
    changed_under_load("epoll", false);
}

#[test]
fn keys_change_under_load_without_loss_over_io_uring() {
    changed_under_load("io_uring", false);
}

#[test]
fn keys_change_while_programs_do_over_epoll() {
    changed_under_load("epoll", true);
}

#[test]
fn keys_change_while_programs_do_over_io_uring() {
    changed_under_load("io_uring", true);
}

#[test]
fn a_topology_names_the_key_of_the_present_rotation() {
    let nodes: [Node; 4] = std::array::from_fn(|_| Node::with(&["--rotation", "8760h"]));
    let out = nodes[0].dir.join("topology.json");
    for (number, node) in nodes.iter().enumerate() {
        node.set("listen", &format!("\"127.0.0.1:{}\"", 40_001 + number));
    }
    let dirs = [("--layer1", 0), ("--layer2", 1), ("--layer3", 2), ("--gateway", 3)];
    let mut args = vec!["topology", "--out", out.to_str().unwrap()];
    args.extend(dirs.iter().flat_map(|&(flag, index)| [flag, nodes[index].path()]));
    done(&phix(&args).output().unwrap());
    let written = topology::load(&out).unwrap();
    let number = written.metadata().key_rotation_id;
    let secret = keyfile::read(&key_path(&nodes[0], number), KeyKind::Sphinx).unwrap();
    let key = topology::PublicKey(KeyKind::Sphinx.public(&secret));
    let mut written = written.form().node_details.values();
    assert!(written.any(|node| node.sphinx_key == key), "the key of rotation {number}");
    fs::remove_file(&out).unwrap();
    nodes[2].set("rotation", "\"off\"");
    refused(&mut phix(&args), &["the same `rotation`"]);
    nodes[2].set("rotation", "\"8760h\"");
    fs::remove_file(key_path(&nodes[2], number)).unwrap();
    refused(&mut phix(&args), &["no key of the present rotation", "start the node"]);
}

/// Packets that `check-config` says are remembered of each key, by what it says of the disk.
fn remembered(node: &Node, args: &[&str]) -> String {
    let said = done(&node.phix("check-config", args).output().unwrap());
    said.lines().find(|line| line.starts_with("disk")).unwrap().to_owned()
}

#[test]
fn a_filter_is_sized_by_what_was_measured_and_a_restart_knows_it() {
    let auto = ["--replay-capacity", "auto"];
    let node = Node::with(&["--rotation", "1h", "--rotation-overlap", "10m"]);
    // Assumed: 555 a second for 80 minutes and half as many again, of two keys, at 8 bytes.
    assert!(remembered(&node, &auto).contains("up to 64 MB"), "{}", remembered(&node, &auto));
    let rates = node.dir.join("state/replay-rate");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let number = now.as_secs() / 3600;
    fs::create_dir_all(node.dir.join("state")).unwrap();
    // What a node writes that has seen a rotation of 5,000 packets a second.
    fs::write(&rates, format!("phix-replay-rate-v1\n{} 5000.000\n", number - 1)).unwrap();
    assert!(remembered(&node, &auto).contains("up to 576 MB"), "{}", remembered(&node, &auto));
    // Of a clock that jumped, or of long ago: the node starts, and what it measures is kept.
    let short = Node::with(&["--rotation", "9s", "--rotation-overlap", "3s"]);
    let running = Running::start(&mut short.phix("run", &auto));
    let written = short.dir.join("state/replay-rate");
    comes_about("a rate is written within a rotation", || written.exists());
    running.stop(Signal::TERM);
    let text = fs::read_to_string(&written).unwrap();
    assert!(text.starts_with("phix-replay-rate-v1\n") && text.lines().count() >= 2, "{text}");
    Running::start(&mut short.phix("run", &auto)).stop(Signal::TERM);
    // One that is damaged is no reason not to start.
    fs::write(&written, "?").unwrap();
    let running = Running::start(&mut short.phix("run", &auto));
    assert!(running.before.contains("measured anew"), "{}", running.before);
    running.stop(Signal::TERM);
}

#[test]
fn a_size_that_cannot_be_known_is_refused() {
    let node = Node::new();
    for command in ["run", "check-config"] {
        let args = ["--replay-capacity", "auto"];
        refused(&mut node.phix(command, &args), &["replay-capacity is auto", "set --rotation"]);
    }
}

#[test]
fn an_overlap_that_does_not_fit_is_refused() {
    let node = Node::new();
    let args = ["--rotation", "10s", "--rotation-overlap", "4s"];
    for command in ["run", "check-config"] {
        refused(&mut node.phix(command, &args), &["rotation-overlap", "a third of rotation"]);
    }
}
