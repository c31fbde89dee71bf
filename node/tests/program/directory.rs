//! A directory and nodes as processes: they find each other, one dies, the directory is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use phix_proto::directory::epoch::RewardedSet;
use phix_proto::directory::nodes::{Nodes, Role, SemiSkimmed};
use phix_proto::directory::{NodeId, paths};
use serde::de::DeserializeOwned;

use crate::common::{Node, PATIENCE, Running, refused};

const NODES: u8 = 5;

/// The body of an answer; nothing while nobody answers.
fn get(directory: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(directory).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    Some(body.to_owned())
}

fn read<T: DeserializeOwned>(directory: SocketAddr, path: &str) -> Option<T> {
    Some(serde_json::from_str(&get(directory, path)?).unwrap())
}

/// Asks until `wanted` gives something.
fn wait<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come about");
        thread::sleep(Duration::from_millis(100));
    }
}

fn start_directory(node: &Node) -> (Running, SocketAddr) {
    let running = Running::start(&mut node.phix("run", &[]));
    let (_, rest) = running.first.split_once("directory on http://").expect("it says where");
    let address = rest.split(';').next().unwrap().parse().unwrap();
    (running, address)
}

/// A directory in a place of its own, with epochs of 3 seconds.
fn directory(listen: &str) -> Node {
    let rotation = ["--directory-rotation", "off", "--directory-epoch", "3s"];
    Node::with(&[&["--role", "directory", "--directory-listen", listen][..], &rotation].concat())
}

/// Node `n` with an address of its own, known to the directory.
fn start_node(n: u8, directory: SocketAddr) -> (Node, Running) {
    let ip = format!("127.0.37.{n}");
    let (listen, entry) = (format!("{ip}:0"), format!("{ip}:0"));
    let url = format!("http://{directory}");
    let node = Node::with(&[
        "--listen",
        &listen,
        "--source",
        &ip,
        "--directory",
        &url,
        "--entry",
        &entry,
        "--free-bandwidth",
        "true",
    ]);
    let running = Running::start(&mut node.phix("run", &[]));
    (node, running)
}

/// Whether packets could pass.
fn is_routable(set: &RewardedSet) -> bool {
    !set.entry_gateways.is_empty() && set.layers().iter().all(|layer| !layer.is_empty())
}

fn members(set: &RewardedSet) -> BTreeSet<NodeId> {
    set.members().map(|(node, _)| node).collect()
}

/// What many readers saw: for each epoch, every set that packets could pass through.
type Seen = BTreeMap<u32, BTreeSet<String>>;

/// Asks for sets and lists without a pause until `done`; each list must agree with the set of its
/// epoch.
fn hammer(directory: SocketAddr, done: &AtomicBool, seen: &Mutex<Seen>) {
    while !done.load(Ordering::Relaxed) {
        let Some(set): Option<RewardedSet> = read(directory, paths::REWARDED_SET) else { continue };
        let list: Option<Nodes<SemiSkimmed>> = read(directory, paths::SEMI_SKIMMED);
        if is_routable(&set) {
            let text = serde_json::to_string(&set).unwrap();
            seen.lock().unwrap().entry(set.epoch_id).or_default().insert(text);
            let Some(list) = list.filter(|list| list.metadata.absolute_epoch_id == set.epoch_id)
            else {
                continue;
            };
            let roles: BTreeMap<NodeId, Role> = set.members().collect();
            for node in &list.nodes.data {
                let role = roles.get(&node.basic.node_id).copied().unwrap_or_default();
                assert_eq!(node.basic.role, role, "list and set of epoch {}", set.epoch_id);
            }
        }
    }
}

#[test]
fn a_network_finds_itself_and_goes_on_without_a_node_and_after_its_directory_was_killed() {
    let place = directory("127.0.37.100:0");
    let (running, address) = start_directory(&place);
    // The same address when it is started again.
    place.set("directory-listen", &format!("\"{address}\""));
    let (done, seen) = (AtomicBool::new(false), Mutex::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hammer(address, &done, &seen));
        }
        let told = scope.spawn(|| {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                live_through(&place, running, address, &seen);
            }));
            done.store(true, Ordering::Relaxed);
            ended
        });
        told.join().unwrap().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for (epoch, sets) in seen.into_inner().unwrap() {
        assert_eq!(sets.len(), 1, "epoch {epoch} has one set: {sets:?}");
    }
}

fn live_through(place: &Node, running: Running, address: SocketAddr, seen: &Mutex<Seen>) {
    let mut nodes: Vec<_> = (1..=NODES).map(|n| Some(start_node(n, address))).collect();
    let set = || read::<RewardedSet>(address, paths::REWARDED_SET);
    let first = wait("a set of five", || {
        set().filter(|set| is_routable(set) && members(set).len() == usize::from(NODES))
    });
    let list: Nodes<SemiSkimmed> = read(address, paths::SEMI_SKIMMED).unwrap();
    assert!(list.nodes.data.iter().all(|node| node.x25519_noise_versioned_key.is_some()));
    let numbers: BTreeMap<_, _> = list
        .nodes
        .data
        .iter()
        .map(|node| (node.basic.ed25519_identity_pubkey, node.basic.node_id))
        .collect();
    let page = get(address, "/").unwrap();
    assert!(page.contains("mix node, layer 1") && page.contains("entry gateway"), "{page}");

    // One of layer 1 dies without a word.
    let victim = first.layer1[0];
    let ip = list.nodes.data.iter().find(|node| node.basic.node_id == victim).unwrap();
    let std::net::IpAddr::V4(ip) = ip.basic.ip_addresses[0] else { panic!("an IPv4 address") };
    let (_, dead) = nodes[usize::from(ip.octets()[3]) - 1].take().unwrap();
    dead.kill();
    let others = wait("a set without the dead", || {
        set().filter(|set| is_routable(set) && !members(set).contains(&victim))
    });
    assert_eq!(members(&others).len(), usize::from(NODES) - 1, "{others:?}");

    // The directory is killed and comes back with everybody's number.
    running.kill();
    let (back, same) = start_directory(place);
    assert_eq!(same, address);
    let set = set().expect("it answers at once");
    assert!(is_routable(&set), "what it remembers is enough: {set:?}");
    let list: Nodes<SemiSkimmed> = read(address, paths::SEMI_SKIMMED).unwrap();
    for node in &list.nodes.data {
        let number = numbers.get(&node.basic.ed25519_identity_pubkey);
        assert_eq!(number, Some(&node.basic.node_id));
    }
    wait("a registration with the new process", || {
        let counts: BTreeMap<String, u64> = read(address, "/phix/v1/counts")?;
        (counts["registered"] >= u64::from(NODES) - 1).then_some(())
    });
    wait("a third epoch", || (seen.lock().unwrap().len() > 2).then_some(()));
    for (_, node) in nodes.into_iter().flatten() {
        let rest = node.stop(rustix::process::Signal::TERM);
        assert!(rest.contains("role mix node in layer") || rest.contains("role entry"), "{rest}");
    }
    back.stop(rustix::process::Signal::INT);
}

#[test]
fn requests_that_are_none_are_answered_so() {
    let place = directory("127.0.37.101:0");
    let (running, address) = start_directory(&place);
    let status = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // A connection that is cut has no answer to read.
        let _ = stream.read_to_string(&mut answer);
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let end = "host: here\r\nconnection: close\r\n";
    let post = |path: &str, body: &str| {
        let len = body.len();
        status(&format!("POST {path} HTTP/1.1\r\n{end}content-length: {len}\r\n\r\n{body}"))
    };
    assert_eq!(status(&format!("GET /nowhere HTTP/1.1\r\n{end}\r\n")), "404");
    assert_eq!(status(&format!("DELETE / HTTP/1.1\r\n{end}\r\n")), "405");
    assert_eq!(status(&format!("GET {}?page=x HTTP/1.1\r\n{end}\r\n", paths::SKIMMED)), "400");
    assert_eq!(status(&format!("OPTIONS {} HTTP/1.1\r\n{end}\r\n", paths::SKIMMED)), "204");
    assert_eq!(status(&format!("HEAD {} HTTP/1.1\r\n{end}\r\n", paths::SKIMMED)), "200");
    assert_eq!(post(paths::REGISTER, "{}"), "400");
    assert_eq!(post(paths::REGISTER, &"x".repeat(9_000)), "413");
    assert_eq!(post(paths::BY_ADDRESSES, "[]"), "400");
    assert_eq!(post(paths::BY_ADDRESSES, "{\"addresses\":[\"192.0.2.1\"]}"), "200");
    assert_eq!(post(paths::REFRESH_DESCRIBED, "{}"), "400");
    assert_eq!(status("\u{1}\u{2}\u{3}\r\n\r\n"), "400");
    let tag = {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /openapi.json HTTP/1.1\r\n{end}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
        let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        tag.to_owned()
    };
    let known = format!("GET /openapi.json HTTP/1.1\r\n{end}if-none-match: {tag}\r\n\r\n");
    assert_eq!(status(&known), "304");
    running.stop(rustix::process::Signal::TERM);
}

#[test]
fn settings_that_make_no_directory_are_refused() {
    let place = Node::with(&["--role", "directory"]);
    let run = |arguments: &[&str]| place.phix("run", arguments);
    refused(&mut run(&["--state-dir", "none"]), &["--state-dir"]);
    refused(&mut run(&["--directory-listen", "0.0.0.0:0"]), &["--directory-probes"]);
    refused(&mut run(&["--directory-probes", "[::]:7"]), &["--directory-probes"]);
    refused(&mut run(&["--directory-listen", "192.0.2.1:1"]), &["cannot listen on 192.0.2.1:1"]);
    refused(&mut run(&["--directory", "ftp://x"]), &["directory", "a URL such as"]);
}
