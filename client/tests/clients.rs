//! The commands of a client in a directory, as a person runs them: what is refused, and how.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use phix_client::keyfile::KeyKind;
use phix_client::topology::{self, Entry, Metadata, Node, PublicKey, SupportedRoles, Topology};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-client"));
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The one sentence of a refusal.
fn refusal(arguments: &[&str]) -> String {
    let (code, out, sentence) = run(arguments);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{sentence}");
    assert_eq!(sentence.trim_end().lines().count(), 1, "{sentence}");
    sentence
}

/// A network whose gateway nobody has started.
fn write_topology(path: &Path) {
    let node = |node_id: u32| Node {
        node_id,
        mix_host: "127.0.0.1:1".parse().unwrap(),
        entry: Some(Entry {
            ip_addresses: vec!["127.0.0.1".parse().unwrap()],
            clients_ws_port: 1,
            hostname: None,
            clients_wss_port: None,
        }),
        identity_key: PublicKey(KeyKind::Identity.public(&[node_id as u8; 32])),
        sphinx_key: PublicKey(KeyKind::Sphinx.public(&[node_id as u8; 32])),
        supported_roles: SupportedRoles::default(),
    };
    let layers = [1, 2, 3].map(|id| vec![node(id)]);
    let topology = Topology::assemble(Metadata::now(1, 1), layers, vec![node(4)]).unwrap();
    topology::save(&topology, path).unwrap();
}

#[test]
fn what_cannot_be_done_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (alice, file) = (at("alice"), at("net.json"));
    for command in ["run", "listen", "address"] {
        let said = refusal(&[command, "--dir", &alice]);
        assert!(said.contains("no client here") && said.contains("phix-client init"), "{said}");
    }
    let said = refusal(&["send", "--dir", &alice, "--to", "me", "--message", "x"]);
    assert!(said.contains("identity.encryption@gateway"), "{said}");
    assert!(refusal(&["init", "--dir", &alice]).contains("--directory <URL>"));
    let said = refusal(&["init", "--dir", &alice, "--directory", "ftp://x"]);
    assert!(said.contains("is not a URL"), "{said}");
    assert!(!Path::new(&alice).exists(), "what is refused leaves nothing behind");
    assert!(
        refusal(&["init", "--dir", &alice, "--topology", &file, "--gateway", "x"])
            .contains("32 bytes in base58")
    );

    // A gateway that is not there keeps a client from being registered, and not from being made.
    write_topology(Path::new(&file));
    let (code, _, said) = run(&["init", "--dir", &alice, "--topology", &file]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is made") && said.contains("cannot be reached"), "{said}");
    let said = refusal(&["init", "--dir", &alice, "--topology", &file]);
    assert!(said.contains("is kept"), "{said}");
    let said = refusal(&["address", "--dir", &alice]);
    assert!(said.contains("is not registered with a gateway yet"), "{said}");
    assert!(refusal(&["listen", "--dir", &alice]).contains("cannot be reached"));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = TcpListener::bind(taken).unwrap();
    let said = refusal(&["run", "--dir", &alice, "--listen", &taken.to_string()]);
    assert!(said.contains(&taken.to_string()) && said.contains("--listen"), "{said}");
    drop(held);
    std::fs::write(Path::new(&alice).join("phix-client.toml"), "topology = 3\n").unwrap();
    let said = refusal(&["listen", "--dir", &alice]);
    assert!(said.contains("phix-client.toml, line 1"), "{said}");
}
