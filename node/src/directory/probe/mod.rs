//! Probes: whether a node can be reached, and passes packets on that are encrypted to the key that
//! it announces.
//!
//! Each round sends a few packets to every node, one hop from here and one back, and counts those
//! that come back as they must; a node that opens them with another key, or changes a byte, brings
//! none. Where clients are to enter, a connection is tried as well.
//!
//! A node can tell a probe by where it goes: one that serves probes and nothing else is not found
//! out here.

mod collector;
mod packets;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use phix_engine::crypto::Kernels;
use phix_proto::directory::NodeId;
use rand::rngs::StdRng;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use self::collector::{Collector, collect};
use self::packets::{Maker, Probe};
use super::desk::{Desk, Target};
use super::window::Round;
use super::{FOUNDING, Troubles};
use crate::rotation::now;

/// Packets that a node is sent in a round.
const PACKETS: usize = 4;
/// Nodes that are connected to at a time.
const AT_A_TIME: usize = 128;
/// How long a connection may take to come up; stock nodes wait as long.
const CONNECT_LIMIT: Duration = Duration::from_millis(1_500);
/// How long probes may take to come back.
const PATIENCE: Duration = Duration::from_secs(3);
/// The least and the greatest time between two rounds.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Sends probes, round after round.
pub(super) struct Prober {
    desk: Arc<Desk>,
    bell: Arc<Notify>,
    troubles: Troubles,
    source: IpAddr,
    collector: Arc<Collector>,
    maker: Maker,
}

/// What a round of probes needs from outside.
pub(super) struct Means {
    /// Computes the packets.
    pub kernels: Kernels,
    /// Draws their secrets.
    pub rng: StdRng,
    /// The address to connect from: the one that probes come back to, on which no node is, so that
    /// nobody expects Noise from it.
    pub source: IpAddr,
}

impl Prober {
    pub(super) fn new(
        desk: Arc<Desk>,
        bell: Arc<Notify>,
        troubles: Troubles,
        means: Means,
    ) -> Self {
        let Means { kernels, rng, source } = means;
        let maker = Maker::new(kernels, desk.rules().probes, rng);
        Self { desk, bell, troubles, source, collector: Arc::default(), maker }
    }

    /// Goes on for ever; probes come back to `listener`.
    pub(super) async fn run(mut self, listener: TcpListener) {
        tokio::spawn(collect(listener, Arc::clone(&self.collector)));
        let (least, greatest) = BETWEEN;
        let between = (self.desk.rules().epochs.length() / 20).clamp(least, greatest);
        loop {
            let begun = Instant::now();
            self = self.round(PATIENCE.min(between)).await;
            let network = self.desk.has_network();
            let between = if network { between } else { between.min(FOUNDING) };
            // Whoever is new and asks to be looked at is, but not at any moment.
            sleep_until(begun + between.min(FOUNDING)).await;
            tokio::select! {
                () = sleep_until(begun + between) => {}
                () = self.bell.notified() => {}
            }
        }
    }

    async fn round(mut self, patience: Duration) -> Self {
        let (rotation, targets) = self.desk.targets(now());
        if targets.is_empty() {
            return self;
        }
        let building = spawn_blocking(move || {
            let probes = self.maker.make(&targets, PACKETS, rotation);
            (self, targets, probes)
        });
        let (this, targets, probes) = building.await.expect("building packets does not panic");
        self = this;
        self.collector.expect(&probes);
        let reached = send(&targets, probes, self.source).await;
        sleep_until(Instant::now() + patience).await;
        let came = self.collector.came();
        let results: Vec<(NodeId, Round)> = targets
            .iter()
            .map(|target| {
                let delivered = came.get(&target.node).copied().unwrap_or(0);
                let reached = reached.get(&target.node).copied().unwrap_or(false);
                // A node need not let clients in where that is not its role.
                let entry = (reached || target.is_entry).then_some(reached);
                (target.node, Round { sent: PACKETS as u32, delivered, entry })
            })
            .collect();
        let desk = Arc::clone(&self.desk);
        let written = spawn_blocking(move || desk.probed(&results)).await;
        let written = written.expect("writing down what probes came to does not panic");
        self.troubles.look("what probes came to cannot be written down", written.err());
        self
    }
}

/// Sends all probes; says which nodes clients could connect to.
async fn send(targets: &[Target], probes: Vec<Probe>, source: IpAddr) -> HashMap<NodeId, bool> {
    let mut frames: HashMap<NodeId, Vec<u8>> = HashMap::new();
    for probe in probes {
        frames.entry(probe.node).or_default().extend(probe.frame);
    }
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut tasks = JoinSet::new();
    for target in targets.iter().cloned() {
        let bytes = frames.remove(&target.node).unwrap_or_default();
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore of a round");
        tasks.spawn(async move {
            // What is lost on the way is what is measured.
            let _ = timeout(CONNECT_LIMIT * 2, deliver(target.address, source, &bytes)).await;
            let entry = match target.clients {
                Some(clients) => connect(clients, source).await.is_some(),
                None => false,
            };
            drop(place);
            (target.node, entry)
        });
    }
    tasks.join_all().await.into_iter().collect()
}

async fn deliver(to: SocketAddr, source: IpAddr, bytes: &[u8]) -> Option<()> {
    let mut stream = connect(to, source).await?;
    stream.write_all(bytes).await.ok()?;
    stream.shutdown().await.ok()
}

async fn connect(to: SocketAddr, source: IpAddr) -> Option<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    if source.is_ipv4() == to.is_ipv4() {
        socket.bind(SocketAddr::new(source, 0)).ok()?;
    }
    timeout(CONNECT_LIMIT, socket.connect(to)).await.ok()?.ok()
}
