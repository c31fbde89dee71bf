//! Help teaches, the table of effective settings says where each came from, and a network of one's
//! own gets its topology file.

use crate::common::{Node, contents, done, phix, refused};
use phix_node::settings::TABLE;

#[test]
fn every_setting_is_explained_in_the_help() {
    for command in ["init", "check-config", "run"] {
        let help = done(&phix(&[command, "--help"]).output().unwrap());
        assert!(help.contains("Example"), "{command}");
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for setting in TABLE {
            let name = setting.name;
            assert!(flat.contains(&format!("--{name} <VALUE>")), "{command}: --{name}");
            assert!(flat.contains(&setting.help()), "{command}: the paragraph on {name}");
            assert!(flat.contains(&setting.allowed()), "{command}: the values of {name}");
            assert!(flat.contains(&format!("[env: {}]", setting.variable())), "{command}: {name}");
        }
        let short = done(&phix(&[command, "-h"]).output().unwrap());
        assert!(short.len() < help.len(), "{command}: -h is short");
    }
}

#[test]
fn the_top_level_help_teaches() {
    let help = done(&phix(&["--help"]).output().unwrap());
    let parts = [
        "phix-node init --dir",
        "phix-node run --dir",
        "phix-node topology",
        "phix-node demo",
        "Exit codes",
    ];
    for part in parts {
        assert!(help.contains(part), "{part}");
    }
    assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    let nothing = phix(&[]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("phix-node init --dir"));
    assert!(done(&phix(&["--version"]).output().unwrap()).starts_with("phix-node 0."));
}

#[test]
fn check_config_says_where_each_setting_comes_from() {
    let node = Node::new();
    let mut command = node.phix("check-config", &["--batch", "7"]);
    command.env("PHIX_DRAIN", "1s").env("PHIX_BATCH", "9");
    let table = done(&command.output().unwrap());
    let row = |name: &str| {
        let mut rows = table.lines().filter(|line| line.split_whitespace().next() == Some(name));
        let words: Vec<&str> = rows.next().unwrap().split_whitespace().collect();
        words[1..].join(" ")
    };
    assert_eq!(row("batch"), "7 flag --batch");
    assert_eq!(row("drain"), "1s environment variable PHIX_DRAIN");
    assert!(row("shards").starts_with("1 /") && row("shards").contains("phix-node.toml, line "));
    for setting in TABLE {
        row(setting.name);
    }
    assert!(table.contains("The node would start."));
    for part in ["link ", "memory ", "open files ", "sphinx key "] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn a_topology_is_written_once_and_can_be_read() {
    let nodes = ["127.0.0.1:17891", "127.0.0.1:17892", "127.0.0.1:17893", "127.0.0.1:17894"]
        .map(|listen| Node::with(&["--listen", listen]));
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("topology.json");
    let make = || {
        let mut command = phix(&["topology", "--out", file.to_str().unwrap()]);
        let roles = ["--layer1", "--layer2", "--layer3", "--gateway"];
        for (role, node) in roles.iter().zip(&nodes) {
            command.args([role, node.path()]);
        }
        command
    };
    done(&make().output().unwrap());
    let topology = phix_client::topology::load(&file).unwrap();
    let gateway = topology.entry_gateways().next().unwrap();
    assert_eq!(gateway.mix_host, "127.0.0.1:17894".parse().unwrap());
    let told = done(&nodes[3].phix("check-config", &[]).output().unwrap());
    assert!(told.contains(&gateway.sphinx_key.to_string()), "{told}");
    assert!(told.contains(&gateway.identity_key.to_string()), "{told}");
    let before = contents(out.path());
    refused(&mut make(), &["topology.json", "exists and is kept"]);
    assert_eq!(contents(out.path()), before);
}

#[test]
fn a_node_without_an_address_for_others_is_in_no_topology() {
    let node = Node::with(&["--listen", "0.0.0.0:1789"]);
    let dir = node.path();
    let roles = ["--layer1", dir, "--layer2", dir, "--layer3", dir, "--gateway", dir];
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("topology.json");
    let mut command = phix(&["topology", "--out", file.to_str().unwrap()]);
    refused(command.args(roles), &["phix-node.toml", "set `announce`"]);
    assert!(!file.exists());
}
