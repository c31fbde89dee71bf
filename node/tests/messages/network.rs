//! Three mixes and a gateway on addresses of their own.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::PATIENCE;

/// Networks of this process so far; each has its addresses to itself.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// Place of the gateway among the nodes.
const GATEWAY: usize = 3;

pub(crate) struct Network {
    pub(crate) dir: TempDir,
    pub(crate) topology: PathBuf,
    nodes: Vec<Option<Child>>,
    hosts: [u8; 2],
}

impl Network {
    pub(crate) fn start() -> Self {
        let process = std::process::id();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let hosts = [100 + (process % 100) as u8, (process / 100 % 64) as u8 * 4 + number];
        let dir = tempfile::tempdir().unwrap();
        let topology = dir.path().join("topology.json");
        let mut network = Self { dir, topology, nodes: Vec::new(), hosts };
        for node in 0..=GATEWAY {
            network.init(node);
        }
        let dir = |node| network.node_dir(node);
        let file = network.topology.to_str().unwrap();
        let layers = ["--layer1", "--layer2", "--layer3", "--gateway"];
        let mut command = phix(&["topology", "--out", file]);
        layers.iter().zip(0..).for_each(|(layer, node)| {
            command.arg(layer).arg(dir(node));
        });
        assert!(command.status().unwrap().success());
        for node in 0..=GATEWAY {
            network.nodes.push(None);
            network.revive(node);
        }
        network
    }

    fn init(&self, node: usize) {
        let listen = self.address(node, 1789).to_string();
        let entry = self.address(node, 9000).to_string();
        let mut command = phix(&["init", "--listen", &listen, "--dir"]);
        command.arg(self.node_dir(node));
        command.args(["--shards", "1", "--capacity", "4096", "--capacity-extended", "1"]);
        command.args(["--replay-capacity", "1000000", "--drain", "0s"]);
        if node == GATEWAY {
            command.args(["--entry", &entry, "--free-bandwidth", "true"]);
            command.args(["--private-first-hops", "true"]);
        }
        assert!(command.status().unwrap().success());
    }

    fn address(&self, node: usize, port: u16) -> SocketAddr {
        let [one, two] = self.hosts;
        SocketAddr::from(([127, one, two, node as u8 + 1], port))
    }

    fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node{node}"))
    }

    /// Ends a node at once, without a chance to say or save anything.
    pub(crate) fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a node and waits until it takes connections.
    pub(crate) fn revive(&mut self, node: usize) {
        let mut command = phix(&["run", "--dir"]);
        command.arg(self.node_dir(node));
        let mut child = command.spawn().unwrap();
        let mut ports = vec![1789];
        ports.extend((node == GATEWAY).then_some(9000));
        let deadline = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(self.address(node, port)).is_err() {
                assert!(Instant::now() < deadline, "node {node} does not start");
                sleep(Duration::from_millis(50));
                // The kernel may hold the address of a ring whose process was killed for a moment.
                if child.try_wait().unwrap().is_some() {
                    child = command.spawn().unwrap();
                }
            }
        }
        self.nodes[node] = Some(child);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            // Whether it can be killed does not matter to what was tested.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn phix(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-node"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}
