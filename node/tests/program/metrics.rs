//! What a running node shows over HTTP, and who may not see it.

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;

use crate::common::{Node, Running, refused};

/// A node that shows metrics, and where.
pub(crate) fn start(node: &Node, arguments: &[&str]) -> (Running, SocketAddr) {
    let mut all = vec!["--metrics", "127.0.0.1:0"];
    all.extend(arguments);
    let mut running = Running::start(&mut node.phix("run", &all));
    let mut line = String::new();
    running.out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics on http://");
    let address = address.and_then(|rest| rest.strip_suffix("/metrics")).expect(&line);
    (running, address.parse().unwrap())
}

/// The first line and the body of the answer.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
}

#[test]
fn a_running_node_shows_what_its_shards_count() {
    let node = Node::new();
    let (running, address) = start(&node, &["--link", "epoll", "--shards", "2"]);
    let mut stream = TcpStream::connect(running.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // The node closes what are not frames; it has counted them by then.
    let _ = stream.read_to_end(&mut Vec::new());
    let both = |page: &str, name: &str| -> f64 {
        (0..2).map(|shard| value(page, &format!("{name}{{shard=\"{shard}\"}}"))).sum()
    };
    // The values are up to a second old.
    let page = loop {
        let (status, page) = get(address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        if both(&page, "phix_connections_malformed_total") == 1.0 {
            break page;
        }
    };
    assert_eq!(both(&page, "phix_connections_accepted_total"), 1.0);
    let free = value(&page, "phix_pool_slots_free{shard=\"1\",size=\"regular\"}");
    assert_eq!(free, value(&page, "phix_pool_slots{shard=\"1\",size=\"regular\"}"));
    assert_eq!(value(&page, "phix_delay_error_seconds_count"), 0.0);
    assert!(value(&page, "process_resident_memory_bytes") > 1e6);
    assert!(page.contains("link=\"epoll\"") && page.ends_with("# EOF\n"), "{page}");
    running.stop(Signal::TERM);
    assert!(TcpStream::connect(address).is_err(), "the metrics end with the node");
}

#[test]
fn life_and_readiness_are_asked_for() {
    let node = Node::new();
    let (running, address) = start(&node, &[]);
    assert_eq!(get(address, "/livez"), ("HTTP/1.1 200 OK".into(), "all shards run\n".into()));
    assert_eq!(get(address, "/readyz"), ("HTTP/1.1 200 OK".into(), "listening\n".into()));
    assert_eq!(get(address, "/").0, "HTTP/1.1 404 Not Found");
    running.stop(Signal::TERM);
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let node = Node::new();
    let running = Running::start(&mut node.phix("run", &[]));
    assert!(!running.stop(Signal::TERM).contains("metrics on"));
}

#[test]
fn metrics_that_others_can_read_are_warned_of() {
    let node = Node::new();
    let mut running = Running::start(&mut node.phix("run", &["--metrics", "0.0.0.0:0"]));
    let mut lines = [String::new(), String::new()];
    lines.iter_mut().for_each(|line| assert!(running.out.read_line(line).unwrap() > 0));
    assert!(lines[0].starts_with("metrics on http://0.0.0.0:"), "{lines:?}");
    assert!(lines[1].starts_with("warning: metrics on 0.0.0.0:"), "{lines:?}");
    running.stop(Signal::TERM);
}

#[test]
fn metrics_on_a_busy_port_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = Node::new();
    for command in ["run", "check-config"] {
        let parts = [&address, "metrics", "--metrics to another address or to off"];
        refused(&mut node.phix(command, &["--metrics", &address]), &parts);
    }
}
