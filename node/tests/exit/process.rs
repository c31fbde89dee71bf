//! A node that is an exit by its settings: its own requester, resolver and policy.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use phix_client::mixnet::{Recipient, store};
use phix_client::topology;
use phix_proto::requester::{Answer, Body, Content, Query, Response};

use crate::app::App;
use crate::network::Network;
use crate::scene::{echo, server, settings};

/// Place of the gateway among the nodes.
pub(crate) const GATEWAY: usize = 3;

/// Changes settings in the file of a node.
pub(crate) fn set(dir: &Path, changes: &[(&str, &str)]) {
    let path = dir.join("phix-node.toml");
    let text = fs::read_to_string(&path).unwrap();
    let is_changed = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        changes.iter().any(|(changed, _)| *changed == name)
    };
    let mut lines: Vec<String> =
        text.lines().filter(|line| !is_changed(line)).map(str::to_owned).collect();
    lines.extend(changes.iter().map(|(name, value)| format!("{name} = \"{value}\"")));
    fs::write(&path, lines.join("\n")).unwrap();
}

/// Makes the gateway an exit that reaches the private `targets`, with `more` settings; gives the
/// address of its service with keys in `service`.
pub(crate) fn exit(
    network: &mut Network,
    targets: &str,
    more: &[(&str, &str)],
    service: &str,
) -> Recipient {
    let dir = network.dir.path().join(format!("node{GATEWAY}"));
    network.kill(GATEWAY);
    let topology = network.topology.to_str().unwrap();
    let settings = [
        ("roles", "entry,exit"),
        ("exit-topology", topology),
        ("exit-policy", "open"),
        ("exit-private-targets", targets),
    ];
    set(&dir, &[&settings, more].concat());
    network.revive(GATEWAY);
    let gateway = topology::load(&network.topology).unwrap();
    let identity = gateway.entry_gateways().next().unwrap().identity_key.0;
    store::address_at(&dir.join("keys").join(service), identity).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_an_exit_with_a_policy_and_is_the_same_one_after_it_was_killed() {
    let mut network = Network::start();
    let address = exit(&mut network, "127.0.0.1", &[], "requester");
    let mut app = App::of(settings(&network), address).await;
    let target = server(echo).await;
    app.connect(1, &target).await;
    app.send(1, &[5; 30_000], true).await;
    assert_eq!(app.all(1).await.bytes, [5; 30_000]);
    // By the name that the hosts file has, to the one address of loopback that is allowed.
    app.connect(2, &format!("localhost:{}", target.port).parse().unwrap()).await;
    app.send(2, b"by name", true).await;
    assert_eq!(app.all(2).await.bytes, b"by name");

    let own = topology::load(&network.topology).unwrap();
    let own = own.entry_gateways().next().unwrap().mix_host;
    assert!(matches!(own.ip(), IpAddr::V4(ip) if ip.is_loopback()));
    let refused = [
        own.to_string(),
        "127.0.0.2:80".to_owned(),
        "10.0.0.1:80".to_owned(),
        "169.254.169.254:80".to_owned(),
        "[::ffff:10.0.0.1]:80".to_owned(),
        "[fe80::1]:80".to_owned(),
    ];
    for (number, target) in (10..).zip(refused) {
        app.connect(number, &target.parse().unwrap()).await;
        let error = app.all(number).await.error.clone();
        assert_eq!(error.as_deref(), Some("this exit does not connect to that target"), "{target}");
    }
    app.request(Body::Query(Query::ExitPolicy), 5).await;
    app.hear().await;
    let answer = app.answers.pop().unwrap();
    let Content::Query(Answer::ExitPolicy { enabled, policy, .. }) =
        Response::parse(&answer).unwrap().content
    else {
        panic!("the question was about the policy");
    };
    assert!(!enabled && policy.is_some_and(|rules| rules.len() == 1 && rules[0].accept));

    network.kill(GATEWAY);
    network.revive(GATEWAY);
    app.connect(3, &target).await;
    app.send(3, b"again", true).await;
    assert_eq!(app.all(3).await.bytes, b"again");
}
