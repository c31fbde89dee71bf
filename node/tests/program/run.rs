//! A node from its first line to its report, over both links.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use crate::common::{Node, Running, done, has, phix, refused};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn starts_says_where_and_stops_with_a_report() {
    for link in ["epoll", "io_uring"].into_iter().filter(|link| has(link)) {
        for signal in [Signal::TERM, Signal::INT] {
            let node = Node::new();
            let running = Running::start(&mut node.phix("run", &["--link", link]));
            assert!(running.first.starts_with("phix-node 0."), "{}", running.first);
            for part in [&format!("; {link}: "), "; 1 shard; ", "; crypto ", "; sphinx key "] {
                assert!(running.first.contains(part), "{part:?} is not in {}", running.first);
            }
            TcpStream::connect(running.address()).expect("it listens where it says");
            let report = running.stop(signal);
            assert!(report.starts_with("Stopped in "), "{report}");
            assert!(report.contains("received") && report.contains("dropped"), "{report}");
        }
    }
}

#[test]
fn garbage_closes_its_connection_and_is_counted() {
    for link in ["epoll", "io_uring"].into_iter().filter(|link| has(link)) {
        let node = Node::new();
        let running = Running::start(&mut node.phix("run", &["--link", link]));
        let mut quiet = TcpStream::connect(running.address()).unwrap();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(running.address()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            // Closed or reset, either way it comes to an end.
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(answer, b"");
        }
        quiet.write_all(&[8]).expect("the neighbour is still connected");
        let report = running.stop(Signal::TERM);
        let line = report.lines().find(|line| line.contains("not frames"));
        assert!(line.is_some_and(|line| line.ends_with(" 3")), "{report}");
    }
}

#[test]
fn prints_status_lines_when_asked() {
    let node = Node::new();
    let mut running = Running::start(&mut node.phix("run", &["--status-interval", "1s"]));
    let mut line = String::new();
    running.out.read_line(&mut line).unwrap();
    assert_eq!(line, "0 packets received, 0 sent on, 0 dropped\n");
    running.stop(Signal::TERM);
}

#[test]
fn tells_the_service_manager() {
    let node = Node::new();
    let path = node.dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let running = Running::start(node.phix("run", &[]).env("NOTIFY_SOCKET", &path));
    let heard = || {
        let mut word = [0; 64];
        let len = manager.recv(&mut word).unwrap();
        String::from_utf8(word[..len].to_vec()).unwrap()
    };
    assert_eq!(heard(), "READY=1");
    running.stop(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn a_closed_standard_output_stops_no_node() {
    let node = Node::new();
    let mut command = node.phix("run", &["--status-interval", "1s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    // Longer than a status line takes to come.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(child.try_wait().unwrap(), None, "it runs on");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_busy_port_is_refused_while_the_first_node_runs() {
    let first = Node::new();
    let running = Running::start(&mut first.phix("run", &[]));
    let address = running.address().to_string();
    let second = Node::new();
    for command in ["run", "check-config"] {
        refused(&mut second.phix(command, &["--listen", &address]), &[&address]);
    }
    running.stop(Signal::TERM);
}

#[test]
fn config_can_have_another_name() {
    let node = Node::new();
    let file = node.dir.join("other.toml");
    std::fs::rename(node.dir.join("phix-node.toml"), &file).unwrap();
    let file = file.to_str().unwrap();
    done(&phix(&["check-config", "--config", file]).output().unwrap());
    let running = Running::start(phix(&["run"]).env("PHIX_CONFIG", file));
    running.stop(Signal::TERM);
}
