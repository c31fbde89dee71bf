//! A new program takes the place of a running node.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Permissions};
use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use phix_client::packet::{Factory, Packet, PacketConfig};
use phix_client::topology::Hop;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Node, PATIENCE, Running, done, has, refused};
use crate::path::{DESTINATION, End, route, rows};

const SENDERS: u64 = 3;

/// Has a new program take the node's place; its process.
pub(crate) fn upgrade(node: &Node) -> u32 {
    let said = done(&node.phix("upgrade", &[]).output().unwrap());
    let process = said.strip_prefix("process ").and_then(|rest| rest.split(' ').next());
    process.and_then(|process| process.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

fn factory() -> Factory {
    Factory::new(PacketConfig { mean_delay: Duration::from_millis(100), ..PacketConfig::default() })
}

/// Streams packets over one connection for as long as it goes, in pieces that know nothing of
/// frames. Numbers start at `first`.
fn sender(route: &[Hop], first: u64, going: &Going) -> Vec<(u64, Packet)> {
    let (mut factory, mut sent) = (factory(), Vec::new());
    let mut stream = TcpStream::connect(route[0].address).unwrap();
    let mut step = 7;
    while going.0.load(Ordering::Relaxed) {
        let number = first + sent.len() as u64;
        let packet = factory.build(&number.to_le_bytes(), route, DESTINATION).unwrap();
        let mut rest = &packet.frame[..];
        while !rest.is_empty() {
            step = (step * 37 + 11) % 1_999;
            let (head, tail) = rest.split_at(rest.len().min(step + 1));
            stream.write_all(head).expect("the connection goes on whoever the node is");
            std::thread::sleep(Duration::from_micros(300));
            rest = tail;
        }
        sent.push((number, packet));
    }
    sent
}

/// Ends the senders, also of a test that fails.
struct Going(AtomicBool);

impl Going {
    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

struct EndOf<'a>(&'a Going);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn read_line(notes: &UnixDatagram) -> String {
    let mut bytes = [0; 100];
    let len = notes.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

/// Packets for one node, numbered from `first`, that go over a connection of their own.
fn some(route: &[Hop], first: u64) -> Vec<Packet> {
    let mut factory = factory();
    let build = |number: u64| factory.build(&number.to_le_bytes(), route, DESTINATION).unwrap();
    let packets: Vec<Packet> = (first..first + 20).map(build).collect();
    write(route, &packets);
    packets
}

/// Sends packets, and leaves the node the time to read them.
fn write(route: &[Hop], packets: &[Packet]) {
    let mut stream = TcpStream::connect(route[0].address).unwrap();
    packets.iter().for_each(|packet| stream.write_all(&packet.frame).unwrap());
    std::thread::sleep(Duration::from_millis(300));
}

/// What three nodes in a row say of packets that came out once, and of those that were sent again.
fn accounted(reports: &str, metrics: &str, packets: u64, again: u64) {
    assert_eq!(reports.matches("Stopped in").count(), 3, "{reports}");
    assert_eq!(reports.matches(metrics.trim_end()).count(), 2, "the same address: {reports}");
    assert_eq!(rows(reports, "received"), packets + again, "{reports}");
    assert_eq!(rows(reports, "sent on"), packets, "{reports}");
    assert_eq!(rows(reports, "replay"), again, "{reports}");
    assert_eq!(rows(reports, "dropped"), again, "{reports}");
    assert!(!reports.contains("cut off") && !reports.contains("not frames"), "{reports}");
}

/// How many numbers come, each once, until there are `count`, or no more come.
fn different(inbox: &Receiver<u64>, count: u64) -> u64 {
    let mut came = HashSet::new();
    while (came.len() as u64) < count {
        match inbox.recv_timeout(PATIENCE) {
            Ok(number) => assert!(came.insert(number), "a packet passed twice"),
            Err(_) => break,
        }
    }
    came.len() as u64
}

/// Two upgrades in a row under load: every packet comes out once, also those that are sent again
/// to the next node, and the last one remembers all of them.
fn upgraded_under_load(link: &str) {
    if !has(link) {
        return;
    }
    let node = Node::with(&["--metrics", "127.0.0.1:0", "--status-interval", "off"]);
    node.set("capacity", "4096");
    let mut end = End::start();
    let manager = node.dir.join("manager");
    let notes = UnixDatagram::bind(&manager).unwrap();
    notes.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = node.phix("run", &["--link", link, "--shards", "2"]);
    let running = Running::start(command.env("NOTIFY_SOCKET", &manager));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, mut running)] = nodes;
    let mut metrics = String::new();
    running.out.read_line(&mut metrics).unwrap();
    assert!(metrics.starts_with("metrics on http://127.0.0.1:"), "{metrics}");
    assert_eq!(read_line(&notes), "READY=1");
    let (going, (arrived, inbox)) = (Going(AtomicBool::new(true)), channel());
    let mut last = running.child.id();
    let mut again = 0;
    let sent: HashMap<u64, Packet> = std::thread::scope(|scope| {
        let (going, route) = (&going, &route);
        let _end = EndOf(going);
        let letters = std::mem::replace(&mut end.inbox, channel().1);
        std::thread::spawn(move || {
            let read = |message: Vec<u8>| u64::from_le_bytes(message.try_into().unwrap());
            letters.iter().map(read).try_for_each(|number| arrived.send(number))
        });
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| scope.spawn(move || sender(route, number << 32, going)))
            .collect();
        for _ in 0..2 {
            // What the node has let through before is a replay to the next one.
            let before = some(route, 1 << 60 | u64::from(last) << 8);
            again += before.len() as u64;
            let next = upgrade(&node);
            assert_ne!(next, last);
            // Either node may be the first to say its part.
            let mut said = [read_line(&notes), read_line(&notes)];
            said.sort_unstable();
            assert_eq!(said, [format!("MAINPID={next}"), "READY=1".to_owned()]);
            last = next;
            write(route, &before);
        }
        going.end();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let packets = sent.len() as u64 + again;
    assert!(sent.len() > 300, "there was load: {}", sent.len());
    let came = different(&inbox, packets);
    if came < packets {
        let (nodes, end) = (running.stop_last(last), end.stop());
        panic!("{came} of {packets} came out: {nodes}at the end {end:?}");
    }
    accounted(&running.stop_last(last), &metrics, packets, again);
    assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty), "nothing came out beyond that");
    let running = Running::start(&mut node.phix("run", &[]));
    assert_eq!(running.before, format!("{packets} packets of before are remembered\n"));
    running.stop(Signal::TERM);
}

#[test]
fn two_upgrades_under_load_lose_nothing_over_epoll() {
    upgraded_under_load("epoll");
}

#[test]
fn two_upgrades_under_load_lose_nothing_over_io_uring() {
    upgraded_under_load("io_uring");
}

#[test]
fn the_link_may_change_and_a_signal_is_enough() {
    if !has("io_uring") {
        return;
    }
    let node = Node::with(&["--state-dir", "none", "--link", "epoll"]);
    let end = End::start();
    let running = Running::start(&mut node.phix("run", &[]));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, mut running)] = nodes;
    let mut stream = TcpStream::connect(route[0].address).unwrap();
    let mut packets = (0..3_u8).map(|byte| factory().build(&[byte], &route, DESTINATION).unwrap());
    let mut pass = |whole: &Packet| {
        stream.write_all(&whole.frame[..1_000]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    };
    let first = packets.next().unwrap();
    pass(&first);
    refused(&mut node.phix("upgrade", &[]), &["without a state-dir", "SIGUSR2"]);
    node.set("link", "\"io_uring\"");
    kill_process(Pid::from_child(&running.child), Signal::USR2).unwrap();
    // The old node says which process the new one is, and the new one that it took over.
    let (mut process, mut took_over) = (None, String::new());
    while process.is_none() || took_over.is_empty() {
        let mut line = String::new();
        assert!(running.out.read_line(&mut line).unwrap() > 0, "a new node comes");
        if let Some(rest) = line.strip_prefix("process ") {
            process = Some(rest.split(' ').next().unwrap().parse().unwrap());
        } else if line.starts_with("took over from process") {
            took_over = line;
        }
    }
    assert!(took_over.ends_with("with 1 connections\n"), "{took_over}");
    stream.write_all(&first.frame[1_000..]).unwrap();
    assert_eq!(end.messages(1), [[0]]);
    // Without a directory the memory of what passed goes along all the same.
    stream.write_all(&first.frame).unwrap();
    let second = packets.next().unwrap();
    stream.write_all(&second.frame).unwrap();
    assert_eq!(end.messages(1), [[1]]);
    let reports = running.stop_last(process.unwrap());
    assert_eq!((rows(&reports, "sent on"), rows(&reports, "replay")), (2, 1), "{reports}");
}

/// The command's refusal, of which it says why.
fn goes_on(node: &Node, args: &[&str], parts: &[&str]) -> Output {
    let output = node.phix("upgrade", args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in ["goes on as before"].iter().chain(parts) {
        assert!(errors.contains(part), "{part:?} is not in: {errors}");
    }
    output
}

/// A file in `dir` that may be a program; its path.
fn program(dir: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_node_goes_on_when_the_new_program_is_no_good() {
    let node = Node::with(&["--status-interval", "off"]);
    let end = End::start();
    let running = Running::start(&mut node.phix("run", &[]));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, mut running)] = nodes;
    let (mut stream, mut number) = (TcpStream::connect(route[0].address).unwrap(), 0_u64);
    let mut passes = || {
        number += 1;
        let packet = factory().build(&number.to_le_bytes(), &route, DESTINATION).unwrap();
        stream.write_all(&packet.frame).unwrap();
        assert_eq!(end.messages(1), [number.to_le_bytes()]);
        number
    };
    let program = |name: &str, text: &str, mode: u32| program(&node.dir, name, text, mode);
    refused(&mut node.phix("upgrade", &["--binary", "/none"]), &["there is no program /none"]);
    let broken = program("broken", "#!/bin/sh\nexit 7\n", 0o700);
    for (binary, limit, why) in [
        (program("text", "no program", 0o600), "60s", "cannot be started"),
        (broken, "60s", "before it was ready (exit code 7)"),
        (program("silent", "#!/bin/sh\nexec sleep 600\n", 0o700), "1s", "not ready within 1 s"),
    ] {
        goes_on(&node, &["--binary", &binary, "--limit", limit], &[why]);
        passes();
    }
    node.set("drain", "\"soon\"");
    refused(&mut node.phix("upgrade", &[]), &["`drain` must be"]);
    kill_process(Pid::from_child(&running.child), Signal::USR2).unwrap();
    let mut line = String::new();
    while !line.contains("`drain`") {
        line.clear();
        assert!(running.out.read_line(&mut line).unwrap() > 0);
    }
    assert!(line.contains("goes on as before"), "{line}");
    node.set("drain", "\"5s\"");
    for (setting, wrong, right, why) in [
        ("next-hops", "\"missing\"", "\"any\"", "the new program says"),
        ("shards", "\"2\"", "\"1\"", "2 shards cannot go on where 1 were"),
        ("listen", "\"127.0.0.2:0\"", "\"127.0.0.1:0\"", "another listen address"),
    ] {
        node.set(setting, wrong);
        goes_on(&node, &[], &[why]);
        node.set(setting, right);
    }
    node.set("state-dir", "\"other\"");
    refused(&mut node.phix("upgrade", &[]), &["no node can be reached"]);
    node.set("state-dir", "\"state\"");
    let count = passes();
    // Nothing of all this has changed the node, nor keeps it from what is right.
    let last = upgrade(&node);
    passes();
    let pid = Pid::from_raw(last.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let mut said = String::new();
    running.out.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("has failed and this node goes on as before").count(), 3, "{said}");
    assert_eq!((rows(&said, "sent on"), rows(&said, "dropped")), (count + 1, 0), "{said}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_while_a_new_program_makes_ready_is_answered_in_the_log() {
    let node = Node::with(&["--status-interval", "off"]);
    let mut running = Running::start(&mut node.phix("run", &[]));
    let (begun, may_end) = (node.dir.join("begun"), node.dir.join("may-end"));
    let text = format!(
        "#!/bin/sh\n: > '{}'\nuntil [ -e '{}' ]; do sleep 0.02; done\nexit 7\n",
        begun.display(),
        may_end.display(),
    );
    let waiting = program(&node.dir, "waiting", &text, 0o700);
    let mut first = node.phix("upgrade", &["--binary", &waiting, "--limit", "100s"]);
    let mut first = first.stderr(Stdio::null()).spawn().unwrap();
    while !begun.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&running.child), Signal::USR2).unwrap();
    let mut next_line = || {
        let mut line = String::new();
        assert!(running.out.read_line(&mut line).unwrap() > 0, "the node has ended");
        line
    };
    while !next_line().contains("SIGUSR2 has no effect: another upgrade is under way") {}
    fs::write(&may_end, "").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(2));
    while !next_line().contains("before it was ready (exit code 7)") {}
    let last = upgrade(&node);
    running.stop_last(last);
}

/// A program that runs the node after these lines of shell; its path.
fn wrapped(node: &Node, name: &str, lines: &str) -> String {
    let text = format!("#!/bin/sh\n{lines}\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_phix-node"));
    program(&node.dir, name, &text, 0o700)
}

#[test]
fn a_node_goes_on_when_the_new_program_has_no_room_for_what_it_takes_over() {
    let node = Node::with(&["--link", "epoll", "--status-interval", "off"]);
    node.set("connections-per-source", "\"off\"");
    let end = End::start();
    let running = Running::start(&mut node.phix("run", &[]));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, mut running)] = nodes;
    let connect = |_| TcpStream::connect(route[0].address).unwrap();
    let mut streams: Vec<TcpStream> = (0..100).map(connect).collect();
    let mut number = 0_u64;
    let mut pass = |stream: &mut TcpStream| {
        number += 1;
        let packet = factory().build(&number.to_le_bytes(), &route, DESTINATION).unwrap();
        stream.write_all(&packet.frame).unwrap();
        assert_eq!(end.messages(1), [number.to_le_bytes()]);
    };
    // Connections are accepted in their order, so that now all of them are.
    pass(streams.last_mut().unwrap());
    let narrow = wrapped(&node, "narrow", "ulimit -n 64");
    goes_on(&node, &["--binary", &narrow], &["failed while it took over"]);
    streams.iter_mut().for_each(&mut pass);
    kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
    let (mut report, mut errors) = (String::new(), String::new());
    running.out.read_to_string(&mut report).unwrap();
    running.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((rows(&report, "sent on"), rows(&report, "dropped")), (101, 0), "{report}");
    assert!(errors.contains("raise the limit of open files"), "the new program says why: {errors}");
}

#[test]
fn a_node_that_is_killed_while_another_makes_ready_leaves_none() {
    let node = Node::with(&["--status-interval", "off"]);
    let end = End::start();
    let running = Running::start(&mut node.phix("run", &[]));
    let nodes = [(node, running)];
    let route = route(&nodes, &end);
    let [(node, running)] = nodes;
    let packets = some(&route, 1);
    assert_eq!(end.messages(packets.len()).len(), packets.len());
    let begun = node.dir.join("begun");
    let late = wrapped(&node, "late", &format!(": > '{}'\nsleep 1", begun.display()));
    let asking = node.phix("upgrade", &["--binary", &late]).spawn();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !begun.exists() {
        assert!(std::time::Instant::now() < deadline, "the new program begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    assert_eq!(asking.unwrap().wait().unwrap().code(), Some(2), "there is nobody to answer");
    // The lock goes with the last of the two; then the next one knows what the first has seen.
    let running = loop {
        assert!(std::time::Instant::now() < deadline, "the state directory is let go of");
        let mut running = Running::start(&mut node.phix("run", &[]));
        if !running.first.is_empty() {
            break running;
        }
        running.child.wait().unwrap();
    };
    let remembered = running.before.split(' ').next().and_then(|count| count.parse().ok());
    assert_eq!(remembered, Some(packets.len()), "{}", running.before);
    running.stop(Signal::TERM);
}
