//! A whole network in one process: mix nodes in three layers and a receiving end, each with its
//! own engine threads and its own loopback address, connected by real TCP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use phix_client::topology::{Entry, Metadata, Node, PublicKey, SupportedRoles, Topology};
use phix_engine::counters::Counters;
use phix_engine::crypto::Kernels;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Held, Keys, NodeKey, Sink};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::{LinkPlan, PeerLimits, Refuse, Server, ServerConfig, StopReport};

use super::arguments::Nodes;
use super::members::LAYERS;
use crate::fault::Fault;
use crate::server::{batch, random};

/// Most nodes that a layer of a local network may have.
pub(crate) const WIDTH_MAX: usize = 16;

/// Regular packets that a local node can hold: a few seconds of what one core can peel.
const SLOTS: [usize; 5] = [4_096, 16_384, 64, 32, 32];

/// Packets that a local node remembers: hours of what one core can peel, in 40 MB.
const REMEMBERED: usize = 10_000_000;

/// What to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many nodes, and of what kind.
    pub(crate) nodes: Nodes,
    /// The port that all nodes listen on, each at its own address; 0 for any that is free.
    pub(crate) port: u16,
    /// How long a node that stops may go on sending what is due.
    pub(crate) drain: Duration,
}

/// One node of a local network.
#[derive(Debug)]
pub(crate) struct LocalNode {
    /// What to call it.
    pub(crate) name: String,
    server: Option<Server>,
    last: (Counters, Held),
}

impl LocalNode {
    /// What it has counted so far, also after it has ended.
    pub(crate) fn counters(&self) -> Counters {
        self.server.as_ref().map_or_else(|| self.last.0.clone(), Server::counters)
    }

    /// Where its packets are.
    pub(crate) fn held(&self) -> Held {
        self.server.as_ref().map_or(self.last.1, Server::held)
    }

    /// Why it ended by itself, if it did.
    pub(crate) fn failed(&self) -> Option<String> {
        self.server.as_ref().and_then(Server::failed)
    }

    /// Ends it as if its process had been killed.
    pub(crate) fn kill(&mut self) {
        self.end(Server::kill);
    }

    fn end(&mut self, how: impl FnOnce(Server) -> StopReport) {
        if let Some(server) = self.server.take() {
            self.last = (how(server).counters, Held::default());
        }
    }
}

/// The nodes of a local network and the topology that clients route by.
#[derive(Debug)]
pub(crate) struct Network {
    /// The mix nodes, first layer first.
    pub(crate) mixes: Vec<LocalNode>,
    /// Where every path ends.
    pub(crate) end: LocalNode,
    /// Which link the nodes use, and why.
    pub(crate) link: LinkPlan,
    /// Which crypto kernels the nodes use.
    pub(crate) kernels: Kernels,
    /// What clients must know.
    pub(crate) topology: Topology,
}

impl Network {
    /// Starts all nodes; `sink` takes the messages that reach the receiving end.
    pub(crate) fn start<S>(plan: Plan, sink: S) -> Result<Self, Fault>
    where
        S: Sink + Send + 'static,
    {
        let count = LAYERS * plan.nodes.width;
        let mut mixes = Vec::with_capacity(count);
        let mut layers = [const { Vec::new() }; LAYERS];
        for index in 0..count {
            let layer = index / plan.nodes.width;
            let (server, node) = start_node(&plan, index, FinalHops::Drop, Refuse)?;
            layers[layer].push(node);
            let name = format!("mix {} (layer {})", index + 1, layer + 1);
            mixes.push(LocalNode { name, server: Some(server), last: Default::default() });
        }
        let (server, node) = start_node(&plan, count, FinalHops::Deliver, sink)?;
        let link = server.link().clone();
        let name = "receiving end".to_owned();
        let end = LocalNode { name, server: Some(server), last: Default::default() };
        let topology = Topology::assemble(Metadata::now(0, 0), layers, vec![node])
            .map_err(|fault| Fault::broken(format!("the local network is not whole: {fault}")))?;
        Ok(Self { mixes, end, link, kernels: plan.nodes.kernels, topology })
    }

    /// All nodes, in the order of a path.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &LocalNode> {
        self.mixes.iter().chain([&self.end])
    }

    /// The counters of all nodes, summed.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.nodes().for_each(|node| sum.add(&node.counters()));
        sum
    }

    /// Packets that are still inside a node.
    pub(crate) fn held(&self) -> usize {
        self.nodes().map(|node| node.held().total()).sum()
    }

    /// Why a node ended by itself, if one did.
    pub(crate) fn failed(&self) -> Option<String> {
        let failed = |node: &LocalNode| Some(format!("{}: {}", node.name, node.failed()?));
        self.nodes().find_map(failed)
    }

    /// Ends all nodes in the order of a path, so that each can still pass on what it holds.
    pub(crate) fn stop(&mut self) {
        let Self { mixes, end, .. } = self;
        mixes.iter_mut().chain([end]).for_each(|node| node.end(Server::stop));
    }
}

/// The address of the node at `index`, 127.0.0.11 being the first.
fn local_address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11 + index as u8))
}

fn start_node<S>(
    plan: &Plan,
    index: usize,
    final_hops: FinalHops,
    sink: S,
) -> Result<(Server, Node), Fault>
where
    S: Sink + Send + 'static,
{
    let secret = NodeSecret::from_bytes(random()?);
    let identity = SigningKey::from_bytes(&random()?).verifying_key();
    let public = secret.public();
    let replay = Arc::new(ReplayFilter::new(REMEMBERED, random()?));
    let key = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    let ip = local_address(index);
    let config = ServerConfig {
        listen: SocketAddr::new(ip, plan.port),
        shards: 1,
        pin: false,
        link: plan.nodes.link,
        source: Some(ip),
        connections_max: 256,
        peers: PeerLimits::default(),
        noise: phix_io::noise::Noise::default(),
        drain: plan.drain,
        shard: Config {
            capacity: SLOTS,
            batch: batch(&plan.nodes.kernels),
            frames: FrameVersion::Current,
            final_hops,
            kernels: plan.nodes.kernels,
            seed: random()?,
        },
    };
    let mut sink = Some(sink);
    let keys = Keys { primary: key, secondary: None };
    let server = Server::start(config, keys, |_| sink.take().expect("one shard has one sink"))
        .map_err(|error| Fault::refused(format!("{error}.")))?;
    let mixes = final_hops == FinalHops::Drop;
    let entry = Entry {
        ip_addresses: vec![ip],
        clients_ws_port: 9_000,
        hostname: None,
        clients_wss_port: None,
    };
    let node = Node {
        node_id: index as u32 + 1,
        mix_host: server.address(),
        entry: (!mixes).then_some(entry),
        identity_key: PublicKey(identity.to_bytes()),
        sphinx_key: PublicKey(public),
        supported_roles: SupportedRoles {
            mixnode: mixes,
            mixnet_entry: !mixes,
            mixnet_exit: !mixes,
        },
    };
    Ok((server, node))
}
