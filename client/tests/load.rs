//! The load tester against peers whose every deed is known, and as a program.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use phix_client::keyfile::KeyKind;
use phix_client::packet::SphinxVersion;
use phix_client::tester::book::{Book, Counts};
use phix_client::tester::drive::{self, Load, Manner, Outcome, RunError};
use phix_client::tester::noise::{NoiseFault, Speech};
use phix_client::tester::pace::Pace;
use phix_client::tester::prepare::{Delay, Recipe, Target, prepare};
use phix_client::tester::receiving::Home;
use phix_client::topology::{self, Metadata, Node, PublicKey, SupportedRoles, Topology};
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::units::Span;
use phix_engine::wire::frame::{FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::noise::{Noise, NoiseKey, Pattern, Plain};
use phix_io::{LinkChoice, Refuse, Server, ServerConfig};
use rand::SeedableRng;
use serde_json::Value;

/// A mix node in this process.
fn mix(seed: u8) -> Server {
    mix_in(seed, Noise::default())
}

/// One that speaks Noise, or not.
fn mix_in(seed: u8, noise: Noise) -> Server {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: 1,
        pin: false,
        link: LinkChoice::Auto,
        source: None,
        connections_max: 64,
        peers: phix_io::PeerLimits::default(),
        noise,
        drain: Duration::ZERO,
        shard: Config {
            capacity: [512; 5],
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

fn key(seed: u8) -> [u8; 32] {
    KeyKind::Sphinx.public(&[seed; 32])
}

const MANNER: Manner =
    Manner { connections: 1, cpu: None, warm_up: Span::ZERO, drain: Span::from_millis(1_500) };

fn recipe(target: Target, home: &TcpListener, frame: FrameHeader) -> Recipe {
    Recipe {
        target,
        home: home.local_addr().unwrap(),
        frame,
        version: SphinxVersion::V259,
        delay: Delay::Exponential(Span::from_millis(5)),
        noise: false,
    }
}

/// Prepares `count` packets and sends them at `rate`.
fn run(recipe: &Recipe, home: TcpListener, count: usize, rate: f64, manner: Manner) -> Outcome {
    let mut prepared = prepare(recipe, count, |_| ()).unwrap();
    let offsets = Pace::Constant.offsets(&mut ChaCha20Rng::from_seed([1; 32]), rate, count);
    let load = Load {
        frames: &mut prepared.frames,
        stride: prepared.stride,
        book: Book::new(prepared.rows, &offsets),
        first_hops: &prepared.first_hops,
        speech: None,
    };
    let mut home = Home::new(home).unwrap();
    drive::run(load, manner, &mut home, &AtomicBool::new(false), |_| ()).unwrap()
}

/// Prepares `count` packets and sends them in Noise.
fn run_in_noise(recipe: &Recipe, home: TcpListener, speech: &Speech) -> Result<Outcome, RunError> {
    let mut prepared = prepare(recipe, 300, |_| ()).unwrap();
    let offsets = Pace::Constant.offsets(&mut ChaCha20Rng::from_seed([1; 32]), 1000.0, 300);
    let load = Load {
        frames: &mut prepared.frames,
        stride: prepared.stride,
        book: Book::new(prepared.rows, &offsets),
        first_hops: &prepared.first_hops,
        speech: Some(speech),
    };
    let mut home = Home::new(home).unwrap().in_noise(speech.clone());
    let manner = Manner { connections: 3, ..MANNER };
    drive::run(load, manner, &mut home, &AtomicBool::new(false), |_| ())
}

fn noise_key(seed: u8) -> Arc<NoiseKey> {
    Arc::new(NoiseKey::new(NodeSecret::from_bytes([seed; 32])))
}

/// A node that speaks Noise with whoever has `tester` here, and with nobody else.
fn node_in_noise(seed: u8, pattern: Pattern, tester: &NoiseKey) -> Server {
    let peers = [([127, 0, 0, 1].into(), *tester.public())].into_iter().collect();
    let (key, peers) = (Some(noise_key(seed)), Arc::new(peers));
    mix_in(seed, Noise { key, pattern, peers, plain: Plain::Refused })
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A peer that takes one connection and sends every frame of it on to `home`, as often and as
/// changed as `treat` says of its number.
fn forwarder(
    home: SocketAddr,
    frame_len: usize,
    treat: impl Fn(usize, &mut [u8]) -> usize + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut from, _) = listener.accept().unwrap();
        let mut to = TcpStream::connect(home).unwrap();
        let mut frame = vec![0; frame_len];
        for number in 1.. {
            if from.read_exact(&mut frame).is_err() {
                return;
            }
            for _ in 0..treat(number, &mut frame) {
                to.write_all(&frame).unwrap();
            }
        }
    });
    (address, thread)
}

#[test]
fn a_lossy_peer_is_accounted_for_exactly() {
    let home = listener();
    let frame = FrameHeader::current(PacketSize::Regular, KeyRotation::Odd);
    let treat = |number: usize, frame: &mut [u8]| {
        if number.is_multiple_of(100) {
            return 0;
        }
        match number % 100 {
            // In the payload, in beta, in the front of alpha.
            7 => frame[2000] ^= 0x10,
            17 => frame[60] ^= 1,
            27 => frame[4] ^= 0x80,
            _ => {}
        }
        if number % 50 == 33 { 2 } else { 1 }
    };
    let (peer, thread) = forwarder(home.local_addr().unwrap(), frame.frame_len(), treat);
    let recipe = recipe(Target::Echo(peer), &home, frame);
    let outcome = run(&recipe, home, 2000, 20_000.0, MANNER);
    let expected = Counts {
        prepared: 2000,
        sent: 2000,
        intact: 2000 - 20 - 60,
        damaged: 40,
        // A packet with another alpha is nobody's, and its own is missing.
        lost: 40,
        duplicates: 40,
        unknown: 20,
    };
    assert_eq!(outcome.counts, expected);
    assert_eq!(outcome.measured.latency.len(), expected.intact);
    assert_eq!(outcome.measured.lateness.len(), 2000);
    assert!(outcome.failures.is_empty() && !outcome.stopped && outcome.malformed == 0);
    thread.join().unwrap();
}

#[test]
fn a_peer_that_goes_away_leaves_the_rest_unsent_and_is_named() {
    let (home, target) = (listener(), listener());
    let peer = target.local_addr().unwrap();
    let frame = FrameHeader::legacy(PacketSize::Ack);
    let recipe = recipe(Target::Echo(peer), &home, frame);
    let thread = thread::spawn(move || drop(target.accept().unwrap()));
    let manner = Manner { drain: Span::from_millis(100), ..MANNER };
    let outcome = run(&recipe, home, 400, 1000.0, manner);
    thread.join().unwrap();
    assert!(outcome.counts.sent < 400, "{:?}", outcome.counts);
    assert_eq!(outcome.counts.lost, outcome.counts.sent);
    assert!(outcome.failures[0].starts_with(&peer.to_string()), "{:?}", outcome.failures);
}

#[test]
fn a_node_forwards_everything_in_every_form() {
    let node = mix(3);
    for (size, frames) in [
        (PacketSize::Ack, FrameVersion::Legacy),
        (PacketSize::Regular, FrameVersion::Current),
        (PacketSize::Extended8, FrameVersion::Current),
    ] {
        for version in [SphinxVersion::V258, SphinxVersion::V259] {
            let home = listener();
            let target = Target::Node { address: node.address(), key: key(3) };
            let frame = match frames {
                FrameVersion::Legacy => FrameHeader::legacy(size),
                FrameVersion::Current => FrameHeader::current(size, KeyRotation::Unknown),
            };
            let recipe = Recipe { version, ..recipe(target, &home, frame) };
            let manner = Manner { connections: 3, ..MANNER };
            let outcome = run(&recipe, home, 200, 1000.0, manner);
            let counts = outcome.counts;
            assert_eq!(
                (counts.sent, counts.intact),
                (200, 200),
                "{size:?} {version:?}: {counts:?}"
            );
            assert_eq!((counts.duplicates, counts.unknown), (0, 0));
            assert_eq!(outcome.measured.early, 0, "a node never lets a packet go ahead of time");
        }
    }
}

#[test]
fn a_node_is_spoken_to_in_noise_and_answers_in_noise() {
    for pattern in [Pattern::XkPsk3, Pattern::IkPsk2] {
        let own = noise_key(21);
        let node = node_in_noise(3, pattern, &own);
        let speech = Speech { key: own, node: *noise_key(3).public(), pattern };
        for size in [PacketSize::Ack, PacketSize::Regular, PacketSize::Extended32] {
            let home = listener();
            let target = Target::Node { address: node.address(), key: key(3) };
            let frame = FrameHeader::current(size, KeyRotation::Unknown);
            let recipe = Recipe { noise: true, ..recipe(target, &home, frame) };
            let outcome = run_in_noise(&recipe, home, &speech).unwrap();
            let counts = outcome.counts;
            assert_eq!((counts.sent, counts.intact), (300, 300), "{size:?} {pattern:?}");
            assert_eq!((outcome.malformed, outcome.measured.early), (0, 0));
        }
    }
}

/// Lets bytes pass between two ends, as they come.
fn pass(mut from: TcpStream, mut to: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        // However the connection ends, the other way is closed, too.
        let _ended = std::io::copy(&mut from, &mut to);
        let _closed = to.shutdown(Shutdown::Both);
    })
}

#[test]
fn the_tester_speaks_noise_with_itself_through_a_peer_that_knows_no_key() {
    let (home, peer) = (listener(), listener());
    let (address, to) = (peer.local_addr().unwrap(), home.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for _ in 0..3 {
            let (from, _) = peer.accept().unwrap();
            let to = TcpStream::connect(to).unwrap();
            drop(pass(from.try_clone().unwrap(), to.try_clone().unwrap()));
            drop(pass(to, from));
        }
    });
    let own = noise_key(22);
    let node = *own.public();
    let speech = Speech { key: own, node, pattern: Pattern::XkPsk3 };
    let frame = FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown);
    let recipe = Recipe { noise: true, ..recipe(Target::Echo(address), &home, frame) };
    let outcome = run_in_noise(&recipe, home, &speech).unwrap();
    assert_eq!((outcome.counts.sent, outcome.counts.intact), (300, 300));
    thread.join().unwrap();
}

#[test]
fn a_node_that_does_not_know_the_tester_is_named_and_not_waited_for() {
    let node = node_in_noise(3, Pattern::XkPsk3, &noise_key(21));
    let fault = |key, node_key: u8, pattern| {
        let home = listener();
        let target = Target::Node { address: node.address(), key: self::key(3) };
        let frame = FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown);
        let recipe = Recipe { noise: true, ..recipe(target, &home, frame) };
        let speech = Speech { key, node: *noise_key(node_key).public(), pattern };
        match run_in_noise(&recipe, home, &speech) {
            Err(error @ RunError::Noise(..)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let closed = "does not speak Noise with this tester";
    for (key, node_key, pattern) in [
        (noise_key(21), 4, Pattern::XkPsk3),
        (noise_key(21), 3, Pattern::IkPsk2),
        // In IK the node sees the initiator's key in time to refuse it; in XK it comes last.
        (noise_key(21), 4, Pattern::IkPsk2),
    ] {
        let said = fault(key, node_key, pattern);
        assert!(said.contains(closed) && said.contains(&node.address().to_string()), "{said}");
    }
    let silent = listener();
    let home = listener();
    let target = Target::Node { address: silent.local_addr().unwrap(), key: key(3) };
    let frame = FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown);
    let recipe = Recipe { noise: true, ..recipe(target, &home, frame) };
    let speech = Speech { key: noise_key(21), node: key(3), pattern: Pattern::XkPsk3 };
    let ended = run_in_noise(&recipe, home, &speech);
    assert!(matches!(ended, Err(RunError::Noise(_, NoiseFault::Silent))), "{ended:?}");
}

#[test]
fn the_program_speaks_noise_with_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tester.key").to_str().unwrap().to_owned();
    let mut keygen = Command::new(env!("CARGO_BIN_EXE_phix-client"));
    let made = keygen.args(["keygen", "--noise", &file]).output().unwrap();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.lines().count() == 2 && said.contains("\"192.0.2.1\" = \""), "{said}");
    let secret = phix_client::keyfile::read(file.as_ref(), KeyKind::Noise).unwrap();
    let own = NoiseKey::new(NodeSecret::from_bytes(*secret));
    assert!(row(&said, "public key:") == bs58::encode(own.public()).into_string());
    let node = node_in_noise(3, Pattern::XkPsk3, &own);
    let (address, key) = (node.address().to_string(), bs58::encode(key(3)).into_string());
    let noise = bs58::encode(noise_key(3).public()).into_string();
    let json = dir.path().join("load.json").to_str().unwrap().to_owned();
    let target = ["--node", &address, "--key", &key, "--packets", "200", "--mean-delay", "2ms"];
    let keys = ["--noise", "--node-noise-key", &noise, "--noise-key", &file, "--json", &json];
    let (code, out, err) = client(&[&target[..], &keys].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(row(&out, "back intact") == "200", "{out}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["load"]["noise"], Pattern::XkPsk3.protocol());
    // A node that speaks with those alone whom it knows does so with nobody who speaks plainly.
    let (code, out, err) = client(&[&target[..], &["--drain", "100ms"]].concat());
    assert_eq!((code, row(&out, "back intact")), (Some(1), "0"), "{err}");
}

fn client(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-client"));
    let Output { status, stdout, stderr } = command.arg("load").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// What stands behind a name in the report.
fn row<'a>(report: &'a str, name: &str) -> &'a str {
    let line = report.lines().find_map(|line| line.trim().strip_prefix(name));
    line.expect(report).trim()
}

#[test]
fn the_program_reports_in_every_form() {
    let (node, dir) = (mix(4), tempfile::tempdir().unwrap());
    let (address, key) = (node.address().to_string(), bs58::encode(key(4)).into_string());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, base) = (path("load.json"), path("load.csv"), path("load"));
    let node = ["--node", &address, "--key", &key, "--rate", "400", "--mean-delay", "2ms"];
    let files = ["--json", &json, "--csv", &csv, "--hgrm", &base, "--warm-up", "0ms"];
    let (code, out, err) = client(&[&node[..], &["--duration", "1100ms"], &files].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(row(&out, "back intact") == "440", "{out}");
    assert!(err.contains(" s  offered 4"), "a line for the second that has passed: {err}");

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let result = &report["result"];
    assert_eq!((&result["intact"], &result["lost"]), (&440.into(), &0.into()));
    assert_eq!(result["objective"]["met"], true);
    assert_eq!(report["load"]["sphinx_version"], 259);
    assert!(report["environment"]["kernel"].is_string());
    assert!(result["delay_error_ms"]["p50"].as_f64() < result["latency_ms"]["p50"].as_f64());
    let csv = std::fs::read_to_string(&csv).unwrap();
    assert!(csv.starts_with("at_s,planned,") && csv.lines().count() >= 2, "{csv}");
    for name in ["latency", "delay-error", "lateness", "own-lateness"] {
        let text = std::fs::read_to_string(format!("{base}.{name}.hgrm")).unwrap();
        assert!(text.contains("Total count    =          440]"), "{name}: {text}");
    }

    let (code, _, err) =
        client(&[&node[..], &["--packets", "50", "--max-p99", "1us", "--warm-up", "0ms"]].concat());
    assert_eq!(code, Some(1));
    assert!(err.contains("objective missed: delay error p99"), "{err}");
}

#[test]
fn the_search_ends_at_its_ceiling_where_the_node_is_faster() {
    let (node, dir) = (mix(5), tempfile::tempdir().unwrap());
    let (address, key) = (node.address().to_string(), bs58::encode(key(5)).into_string());
    let json = dir.path().join("max.json").to_str().unwrap().to_owned();
    let (code, out, err) = client(&[
        "--node",
        &address,
        "--key",
        &key,
        "--find-max",
        "--rate",
        "100",
        "--max-rate",
        "300",
        "--trial",
        "300ms",
        "--mean-delay",
        "0ms",
        "--tolerance",
        "90%",
        "--json",
        &json,
    ]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("300 packets/s, and was not tried beyond\n"), "{out}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["max_rate"], 300.0);
    assert_eq!(report["lowest_rate_that_failed"], Value::Null);
    let rates: Vec<_> = report["trials"].as_array().unwrap().iter().map(|t| &t["rate"]).collect();
    assert_eq!(rates, [100.0, 200.0, 300.0]);
}

#[test]
fn whole_paths_are_tested_too() {
    let (mixes, dir) = ([6, 7, 8].map(mix), tempfile::tempdir().unwrap());
    let node = |id: u8, mix_host| Node {
        node_id: id.into(),
        mix_host,
        entry: None,
        identity_key: PublicKey(KeyKind::Identity.public(&[id; 32])),
        sphinx_key: PublicKey(key(id)),
        supported_roles: SupportedRoles::default(),
    };
    let layer = |at: usize| vec![node(at as u8 + 6, mixes[at].address())];
    let gateway = node(9, "127.0.0.1:9".parse().unwrap());
    let layers = [layer(0), layer(1), layer(2)];
    let topology = Topology::assemble(Metadata::default(), layers, vec![gateway]).unwrap();
    let path = dir.path().join("topology.json");
    topology::save(&topology, &path).unwrap();
    let path = path.to_str().unwrap();
    let (code, out, err) =
        client(&["--topology", path, "--packets", "300", "--rate", "300", "--delay", "3ms"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(row(&out, "back intact") == "300", "{out}");
}

#[test]
fn what_cannot_be_done_is_a_sentence() {
    let key = bs58::encode([9; 32]).into_string();
    let target = ["--node", "127.0.0.1:9", "--key", &key];
    let refused = |more: &[&str], part: &str| {
        let (code, out, err) = client(more);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{more:?}: {err}");
        assert_eq!(err.trim_end().lines().count(), 1, "{err}");
        assert!(err.contains(part), "{more:?}: {err}");
    };
    let with = |more: &[&'static str]| [&target[..], more].concat();
    refused(&[], "--node");
    refused(&["--node", "127.0.0.1:9"], "--key");
    refused(&["--node", "nowhere", "--key", &key], "nowhere");
    refused(&["--node", "127.0.0.1:9", "--key", "0OIl"], "32 bytes in base58");
    refused(&with(&["--topology", "t.json"]), "cannot be used with");
    refused(&with(&["--rate", "0"]), "packets per second");
    refused(&with(&["--rate", "0.1", "--duration", "1s"]), "nothing is due");
    refused(&with(&["--rate", "1e7", "--duration", "3600s"]), "more than one run can count");
    refused(&with(&["--rate", "1e6", "--duration", "2000s"]), "of memory is available");
    refused(&with(&["--listen", "0.0.0.0:0"]), "cannot send packets to 0.0.0.0");
    refused(&with(&["--listen", "192.0.2.1:0"]), "packets cannot come back to 192.0.2.1:0");
    refused(&with(&["--find-max", "--rate", "300000"]), "--find-max begins at --rate 300000");
    refused(&with(&["--find-max", "--tolerance", "0"]), "--tolerance lies between");
    refused(&with(&["--frames", "9"]), "choose 7 or 8");
    refused(&with(&["--packets", "5", "--duration", "1s"]), "cannot be used with");
    refused(&with(&["--packets", "5", "--cpu", "4096"]), "may not run on core 4096");
    refused(&with(&["--noise"]), "keygen --noise FILE");
    refused(&with(&["--noise-key", "k"]), "--noise");
    refused(&with(&["--noise", "--noise-key", "/nonexistent.key"]), "/nonexistent.key");
    refused(&["--topology", "t.json", "--noise"], "cannot be used with");
    let closed = listener().local_addr().unwrap().to_string();
    let closed = ["--node", &closed, "--key", &key, "--packets", "5"];
    refused(&closed, "cannot be connected to: Connection refused");
    refused(&["--topology", "/nonexistent.json"], "/nonexistent.json");
}
