//! What a node still knows after it was killed, and what it does when its disk is full.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use phix_client::packet::{Factory, Packet, PacketConfig};
use rustix::process::Signal;

use crate::common::{Node, PATIENCE, Running, aloud, refused};
use crate::path::{DESTINATION, End, route, row, send};

fn factory() -> Factory {
    Factory::new(PacketConfig { mean_delay: Duration::ZERO, ..PacketConfig::default() })
}

/// Sends packets to the node, in bursts, at least `count`; gives those that have come out at the
/// end.
fn load(nodes: &[(Node, Running)], end: &End, count: usize) -> Vec<Packet> {
    let (route, mut factory) = (route(nodes, end), factory());
    let mut stream = TcpStream::connect(route[0].address).unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < count {
        let mut burst = HashMap::new();
        for number in 0..20_u64 {
            let packet = factory.build(&number.to_le_bytes(), &route, DESTINATION).unwrap();
            stream.write_all(&packet.frame).unwrap();
            burst.insert(number, packet);
        }
        for _ in 0..burst.len() {
            let message = end.inbox.recv_timeout(PATIENCE).expect("the packet arrives");
            let number = u64::from_le_bytes(message.try_into().unwrap());
            arrived.push(burst.remove(&number).unwrap());
        }
    }
    arrived
}

fn journal(node: &Node) -> std::path::PathBuf {
    node.dir.join("state/replay-0.journal")
}

/// Packets that the journal remembers: what stands in the heads of the blocks that are whole.
fn marks(journal: &Path) -> usize {
    let bytes = fs::read(journal).unwrap();
    let (mut at, mut marks) = (64, 0);
    while let Some(head) = bytes.get(at..at + 32) {
        let count = u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize;
        at += 32 + 8 * count;
        marks += if at <= bytes.len() { count } else { 0 };
    }
    marks
}

/// Waits until the journal remembers so many packets; how long that took.
fn remembers(journal: &Path, count: usize) -> Duration {
    let start = Instant::now();
    while marks(journal) < count {
        assert!(start.elapsed() < PATIENCE, "the journal has {} of {count}", marks(journal));
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

/// A node that runs, and where its packets come out.
fn start(node: Node) -> ([(Node, Running); 1], End) {
    let running = Running::start(&mut node.phix("run", &[]));
    ([(node, running)], End::start())
}

#[test]
fn a_killed_node_remembers_what_had_come_to_its_disk() {
    let node = Node::new();
    // More than are taken in before a sender has to wait.
    node.set("capacity", "4096");
    let (mut nodes, end) = start(node);
    let mut expected = 0;
    for round in 0..2 {
        let before = marks(&journal(&nodes[0].0));
        let arrived = load(&nodes, &end, 500);
        remembers(&journal(&nodes[0].0), before + arrived.len());
        // It is killed while more passes.
        load(&nodes, &end, 100);
        let [(node, running)] = nodes;
        running.kill();
        // What a stop in the middle of a write leaves behind.
        let torn = [b"MKS1\x40\0\0\0".as_slice(), &[7; 100]].concat();
        let mut file = OpenOptions::new().append(true).open(journal(&node)).unwrap();
        file.write_all(&torn).unwrap();
        let running = Running::start(&mut node.phix("run", &[]));
        assert!(running.before.contains("write of 108 bytes was cut off"), "{}", running.before);
        nodes = [(node, running)];
        let before = marks(&journal(&nodes[0].0));
        let address = nodes[0].1.address();
        let _open = send(&arrived, address);
        // One that is new comes after them on the same connection, so that they have been seen.
        let mut stream = &_open;
        let last = factory().build(b"last", &route(&nodes, &end), DESTINATION).unwrap();
        stream.write_all(&last.frame).unwrap();
        assert_eq!(end.messages(1), [b"last"], "round {round}: only the new one passes");
        remembers(&journal(&nodes[0].0), before + 1);
        expected = arrived.len() as u64;
    }
    let [(_node, running)] = nodes;
    let report = running.stop(Signal::TERM);
    assert_eq!(row(&report, "replay"), expected, "{report}");
    assert_eq!((row(&report, "received"), row(&report, "sent on")), (expected + 1, 1));
}

/// Of many times the least says what the node does; the others, how busy the machine is.
#[test]
fn what_has_passed_is_on_the_disk_within_a_second() {
    let (nodes, end) = start(Node::new());
    let (start, mut passed) = (Instant::now(), 0);
    loop {
        passed += load(&nodes, &end, 1).len();
        if remembers(&journal(&nodes[0].0), passed) < Duration::from_secs(1) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it takes longer each time");
    }
}

#[test]
fn a_node_that_ended_well_forgets_nothing() {
    let (nodes, end) = start(Node::new());
    let arrived = load(&nodes, &end, 10);
    let [(node, running)] = nodes;
    running.stop(Signal::TERM);
    let running = Running::start(&mut node.phix("run", &[]));
    let said = format!("{} packets of before are remembered\n", arrived.len());
    assert_eq!(running.before, said);
    // And without a state directory everything.
    running.stop(Signal::TERM);
    fs::remove_dir_all(node.dir.join("state")).unwrap();
    Running::start(&mut node.phix("run", &["--state-dir", "none"])).stop(Signal::TERM);
    assert!(!node.dir.join("state").exists());
}

#[test]
fn a_state_directory_that_cannot_be_used_is_refused() {
    let node = Node::new();
    let running = Running::start(&mut node.phix("run", &[]));
    refused(&mut node.phix("run", &[]), &["another node uses the directory", "--state-dir"]);
    running.stop(Signal::TERM);
    let mut bytes = fs::read(journal(&node)).unwrap();
    bytes[40] ^= 1;
    fs::write(journal(&node), bytes).unwrap();
    refused(&mut node.phix("run", &[]), &["replay-0.journal is damaged at its head: move it away"]);
    let other = Node::new();
    Running::start(&mut other.phix("run", &[])).stop(Signal::TERM);
    fs::copy(journal(&other), journal(&node)).unwrap();
    refused(&mut node.phix("run", &[]), &["replay-0.journal belongs to another Sphinx key"]);
    let much = ["--replay-capacity", "100000000000", "--state-dir", "elsewhere"];
    refused(&mut node.phix("run", &much), &["lower replay-capacity"]);
}

/// Fills what is left of the file system of `dir`.
fn fill(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[1; 512]).is_ok() {}
    path
}

#[test]
fn a_node_goes_on_when_its_disk_is_full() {
    let node = Node::new();
    let mount = node.dir.join("small");
    fs::create_dir(&mount).unwrap();
    // A disk of its own, which nobody else sees and which ends with the process.
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&mount);
    command.arg(env!("CARGO_BIN_EXE_phix-node"));
    command.args(["run", "--dir", node.path(), "--state-dir", "small"]);
    command.args(["--status-interval", "off"]);
    let running = Running::start(&mut command);
    if running.first.is_empty() {
        return aloud("NOT TESTED: a full disk, as this user cannot mount one");
    }
    let seen = format!("/proc/{}/root{}", running.child.id(), mount.display());
    let seen = Path::new(&seen);
    let journal = seen.join("replay-0.journal");
    let mut nodes = [(node, running)];
    let end = End::start();
    let filler = fill(seen);
    let full = fs::metadata(&journal).unwrap().len();
    // More than what is left of the last page.
    let arrived = load(&nodes, &end, 4096 / 8);
    let mut line = String::new();
    nodes[0].1.out.read_line(&mut line).unwrap();
    assert!(line.contains("No space left on device") && line.contains("make room"), "{line}");
    fs::remove_file(filler).unwrap();
    let whole = full + arrived.len() as u64 * 8;
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&journal).unwrap().len() < whole {
        assert!(Instant::now() < deadline, "what waited is written once there is room");
        std::thread::sleep(Duration::from_millis(10));
    }
    let [(_node, running)] = nodes;
    let report = running.stop(Signal::TERM);
    assert_eq!(row(&report, "dropped"), 0, "{report}");
    assert!(!report.contains("could not be saved"), "{report}");
}
