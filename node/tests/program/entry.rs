//! The settings of an entry, and what the program says about them.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::common::{Node, Running, done, refused};

#[test]
fn check_config_says_whether_clients_could_be_served() {
    let node = Node::new();
    let off = done(&node.phix("check-config", &[]).output().unwrap());
    assert!(off.contains("entry         off"), "{off}");
    let free = ["--entry", "127.0.0.1:0", "--free-bandwidth", "true"];
    let on = done(&node.phix("check-config", &free).output().unwrap());
    assert!(on.contains("entry         127.0.0.1:0 is free; bandwidth for nothing"), "{on}");
}

#[test]
fn an_entry_needs_its_address_and_a_place_for_its_database() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = Node::new();
    for command in ["run", "check-config"] {
        let parts = [&address, "clients", "--entry to another address or to off"];
        refused(&mut node.phix(command, &["--entry", &address]), &parts);
        let nowhere = ["--entry", "127.0.0.1:0", "--state-dir", "none"];
        refused(&mut node.phix(command, &nowhere), &["`state-dir`", "`entry` to off"]);
    }
}

#[test]
fn two_nodes_cannot_share_a_database() {
    let (first, second) = (Node::new(), Node::new());
    let entry = ["--entry", "127.0.0.1:0", "--status-interval", "off"];
    let running = Running::start(&mut first.phix("run", &entry));
    // The replay memory would be refused before the database is: it is elsewhere.
    let state = first.dir.join("state/entry.sqlite");
    std::fs::create_dir(second.dir.join("state")).unwrap();
    std::os::unix::fs::symlink(state, second.dir.join("state/entry.sqlite")).unwrap();
    refused(&mut second.phix("run", &entry), &["two nodes cannot share it"]);
    running.stop(Signal::TERM);
}
