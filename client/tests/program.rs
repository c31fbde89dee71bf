//! The program as a person runs it: messages through three mixes, and every refusal a sentence.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use phix_client::keyfile::{self, KeyKind};
use phix_client::message::EXAMPLE_ADDRESS;
use phix_client::probe::Probe;
use phix_client::topology::{self, Metadata, Node, PublicKey, SupportedRoles, Topology};
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::{LinkChoice, Refuse, Server, ServerConfig};
use serde_json::Value;

fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-client"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = client(arguments).output().unwrap();
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

fn mix(seed: u8) -> Server {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: 1,
        pin: false,
        link: LinkChoice::Auto,
        source: None,
        connections_max: 64,
        peers: phix_io::PeerLimits::default(),
        noise: phix_io::noise::Noise::default(),
        drain: Duration::ZERO,
        shard: Config {
            capacity: [64; 5],
            batch: 8,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Drop,
            kernels: PORTABLE,
            seed: [0; 32],
        },
    };
    let replay = Arc::new(ReplayFilter::new(10_000, [seed; 32]));
    let secret = NodeSecret::from_bytes([seed; 32]);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Server::start(config, Keys { primary, secondary: None }, |_| Refuse).unwrap()
}

fn node(node_id: u32, mix_host: SocketAddr, secret: &[u8; 32]) -> Node {
    Node {
        node_id,
        mix_host,
        entry: None,
        identity_key: PublicKey(KeyKind::Identity.public(secret)),
        sphinx_key: PublicKey(KeyKind::Sphinx.public(secret)),
        supported_roles: SupportedRoles::default(),
    }
}

/// A receiving program and its address. It ends with its handle.
struct Receiving {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Receiving {
    fn start(key: &Path, more: &[&str]) -> Self {
        let key = key.to_str().unwrap();
        let mut command = client(&["receive", "--key", key, "--listen", "127.0.0.1:0"]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        err.read_line(&mut first).unwrap();
        let address = first.strip_prefix("receiving at ").expect(&first);
        let address = address.split(' ').next().unwrap().parse().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, err, address }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect(&line)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_cross_three_mixes() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("gateway.key");
    let (code, out, _) = run(&["keygen", key.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    let secret = keyfile::read(&key, KeyKind::Sphinx).unwrap();
    assert!(out.contains(&PublicKey(KeyKind::Sphinx.public(&secret)).to_string()), "{out}");

    let mut receiving = Receiving::start(&key, &["--json", "--count", "21"]);
    let mixes = [1, 2, 3].map(mix);
    let layer = |id: u8| vec![node(id.into(), mixes[id as usize - 1].address(), &[id; 32])];
    let gateway = node(9, receiving.address, &secret);
    let metadata = Metadata::now(4, 1);
    let layers = [layer(1), layer(2), layer(3)];
    let topology = Topology::assemble(metadata, layers, vec![gateway]).unwrap();
    let file = dir.path().join("topology.json");
    topology::save(&topology, &file).unwrap();
    let send = |more: &[&str]| {
        let base = ["send", "--topology", file.to_str().unwrap(), "--to", EXAMPLE_ADDRESS];
        let (code, out, error) = run(&[&base[..], &["--mean-delay", "2ms"], more].concat());
        assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    };

    send(&["--message", "hello"]);
    let line = receiving.line();
    assert_eq!((&line["text"], &line["to"]), (&"hello".into(), &EXAMPLE_ADDRESS.into()));
    send(&["--count", "20", "--rate", "1000", "--size", "ext8", "--sphinx-version", "260"]);
    let hash = |sequence| blake3::hash(&Probe { sender: 0, sequence }.encode(8192)).to_string();
    let mut expected: Vec<_> = (0..20).map(hash).collect();
    let mut arrived: Vec<_> =
        (0..20).map(|_| receiving.line()["blake3"].as_str().unwrap().to_owned()).collect();
    expected.sort();
    arrived.sort();
    assert_eq!(arrived, expected);
    let totals = receiving.line();
    assert_eq!((&totals["received"], &totals["delivered"]), (&21.into(), &21.into()));
    assert_eq!(receiving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_arrives_cannot_steer_the_terminal_and_an_interrupt_prints_totals() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("gateway.key");
    let secret = keyfile::generate(&key, KeyKind::Sphinx).unwrap();
    let mut receiving = Receiving::start(&key, &["--link", "epoll"]);
    let hop = topology::Hop::from(&node(1, receiving.address, &secret));
    let mut factory = phix_client::packet::Factory::new(Default::default());
    let packet = factory.build(b"\x1b[2Jboo", &[hop], [7; 32]).unwrap();
    let mut stream = std::net::TcpStream::connect(packet.first_hop).unwrap();
    // The second copy is a replay.
    std::io::Write::write_all(&mut stream, &[&packet.frame[..], &packet.frame].concat()).unwrap();
    let mut line = String::new();
    receiving.out.read_line(&mut line).unwrap();
    assert!(line.contains("[7 bytes, BLAKE3 ") && !line.contains('\u{1b}'), "{line}");
    let pid = receiving.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut totals = String::new();
    receiving.err.read_to_string(&mut totals).unwrap();
    assert!(totals.contains("received 2 packets, 1 of them messages"), "{totals}");
    assert!(totals.contains("dropped 1: replay"), "{totals}");
    assert_eq!(receiving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn refusals() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, file) = (at("a.key"), at("t.json"));
    let (code, _, help) = run(&[]);
    assert!(code == Some(2) && help.contains("Things to try"), "{help}");
    assert!(refusal(&["sned"]).contains("unrecognized subcommand 'sned'"));
    assert!(refusal(&["send", "--to", "x", "--count", "1"]).contains("--topology <FILE>"));
    assert_eq!(run(&["keygen", &key]).0, Some(0));
    assert!(refusal(&["keygen", &key]).contains("exists and is kept"));

    let receive = |key: &str, listen: &str| refusal(&["receive", "--key", key, "--listen", listen]);
    let said = receive(&at("none"), "127.0.0.1:0");
    assert!(said.contains("no key file") && said.contains("phix-client keygen"), "{said}");
    let said = refusal(&["keygen", "/proc/a.key"]);
    assert!(said.contains("name a file in a directory"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = receive(&key, &taken.local_addr().unwrap().to_string());
    assert!(said.contains(&taken.local_addr().unwrap().to_string()), "{said}");

    let send = |more: &[&str]| {
        let base = ["send", "--topology", &file, "--to", EXAMPLE_ADDRESS];
        refusal(&[&base[..], more].concat())
    };
    assert!(send(&["--message", "x"]).contains("no topology file"));
    std::fs::write(&file, "{").unwrap();
    assert!(send(&["--message", "x"]).contains("is not JSON"));
    let address = "127.0.0.1:1".parse().unwrap();
    let layers = [1, 2, 3].map(|id| vec![node(id, address, &[id as u8; 32])]);
    let gateways = vec![node(9, address, &[9; 32])];
    let topology = Topology::assemble(Metadata::now(1, 1), layers, gateways).unwrap();
    topology::save(&topology, Path::new(&file)).unwrap();
    assert!(send(&["--message", "x", "--gateway", "5"]).contains("its gateways are 9"));
    assert!(send(&["--message", &"x".repeat(3000)]).contains("choose a larger size"));
    assert!(send(&["--file", &at("none")]).contains("there is no file"));
    assert!(send(&["--count", "3", "--rate", "0"]).contains("a rate above zero"));
    let said = refusal(&["send", "--topology", &file, "--to", "me", "--message", "x"]);
    assert!(said.contains("is not an address"), "{said}");

    // Nobody listens at the first hop: not refused, but not done either.
    let (code, _, said) =
        run(&["send", "--topology", &file, "--to", EXAMPLE_ADDRESS, "--count", "2"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("2 could not be sent") && said.contains("its nodes run"), "{said}");
}
