//! Builds the packets of a load in advance, on all cores, in the order in which they are sent.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use chacha20::ChaCha20Rng;
use phix_engine::crypto::{Kernels, tiers};
use phix_engine::limits::{BATCH_MAX, DELAY_MAX};
use phix_engine::secret::InitialSecret;
use phix_engine::sphinx::build::{Builder, Hop as BuildHop, PADDING_MAX, Request};
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::FrameHeader;
use phix_engine::wire::geometry::MAX_HOPS;
use phix_io::noise::HEADER_LEN;
use rand::{Rng, SeedableRng};

use super::book::Expected;
use super::noise::ENVELOPE;
use crate::packet::SphinxVersion;
use crate::stats;
use crate::topology::{Hop, Node, NodeId, PublicKey, SupportedRoles, Topology};

/// The number that the tester gives itself in routes.
const HOME: NodeId = 0;

/// What packets are to pass.
#[derive(Clone, Debug)]
pub enum Target {
    /// One node, by its address and its Sphinx key.
    Node {
        /// Where it takes packets.
        address: SocketAddr,
        /// Its X25519 key for the rotation in the frames.
        key: [u8; 32],
    },
    /// The three mix layers of a topology, along random routes.
    Path(Box<Topology>),
    /// A peer that sends every frame back as it came, to measure the tester itself.
    Echo(SocketAddr),
}

/// The delay that each hop is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// The same for every packet.
    Fixed(Span),
    /// Exponentially distributed with this mean.
    Exponential(Span),
}

impl Delay {
    fn draw(self, rng: &mut ChaCha20Rng) -> Span {
        match self {
            Self::Fixed(span) => span.min(DELAY_MAX),
            Self::Exponential(mean) => {
                let nanos = stats::exponential(rng, mean.as_nanos() as f64);
                Span::from_nanos(nanos as u64).min(DELAY_MAX)
            }
        }
    }
}

/// What all packets of a load have in common.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What they pass.
    pub target: Target,
    /// Where they come back to: the tester's own listener.
    pub home: SocketAddr,
    /// Size and layout of their frames.
    pub frame: FrameHeader,
    /// Version in the header.
    pub version: SphinxVersion,
    /// What each hop is asked for.
    pub delay: Delay,
    /// Whether each frame is to become a record of Noise and gets room for one around it.
    pub noise: bool,
}

impl Recipe {
    /// Bytes from the beginning of one frame to that of the next.
    pub const fn stride(&self) -> usize {
        self.frame.frame_len() + if self.noise { ENVELOPE } else { 0 }
    }
}

/// The packets of a load.
#[derive(Debug)]
pub struct Prepared {
    /// All frames, one after the other, in the order in which they are sent.
    pub frames: Vec<u8>,
    /// Bytes that each of them takes, with the room around it.
    pub stride: usize,
    /// What has to come back for each.
    pub rows: Vec<Expected>,
    /// Where the first hops of the rows take packets.
    pub first_hops: Vec<SocketAddr>,
}

/// Why a load cannot be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareError {
    /// The system gave no random bytes.
    Randomness(getrandom::Error),
    /// Packets cannot be sent to this address, or cannot come back to it.
    Unroutable(SocketAddr),
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Randomness(error) => write!(
                f,
                "there is no randomness to build packets from: {error}; see that this program may \
                 use getrandom"
            ),
            Self::Unroutable(address) => {
                write!(f, "no packet can be sent to {address}; name one host and one port")
            }
        }
    }
}

impl std::error::Error for PrepareError {}

/// Builds `count` packets on all cores. `progress` hears, from any thread, how many were built
/// since it was last called.
///
/// # Errors
/// If an address is none that packets can be sent to, or if there is no randomness.
pub fn prepare(
    recipe: &Recipe,
    count: usize,
    progress: impl Fn(usize) + Sync,
) -> Result<Prepared, PrepareError> {
    let plan = Plan::new(recipe)?;
    let stride = recipe.stride();
    let mut frames = vec![0; count * stride];
    let mut rows = vec![Expected::default(); count];
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(PrepareError::Randomness)?;
    let mut seeds = ChaCha20Rng::from_seed(seed);
    let chunks = frames.chunks_mut(stride * BATCH_MAX).zip(rows.chunks_mut(BATCH_MAX));
    let chunks = Mutex::new(chunks.map(|chunk| {
        let mut seed = [0; 32];
        seeds.fill_bytes(&mut seed);
        (chunk, ChaCha20Rng::from_seed(seed))
    }));
    let kernels = tiers().last().copied().expect("the portable kernels run everywhere");
    let work = || {
        let mut mason = Mason::new(&plan, kernels);
        loop {
            let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(((frames, rows), rng)) = next else { return };
            mason.build(frames, rows, rng);
            progress(rows.len());
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    Ok(Prepared { frames, stride, rows, first_hops: plan.first_hops })
}

/// A recipe with what follows from it.
struct Plan<'a> {
    recipe: &'a Recipe,
    first_hops: Vec<SocketAddr>,
    home: Node,
}

impl<'a> Plan<'a> {
    fn new(recipe: &'a Recipe) -> Result<Self, PrepareError> {
        let first_hops = match &recipe.target {
            Target::Node { address, .. } | Target::Echo(address) => vec![*address],
            Target::Path(topology) => {
                let form = topology.form();
                let first = form.rewarded_set.layer1.iter();
                first.map(|id| form.node_details[id].mix_host).collect()
            }
        };
        let unroutable = first_hops.iter().chain([&recipe.home]).find(|a| !address::routable(a));
        if let Some(address) = unroutable {
            return Err(PrepareError::Unroutable(*address));
        }
        // Nobody opens the last layer, but it must be a layer for somebody's key.
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(PrepareError::Randomness)?;
        let key = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(secret));
        let home = Node {
            node_id: HOME,
            mix_host: recipe.home,
            entry: None,
            identity_key: PublicKey(key.to_bytes()),
            sphinx_key: PublicKey(key.to_bytes()),
            supported_roles: SupportedRoles::default(),
        };
        Ok(Self { recipe, first_hops, home })
    }

    /// The hops of one packet, the tester last, and the position of the first among the first hops.
    fn route(&self, rng: &mut ChaCha20Rng) -> (Vec<Hop>, u16) {
        let home = Hop::from(&self.home);
        match &self.recipe.target {
            Target::Node { address, key } => {
                (vec![Hop { node: 1, address: *address, key: *key }, home], 0)
            }
            Target::Echo(_) => (vec![home], 0),
            Target::Path(topology) => {
                let route = topology.random_route(rng, &self.home);
                let first = self.first_hops.iter().position(|hop| *hop == route[0].address);
                (route, first.expect("a route begins in the first layer") as u16)
            }
        }
    }
}

/// One thread's builder and its working memory.
struct Mason<'a> {
    plan: &'a Plan<'a>,
    builder: Builder,
    arrivals: Vec<u8>,
}

/// What one packet is drawn from.
struct Draft {
    hops: Vec<BuildHop>,
    first_hop: u16,
    delays: Span,
    secret: InitialSecret,
    padding: [u8; PADDING_MAX],
}

impl<'a> Mason<'a> {
    fn new(plan: &'a Plan<'a>, kernels: Kernels) -> Self {
        let arrivals = vec![0; BATCH_MAX * plan.recipe.frame.size.packet_len()];
        Self { plan, builder: Builder::new(kernels), arrivals }
    }

    fn build(&mut self, frames: &mut [u8], rows: &mut [Expected], mut rng: ChaCha20Rng) {
        let Recipe { frame, version, noise, .. } = self.plan.recipe;
        let before = if *noise { HEADER_LEN } else { 0 };
        let drafts: Vec<Draft> = rows.iter().map(|_| self.draft(&mut rng)).collect();
        let requests: Vec<Request<'_>> = drafts
            .iter()
            .map(|draft| Request {
                route: &draft.hops,
                destination: [0; 32],
                identifier: [0; 16],
                version: version.number(),
                secret: &draft.secret,
                padding: &draft.padding,
                message: &[],
            })
            .collect();
        let mut packets: Vec<&mut [u8]> = Vec::with_capacity(rows.len());
        for room in frames.chunks_exact_mut(self.plan.recipe.stride()) {
            let slot = &mut room[before..before + frame.frame_len()];
            let front = frame.write(slot);
            packets.push(&mut slot[front..]);
        }
        let arrivals = self.arrivals.chunks_exact_mut(frame.size.packet_len());
        let mut arrivals: Vec<&mut [u8]> = arrivals.take(rows.len()).collect();
        let built = self.builder.build_with_arrivals(&requests, &mut packets, &mut arrivals);
        built.expect("routes of at most 4 hops and empty messages can be built");
        for ((row, draft), arrival) in rows.iter_mut().zip(&drafts).zip(&arrivals) {
            *row = Expected::new(arrival, draft.delays, draft.first_hop);
        }
    }

    fn draft(&self, rng: &mut ChaCha20Rng) -> Draft {
        let (route, first_hop) = self.plan.route(rng);
        let last = route.len() - 1;
        let hop = |(at, hop): (usize, &Hop)| BuildHop {
            address: address::encode(hop.address),
            public_key: hop.key,
            // The last hop is the tester, which holds nothing.
            delay: if at == last { Span::ZERO } else { self.plan.recipe.delay.draw(rng) },
        };
        let hops: Vec<BuildHop> = route.iter().enumerate().map(hop).collect();
        let delays = Span::from_nanos(hops.iter().map(|hop| hop.delay.as_nanos()).sum());
        let (mut secret, mut padding) = ([0; 32], [0; PADDING_MAX]);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut padding);
        Draft { hops, first_hop, delays, secret: InitialSecret::from_bytes(secret), padding }
    }
}

const _: () = assert!(4 <= MAX_HOPS);
