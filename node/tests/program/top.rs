//! `phix-node top` beside a running node.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::common::{Node, done, phix, refused};
use crate::metrics::start;

#[test]
fn one_table_without_a_terminal() {
    let node = Node::new();
    let (running, address) = start(&node, &["--shards", "2", "--link", "epoll"]);
    let url = format!("http://{address}/metrics");
    node.set("metrics", &format!("\"{address}\""));
    let by_url = done(&phix(&["top", "--once", "--url", &url]).output().unwrap());
    let by_dir = done(&node.phix("top", &["--once"]).output().unwrap());
    for table in [by_url, by_dir] {
        assert!(table.starts_with("phix-node 0.") && table.contains(", epoll, "), "{table}");
        let row = |name: &str| {
            let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.find(|row| row.first() == Some(&name)).expect(&table)
        };
        assert_eq!(row("0").len(), row("all").len());
        assert_eq!(row("late")[..3], ["late", "by,", "now"]);
        assert_eq!(row("1")[2..5], ["0", "0", "0"], "nothing comes in, goes out, is dropped");
    }
    // Tests have no terminal.
    refused(&mut phix(&["top", "--url", &url]), &["no terminal", "--once"]);
    running.stop(Signal::TERM);
    refused(&mut phix(&["top", "--once", "--url", &url]), &[&url, "see that the node runs"]);
}

#[test]
fn a_node_that_shows_nothing_cannot_be_watched() {
    let node = Node::new();
    let parts = ["phix-node.toml has `metrics` off", "127.0.0.1:9178", "--url"];
    refused(&mut node.phix("top", &["--once"]), &parts);
    refused(&mut phix(&["top", "--once"]), &["--dir"]);
    refused(&mut phix(&["top", "--once", "--url", "localhost"]), &["--url localhost", "http://"]);
}

#[test]
fn what_is_no_node_is_said_to_be_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        read
    });
    refused(&mut phix(&["top", "--once", "--url", &url]), &[&url, "is not a Phix node"]);
    assert!(server.join().unwrap() > 0);
}
