//! A directory and five nodes, which find each other through it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

/// Networks of this process so far; each has its addresses to itself.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// Enough for an entry, an exit and three layers.
const NODES: u8 = 5;

pub(crate) struct Network {
    pub(crate) dir: TempDir,
    /// What clients are to be told.
    pub(crate) url: String,
    processes: Vec<Child>,
    hosts: [u8; 2],
}

impl Network {
    pub(crate) fn start() -> Self {
        let process = std::process::id();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let hosts = [200 + (process % 50) as u8, (process / 50 % 64) as u8 * 4 + number];
        let dir = tempfile::tempdir().unwrap();
        let mut network = Self { dir, url: String::new(), processes: Vec::new(), hosts };
        let listen = network.address(0, 8000).to_string();
        network.url = format!("http://{listen}");
        let own = ["--directory-listen", &listen, "--directory-rotation", "off"];
        network.run(0, &[&["--role", "directory"][..], &own].concat());
        for node in 1..=NODES {
            let [ip, mix, entry] = [0, 1789, 9000].map(|port| network.address(node, port));
            let (ip, mix, entry) = (ip.ip().to_string(), mix.to_string(), entry.to_string());
            let directory = network.url.clone();
            let places = ["--listen", &mix, "--source", &ip, "--entry", &entry];
            let open = ["--free-bandwidth", "true", "--private-first-hops", "true"];
            let small = ["--shards", "1", "--capacity", "8192", "--drain", "0s"];
            let known = ["--directory", &directory];
            network.run(node, &[&places[..], &open, &small, &known].concat());
        }
        network
    }

    /// Makes node `node` and waits until it says that it runs.
    fn run(&mut self, node: u8, settings: &[&str]) {
        let dir: PathBuf = self.dir.path().join(format!("node{node}"));
        let mut init = phix("init");
        init.arg("--dir").arg(&dir).args(["--replay-capacity", "1000000"]);
        assert!(init.args(settings).stdout(Stdio::null()).status().unwrap().success());
        let mut run = phix("run");
        let mut child = run.arg("--dir").arg(&dir).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        self.processes.push(child);
        let mut lines = BufReader::new(out).lines();
        let started =
            lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("phix-node "));
        assert!(started.is_some(), "node {node} does not start");
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
    }

    fn address(&self, node: u8, port: u16) -> SocketAddr {
        let [one, two] = self.hosts;
        SocketAddr::from(([127, one, two, node + 1], port))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // Whether it can be killed does not matter to what was tested.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn phix(command: &str) -> Command {
    let mut phix = Command::new(env!("CARGO_BIN_EXE_phix-node"));
    phix.arg(command).env_clear().stdin(Stdio::null());
    phix
}
