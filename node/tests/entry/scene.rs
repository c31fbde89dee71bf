//! A shard, an entry before it, and the next hop of the packets that it sends.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::noise::Noise;
use phix_io::{LinkChoice, PeerLimits, Refuse, Server, ServerConfig};
use phix_node::entry::counts::{Counts, Refusal};
use phix_node::entry::delivery::Forgetful;
use phix_node::entry::{Entry, Plan, listen};
use tempfile::TempDir;
use tokio::task::block_in_place;

/// More than anything here takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// When scenes begin: at a noon (UTC), in seconds since 1970.
const START: u64 = 20_000 * 86_400 + 43_200;

/// The gateway's identity.
pub(crate) fn identity() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// What a scene may differ in.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) free_bandwidth: bool,
    pub(crate) private_hops: bool,
    pub(crate) connections_max: usize,
    pub(crate) clients_max: u64,
    pub(crate) registrations_per_source: Option<u32>,
}

pub(crate) const OPEN: Ways = Ways {
    free_bandwidth: true,
    private_hops: true,
    connections_max: 4_096,
    clients_max: 10_000,
    registrations_per_source: None,
};

pub(crate) struct Scene {
    pub(crate) entry: Option<Entry>,
    server: Option<Server>,
    ways: Ways,
    /// Seconds since 1970, which do not pass by themselves.
    now: Arc<AtomicU64>,
    dir: TempDir,
}

impl Scene {
    pub(crate) fn new(ways: Ways) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = shard();
        let now = Arc::new(AtomicU64::new(START));
        let entry = Some(block_in_place(|| entry(ways, dir.path(), &server, &now)));
        Self { entry, server: Some(server), ways, now, dir }
    }

    /// The time at the entry, in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Lets time pass at the entry.
    pub(crate) fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn entry(&self) -> &Entry {
        self.entry.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.entry().address()
    }

    pub(crate) fn counts(&self) -> &Counts {
        self.entry().counts()
    }

    pub(crate) fn refused(&self, why: Refusal) -> u64 {
        self.counts().refused(why)
    }

    /// Ends the entry and starts it anew.
    pub(crate) fn restart(&mut self) {
        let server = self.server.as_ref().unwrap();
        let stopped = self.entry.take().unwrap();
        self.entry = Some(block_in_place(|| {
            stopped.stop();
            entry(self.ways, self.dir.path(), server, &self.now)
        }));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Where a test failed, its own reason matters more than what is left here.
        if std::thread::panicking() {
            std::mem::forget(self.entry.take());
        } else {
            block_in_place(|| {
                self.entry.take().into_iter().for_each(Entry::stop);
                drop(self.server.take().unwrap().stop());
            });
        }
    }
}

fn shard() -> Server {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: 1,
        pin: false,
        link: LinkChoice::Epoll,
        source: None,
        connections_max: 64,
        peers: PeerLimits::default(),
        noise: Noise::default(),
        drain: Duration::from_secs(2),
        shard: Config {
            capacity: [256, 1024, 16, 16, 16],
            batch: 16,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Drop,
            kernels: PORTABLE,
            seed: [0; 32],
        },
    };
    let secret = NodeSecret::from_bytes([1; 32]);
    let replay = Arc::new(ReplayFilter::new(1_000, [1; 32]));
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Server::start(config, Keys { primary, secondary: None }, |_| Refuse).unwrap()
}

fn entry(ways: Ways, dir: &Path, server: &Server, now: &Arc<AtomicU64>) -> Entry {
    let now = Arc::clone(now);
    let plan = Plan {
        listener: listen("127.0.0.1:0".parse().unwrap()).unwrap(),
        identity: identity(),
        injector: server.injector(),
        dir: dir.to_owned(),
        connections_max: ways.connections_max,
        clients_max: ways.clients_max,
        registrations_per_source: ways.registrations_per_source,
        free_bandwidth: ways.free_bandwidth,
        services: Vec::new(),
        private_hops: ways.private_hops,
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
    };
    Entry::start(plan, &[], |_, _| Arc::new(Forgetful)).unwrap()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where packets go, and what they are when they come.
pub(crate) struct NextHop(TcpListener);

impl NextHop {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next packets, of these lengths, with the rotations in their frames.
    pub(crate) async fn packets(self, lengths: &'static [usize]) -> Vec<(u8, Vec<u8>)> {
        let read = move || {
            let (mut stream, _) = self.0.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let read = |&len: &usize| {
                let (mut head, mut packet) = ([0; 4], vec![0; len]);
                stream.read_exact(&mut head).unwrap();
                stream.read_exact(&mut packet).unwrap();
                assert_eq!(head[0], 8, "the current version of frames");
                (head[3], packet)
            };
            lengths.iter().map(read).collect()
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}
