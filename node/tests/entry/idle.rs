//! Idle clients, and the memory that the node takes for them. `PHIX_IDLE_CLIENTS=10000` measures
//! as many as an entry must hold.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use phix_proto::gateway::{ClientRequest, ServerResponse};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clients::{Client, Line};
use crate::scene::identity;

/// What a node may take for ten thousand clients, kB.
const ALLOWED: u64 = 1 << 20;
/// Clients that register at the same time.
const TOGETHER: usize = 64;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn phix(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-node"));
    command.args(args).env_clear().stdout(Stdio::piped());
    command
}

/// A node with an entry, and where that is.
fn start(dir: &Path) -> (Program, SocketAddr) {
    let dir = dir.to_str().unwrap();
    let settings = [
        "--listen",
        "127.0.0.1:0",
        "--shards",
        "1",
        "--capacity",
        "256",
        "--capacity-extended",
        "1",
        "--replay-capacity",
        "1000",
        "--entry",
        "127.0.0.1:0",
        "--free-bandwidth",
        "true",
        "--registrations-per-source",
        "off",
    ];
    let made = phix(&[&["init", "--dir", dir], &settings[..]].concat()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let secret = bs58::encode(identity().to_bytes()).into_string();
    let key = format!("phix-ed25519-private-key-v1 {secret}\n");
    std::fs::write(Path::new(dir).join("keys/identity.key"), key).unwrap();
    let mut child = phix(&["run", "--dir", dir]).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let line = out.lines().map_while(Result::ok).find(|line| line.starts_with("clients on ws://"));
    let line = line.expect("the node says where its clients connect");
    (Program(child), line.strip_prefix("clients on ws://").unwrap().parse().unwrap())
}

/// Memory of a process that is in use, kB.
fn resident(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_clients_take_less_than_a_gibibyte() {
    let count: usize = std::env::var("PHIX_IDLE_CLIENTS").map_or(500, |text| text.parse().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (program, address) = start(&dir.path().join("node"));
    let before = resident(&program.0);
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let together = TOGETHER.min(count - clients.len());
        let register = |_| tokio::spawn(Client::register(address));
        for client in (0..together).map(register).collect::<Vec<_>>() {
            clients.push(client.await.unwrap());
        }
    }
    // All of them are there, and served.
    for client in &mut clients {
        let answer = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
        assert!(matches!(answer, ServerResponse::Bandwidth { .. }), "{answer:?}");
    }
    let grown = resident(&program.0).saturating_sub(before);
    println!("{count} idle clients: {grown} kB more than the {before} kB of none");
    assert!(grown * 10_000 / (count as u64) < ALLOWED, "{grown} kB for {count} clients");
    drop(clients);
    Line::new(address).await;
}
