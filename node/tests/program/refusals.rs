//! What a node does not start with: one sentence with the remedy, exit code 2, nothing changed.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{Node, aloud, contents, done, phix, refused};

/// The commands that must refuse alike.
const BOTH: [&str; 2] = ["run", "check-config"];

/// Spoils a fresh node with `spoil`; both commands must refuse it and leave it as it is.
fn refused_by_both(spoil: impl Fn(&Node), args: &[&str], parts: &[&str]) {
    for command in BOTH {
        let node = Node::new();
        spoil(&node);
        let before = contents(&node.dir);
        refused(&mut node.phix(command, args), parts);
        let mut after = contents(&node.dir);
        // The state directory is taken before the port is tried, and may have been made.
        after.retain(|path, _| !path.starts_with(node.dir.join("state")));
        assert!(after == before, "{command} changed {:?} to {:?}", before.keys(), after.keys());
    }
}

fn key_mode(node: &Node, name: &str, mode: u32) {
    fs::set_permissions(node.dir.join("keys").join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_open_to_others() {
    for (name, mode) in [("sphinx.key", 0o644), ("identity.key", 0o640)] {
        let said = format!("keys/{name}");
        refused_by_both(|node| key_mode(node, name, mode), &[], &["chmod 600", &said]);
    }
}

#[test]
fn keys_that_are_corrupt_missing_or_swapped() {
    let write = |node: &Node, bytes: &[u8]| {
        fs::write(node.dir.join("keys/sphinx.key"), bytes).unwrap();
    };
    for bytes in [&b""[..], b"garbage", b"phix-x25519-private-key-v1 xyz\n", &[0xff; 5000]] {
        refused_by_both(|node| write(node, bytes), &[], &["sphinx.key", "restore it"]);
    }
    let remove = |node: &Node| fs::remove_file(node.dir.join("keys/identity.key")).unwrap();
    let parts = ["no key file", "identity.key", "restore it from a backup", "phix-node init --dir"];
    refused_by_both(remove, &[], &parts);
    let swap = |node: &Node| {
        let identity = fs::read(node.dir.join("keys/identity.key")).unwrap();
        fs::write(node.dir.join("keys/sphinx.key"), identity).unwrap();
    };
    refused_by_both(swap, &[], &["holds the identity key"]);
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for link in ["epoll", "auto"] {
        let args = ["--listen", &address, "--link", link];
        refused_by_both(|_| {}, &args, &[&address, "stop the program that", "--listen"]);
    }
}

#[test]
fn an_address_of_another_machine() {
    refused_by_both(
        |_| {},
        &["--listen", "192.0.2.1:1789"],
        &["192.0.2.1:1789", "this machine", "--listen"],
    );
}

#[test]
fn a_source_of_another_machine() {
    let parts = ["source 192.0.2.1", "this machine", "--source"];
    refused_by_both(|_| {}, &["--source", "192.0.2.1"], &parts);
}

#[test]
fn unknown_settings() {
    let file = |node: &Node| node.append("conections-max = 5\n");
    let parts = ["phix-node.toml, line ", "did you mean `connections-max` (a whole number from 1"];
    refused_by_both(file, &[], &parts);
    let parts = ["'--conections-max'", "did you mean --connections-max (a whole number from 1"];
    refused_by_both(|_| {}, &["--conections-max", "5"], &parts);
    let table = |node: &Node| node.append("[mixnode]\nport = 5\n");
    refused_by_both(table, &[], &["there is no setting `mixnode`"]);
    for command in BOTH {
        let node = Node::new();
        let mut command = node.phix(command, &[]);
        command.env("PHIX_CONECTIONS_MAX", "5");
        refused(
            &mut command,
            &["PHIX_CONECTIONS_MAX", "did you mean PHIX_CONNECTIONS_MAX (a whole"],
        );
    }
}

#[test]
fn mistyped_values() {
    let parts = ["line ", "`connections-max` must be a whole number from 1 to 65535, not \"many\""];
    refused_by_both(|node| node.set("connections-max", "\"many\""), &[], &parts);
    let parts = ["line ", "`listen` must be an IP address and a port, such as"];
    refused_by_both(|node| node.set("listen", "1789"), &[], &parts);
    refused_by_both(|node| node.set("listen", "\"localhost\""), &[], &parts);
    refused_by_both(|node| node.set("batch", "65"), &[], &["\"auto\" or a whole number from 1 to"]);
    refused_by_both(|node| node.set("pin", "yes"), &[], &["line ", "not TOML"]);
    refused_by_both(|node| node.set("pin", "[true]"), &[], &["`pin` must be true or false"]);
    let parts = ["flag --drain", "(ms, s, m or h)", "not \"-5\""];
    refused_by_both(|_| {}, &["--drain", "-5"], &parts);
    refused_by_both(|_| {}, &["--link"], &["--link", "value"]);
    for command in BOTH {
        let node = Node::new();
        let mut command = node.phix(command, &[]);
        command.env("PHIX_LINK", "dpdk");
        refused(&mut command, &["PHIX_LINK", "\"auto\", \"io_uring\" or \"epoll\", not \"dpdk\""]);
    }
}

#[test]
fn a_configuration_that_is_no_text() {
    let file = |node: &Node| fs::write(node.dir.join("phix-node.toml"), b"pin = \xff\n").unwrap();
    refused_by_both(file, &[], &["phix-node.toml", "it is not UTF-8", "save it as UTF-8"]);
}

#[test]
fn pipes_in_the_place_of_files() {
    let files =
        [("phix-node.toml", "not a regular file"), ("keys/sphinx.key", "not a regular file")];
    for (name, said) in files {
        for command in BOTH {
            let node = Node::new();
            let path = node.dir.join(name);
            fs::remove_file(&path).unwrap();
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
            refused(&mut node.phix(command, &[]), &[name, said]);
        }
    }
}

#[test]
fn a_local_network_where_it_cannot_be_made() {
    let left = tempfile::tempdir().unwrap();
    for dir in ["/nonexistent/net", left.path().to_str().unwrap()] {
        let parts = [dir, "name a directory that does not exist yet", "--keep"];
        refused(&mut phix(&["localnet", "--keep", dir]), &parts);
    }
}

#[test]
fn kernels_that_the_processor_lacks() {
    let tiers = phix_engine::crypto::tiers();
    for name in ["avx2", "avx512"] {
        if tiers.iter().any(|tier| tier.name == name) {
            aloud(&format!("NOT TESTED: this processor has {name}, so that it cannot be refused"));
            continue;
        }
        let parts = [name, "set --crypto to auto, or to portable"];
        refused_by_both(|_| {}, &["--crypto", name], &parts);
    }
}

#[test]
fn more_memory_than_there_is() {
    let args = ["--replay-capacity", "100_000_000_000", "--state-dir", "none"];
    refused_by_both(|_| {}, &args, &["lower replay-capacity"]);
}

#[test]
fn a_node_that_is_not_there() {
    for command in BOTH {
        refused(&mut phix(&[command]), &["--dir", "phix-node init"]);
        let nowhere = ["/nonexistent/phix", "/dev/null"];
        for dir in nowhere {
            refused(&mut phix(&[command, "--dir", dir]), &[dir, "phix-node init", "--config"]);
        }
        refused(&mut phix(&[command, "--config", "/dev"]), &["/dev", "cannot be read"]);
        refused(&mut phix(&[command, "--dir", "a", "--config", "b"]), &["--config"]);
    }
}

#[test]
fn commands_that_do_not_exist() {
    refused(&mut phix(&["chekc-config"]), &["did you mean check-config?"]);
    refused(&mut phix(&["fly"]), &["fly", "--help"]);
    refused(&mut phix(&["topology"]), &["--layer1", "--out"]);
}

#[test]
fn noise_that_cannot_be() {
    let node = Node::new();
    refused(&mut node.phix("run", &["--noise", "required"]), &["--noise-peers", "allow-plain"]);
    let missing = ["--noise-peers", "nowhere.toml"];
    refused(&mut node.phix("check-config", &missing), &["nowhere.toml", "--noise-peers"]);
    std::fs::write(node.dir.join("peers.toml"), "").unwrap();
    let peers = ["--noise-peers", "peers.toml"];
    // A relative path starts at the configuration file.
    let shown = done(&node.phix("check-config", &peers).output().unwrap());
    assert!(shown.contains("noise key") && shown.contains("0 keys"), "{shown}");
    // A node that was made before there was Noise gets a key by the command that is named.
    let key = node.dir.join("keys/noise.key");
    std::fs::remove_file(&key).unwrap();
    refused(&mut node.phix("run", &peers), &["noise.key", "phix-node noise-key", "--noise to off"]);
    done(&node.phix("check-config", &["--noise", "off"]).output().unwrap());
    assert!(done(&node.phix("noise-key", &[]).output().unwrap()).contains("Noise key"));
    assert!(key.is_file());
    done(&node.phix("check-config", &peers).output().unwrap());
    refused(&mut node.phix("noise-key", &[]), &["exists and is kept"]);
}
