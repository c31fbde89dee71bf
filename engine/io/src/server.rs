//! A node's threads: started together, counted together, stopped together.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use phix_engine::counters::Counters;
use phix_engine::egress::NextHops;
use phix_engine::shard::{Config, Delivery, FinalHops, Held, Keys, Seat, Shard, Sink, Undelivered};
use phix_engine::units::Time;

use crate::clock::MonotonicClock;
use crate::cores::{allowed_cpus, pin};
use crate::epoll::EpollLink;
use crate::error::StartError;
use crate::handed::Handed;
use crate::injector::{Injected, Injector};
use crate::line::{Line, Parts};
use crate::memory::prefer_huge_pages;
use crate::noise::{Noise, NoisePeers};
use crate::plan::{LinkChoice, LinkKind, LinkPlan, ZeroCopy, plan, zero_copy};
use crate::published::{Observer, Published};
use crate::sockets;
use crate::sources::Sources;
use crate::uring::UringLink;
use crate::waker::Waker;
use crate::worker::{Command, Worker};

/// Commands that wait for one worker at most; who gives more waits.
const COMMANDS: usize = 4;

/// How a server is built.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 leaves the port to the system.
    pub listen: SocketAddr,
    /// Threads, each with a shard of its own.
    pub shards: usize,
    /// Whether each thread stays on one core.
    pub pin: bool,
    /// Which link.
    pub link: LinkChoice,
    /// Where connections out come from; nothing leaves it to the system.
    pub source: Option<IpAddr>,
    /// Connections in that one shard keeps at a time.
    pub connections_max: usize,
    /// What one peer may take of it.
    pub peers: PeerLimits,
    /// How it speaks with other nodes.
    pub noise: Noise,
    /// How long a stop may go on sending.
    pub drain: Duration,
    /// How each shard is built. Its seed is not used: every shard draws one of its own.
    pub shard: Config,
}

/// What one peer may take of a server.
#[derive(Clone, Debug)]
pub struct PeerLimits {
    /// Connections in from one source at a time, all shards together. A source is an IPv4 address
    /// or an IPv6 network of 64 bits.
    pub connections: usize,
    /// Packets that one source brings per second at most, all shards together; what is beyond that
    /// waits with the sender. Nothing sets no limit.
    pub packets_per_second: Option<u32>,
    /// Where packets may go.
    pub next_hops: NextHops,
}

impl Default for PeerLimits {
    /// No limit but those of the shards.
    fn default() -> Self {
        Self { connections: usize::MAX, packets_per_second: None, next_hops: NextHops::Any }
    }
}

/// What a server is started on, besides its settings.
#[derive(Debug, Default)]
pub struct Basis {
    /// Listeners that another server has, or had: one for each shard, all of them on one port.
    /// Without them it listens where the settings say.
    pub listeners: Option<Vec<OwnedFd>>,
    /// Whether packets are sent without a copy.
    pub zero_copy: ZeroCopy,
}

/// How a server ended.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// Everything it ever counted. Nothing is held any more, so `received` and `originated` are
    /// together the sum of `forwarded`, `delivered` and what was dropped.
    pub counters: Counters,
    /// Packets that it had to drop because it ended.
    pub abandoned: usize,
    /// How long the end took.
    pub took: Duration,
    /// What [`Server::failed`] would say now; an end can fail, too.
    pub failed: Option<String>,
}

/// A sink for nodes that are no one's final hop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

impl Sink for Refuse {
    fn deliver(&mut self, _delivery: Delivery<'_>) -> Result<(), Undelivered> {
        Err(Undelivered::Malformed)
    }
}

/// What each shard of a server has of its own from the start.
struct Place<S> {
    shard: usize,
    seat: Seat,
    injected: Injected,
    sink: S,
    cpu: Option<usize>,
}

#[derive(Debug)]
struct Handle {
    thread: JoinHandle<usize>,
    commands: SyncSender<Command>,
    waker: Waker,
    published: Arc<Published>,
}

/// The running threads of one node. Dropping it kills them.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    plan: LinkPlan,
    /// What is done, and the words about it.
    zero_copy: (ZeroCopy, String),
    drain: Duration,
    sources: Sources,
    /// One per shard. The shards have descriptors of their own.
    listeners: Vec<OwnedFd>,
    injector: Injector,
    handles: Vec<Handle>,
}

/// What a new thread makes its worker from.
struct Plans<S> {
    kind: LinkKind,
    parts: Parts,
    seat: Seat,
    shard: Config,
    next_hops: NextHops,
    keys: Keys,
    sink: S,
    injected: Injected,
    cpu: Option<usize>,
    commands: Receiver<Command>,
    published: Arc<Published>,
}

impl Server {
    /// Starts the threads; returns when all of them listen. `sinks` makes each shard's sink.
    ///
    /// # Errors
    /// If an address, the link or the threads cannot be had. Nothing is left running then.
    pub fn start<S: Sink + Send + 'static>(
        config: ServerConfig,
        keys: Keys,
        sinks: impl FnMut(usize) -> S,
    ) -> Result<Self, StartError> {
        let server = Self::start_silent(config, Basis::default(), keys, sinks)?;
        server.open(Vec::new())?;
        Ok(server)
    }

    /// Starts the threads on what they are given. Nothing is accepted before [`Server::open`].
    ///
    /// # Errors
    /// As [`Server::start`]; also if there are not as many listeners as shards.
    #[expect(clippy::needless_pass_by_value, reason = "the server takes them over")]
    pub fn start_silent<S: Sink + Send + 'static>(
        config: ServerConfig,
        basis: Basis,
        keys: Keys,
        mut sinks: impl FnMut(usize) -> S,
    ) -> Result<Self, StartError> {
        config.check()?;
        let listen = || {
            sockets::listeners(config.listen, config.shards)
                .map_err(|error| StartError::Listen { address: config.listen, error })
        };
        let plan = plan(config.link)?;
        let (zero_copy, zero_copy_words) = zero_copy(basis.zero_copy, plan.kind)?;
        let listeners = basis.listeners.map_or_else(listen, Ok)?;
        if listeners.len() != config.shards {
            return Err(StartError::Listeners { shards: config.shards, there: listeners.len() });
        }
        let address = sockets::address(&listeners[0])
            .map_err(|error| StartError::Listen { address: config.listen, error })?;
        let cpus = if config.pin { allowed_cpus()? } else { Vec::new() };
        let handles = Vec::with_capacity(config.shards);
        let sources = Sources::new(config.peers.connections, config.peers.packets_per_second);
        let wakers = (0..config.shards).map(|_| Waker::new()).collect::<io::Result<Arc<[_]>>>();
        let wakers = wakers.map_err(StartError::resources("wake-up descriptors"))?;
        let (injector, injected) = Injector::new(&wakers);
        let drain = config.drain;
        let zero_copy = (zero_copy, zero_copy_words);
        let mut server =
            Self { address, plan, zero_copy, drain, sources, listeners, injector, handles };
        let seats = Seat::several(config.shard.capacity, config.shards);
        if let Some(seat) = seats.first() {
            prefer_huge_pages(seat.memory());
        }
        for (shard, (seat, injected)) in seats.into_iter().zip(injected).enumerate() {
            let cpu = (!cpus.is_empty()).then(|| cpus[shard % cpus.len()]);
            let place = Place { shard, seat, injected, sink: sinks(shard), cpu };
            server.start_one(place, &wakers, &config, keys.clone())?;
        }
        Ok(server)
    }

    fn start_one<S: Sink + Send + 'static>(
        &mut self,
        place: Place<S>,
        wakers: &Arc<[Waker]>,
        config: &ServerConfig,
        keys: Keys,
    ) -> Result<(), StartError> {
        let Place { shard: index, seat, injected, sink, cpu } = place;
        let mut shard = config.shard.clone();
        let mut seed = [0; 8];
        for bytes in [&mut shard.seed[..], &mut seed[..]] {
            getrandom::fill(bytes)
                .map_err(|error| StartError::resources("random bytes")(error.into()))?;
        }
        let parts = Parts {
            listener: None,
            wakers: Arc::clone(wakers),
            shard: index,
            connections_max: config.connections_max,
            source: config.source,
            sources: self.sources.clone(),
            noise: config.noise.clone(),
            seed: u64::from_ne_bytes(seed),
            zero_copy: self.zero_copy.0,
        };
        let published = Arc::new(Published::new());
        let (commands, inbox) = sync_channel(COMMANDS);
        let (ready, started) = sync_channel(1);
        let plans = Plans {
            kind: self.plan.kind,
            parts,
            seat,
            shard,
            next_hops: config.peers.next_hops.clone(),
            keys,
            sink,
            injected,
            cpu,
            commands: inbox,
            published: Arc::clone(&published),
        };
        let thread = Builder::new()
            .name(format!("phix-shard-{index}"))
            .spawn(move || plans.run(&ready))
            .map_err(StartError::resources("a thread"))?;
        let waker = wakers[index].clone();
        self.handles.push(Handle { thread, commands, waker, published });
        let died = || io::Error::other("its thread ended at once");
        let result = started.recv().unwrap_or_else(|_| Err(died()));
        result.map_err(StartError::resources("a link for each shard"))
    }

    /// Accepts connections from now on, and goes on with `connections`, which another server gave
    /// away; or which this one did, whose shards then leave each other no packets any more.
    ///
    /// # Errors
    /// If there are not enough descriptors.
    pub fn open(&self, connections: Vec<Handed>) -> Result<(), StartError> {
        let mut shares: Vec<Vec<Handed>> = self.handles.iter().map(|_| Vec::new()).collect();
        for (at, connection) in connections.into_iter().enumerate() {
            shares[at % self.handles.len()].push(connection);
        }
        let own = self.listeners.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
        let own = own.map_err(StartError::resources("descriptors for listeners"))?;
        for ((handle, share), listener) in self.handles.iter().zip(shares).zip(own) {
            if !share.is_empty() {
                handle.command(Command::Adopt(share));
            }
            handle.command(Command::Listen(listener));
        }
        Ok(())
    }

    /// Where it listens, one descriptor per shard, for another server to be started on.
    pub fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(AsFd::as_fd)
    }

    /// Takes nothing in any more, and gives all connections in away. All packets that came have
    /// been opened when it returns; they are sent when they are due, until [`Server::stop`] and
    /// within it. What a shard had that has failed is lost, and [`Server::failed`] tells of it.
    pub fn release(&self) -> Vec<Handed> {
        let ask = |handle: &Handle| {
            let (to, released) = sync_channel(1);
            handle.command(Command::Release(to));
            released
        };
        // All are asked before the first one is waited for.
        let asked: Vec<_> = self.handles.iter().map(ask).collect();
        asked.into_iter().flat_map(|released| released.recv().unwrap_or_default()).collect()
    }

    /// Where it listens, with the real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which link it uses, and why.
    pub const fn link(&self) -> &LinkPlan {
        &self.plan
    }

    /// Whether packets are sent without a copy, in a few words.
    pub fn zero_copy(&self) -> &str {
        &self.zero_copy.1
    }

    /// The sum of what the shards have published last.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.handles.iter().for_each(|handle| sum.add(&handle.published.counters()));
        sum
    }

    /// Where packets are, in all shards together.
    pub fn held(&self) -> Held {
        let mut sum = Held::default();
        for held in self.handles.iter().map(|handle| handle.published.gauges().held) {
            sum.ready += held.ready;
            sum.delayed += held.delayed;
            sum.queued += held.queued;
            sum.in_flight += held.in_flight;
        }
        sum
    }

    /// Each shard by itself, for whoever shows it.
    pub fn observer(&self) -> Observer {
        Observer::new(self.handles.iter().map(|handle| Arc::clone(&handle.published)))
    }

    /// Why a shard has come to an end that nobody asked for, if one has. The others go on.
    pub fn failed(&self) -> Option<String> {
        self.handles.iter().enumerate().find_map(|(index, handle)| {
            let reason = handle.published.failed();
            let gone = || handle.thread.is_finished().then(|| "its thread panicked".to_owned());
            reason.or_else(gone).map(|reason| format!("shard {index}: {reason}"))
        })
    }

    /// Changes the keys of all shards. Packets that arrive from now on, give or take one turn, are
    /// opened with these.
    #[expect(clippy::needless_pass_by_value, reason = "the server takes them over")]
    pub fn set_keys(&self, keys: Keys) {
        for handle in &self.handles {
            handle.command(Command::Keys(Box::new(keys.clone())));
        }
    }

    /// Changes the Noise keys of other nodes, for connections that come up from now on.
    pub fn set_noise_peers(&self, peers: &Arc<NoisePeers>) {
        for handle in &self.handles {
            handle.command(Command::NoisePeers(Arc::clone(peers)));
        }
    }

    /// Changes what becomes of packets that end here. Packets that were opened before go on as they
    /// would have.
    pub fn set_final_hops(&self, final_hops: FinalHops) {
        for handle in &self.handles {
            handle.command(Command::FinalHops(final_hops));
        }
    }

    /// Changes where packets may go. Those on their way to an address that no longer may be a next
    /// hop still go there.
    pub fn set_next_hops(&self, next_hops: &NextHops) {
        for handle in &self.handles {
            handle.command(Command::NextHops(next_hops.clone()));
        }
    }

    /// The way in for packets that begin at this node.
    pub fn injector(&self) -> Injector {
        self.injector.clone()
    }

    /// Stops in good order: accepts nothing more, sends what is due until nothing is held or the
    /// drain time is over, drops the rest.
    pub fn stop(self) -> StopReport {
        let drain = self.drain;
        self.stop_within(drain)
    }

    /// As [`Server::stop`], with another drain time.
    pub fn stop_within(mut self, drain: Duration) -> StopReport {
        self.end(|| Command::Stop(drain))
    }

    /// Stops at once, as if the process had died: connections are reset, nothing more is sent.
    pub fn kill(mut self) -> StopReport {
        self.end(|| Command::Kill)
    }

    fn end(&mut self, command: impl Fn() -> Command) -> StopReport {
        let start = Instant::now();
        // Who connects from now on is to be refused, once the shards have closed theirs as well.
        self.listeners.clear();
        for handle in &self.handles {
            handle.command(command());
        }
        let (mut counters, mut abandoned, mut failed) = (Counters::default(), 0, None);
        for (index, handle) in self.handles.drain(..).enumerate() {
            let Handle { thread, published, .. } = handle;
            match thread.join() {
                Ok(count) => abandoned += count,
                Err(_) => published.fail("its thread panicked".to_owned()),
            }
            counters.add(&published.counters());
            let reason = published.failed().map(|reason| format!("shard {index}: {reason}"));
            failed = failed.or(reason);
        }
        StopReport { counters, abandoned, took: start.elapsed(), failed }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(|| Command::Kill);
    }
}

impl ServerConfig {
    fn check(&self) -> Result<(), StartError> {
        if self.shards == 0 {
            return Err(StartError::NoShards);
        }
        self.source.map_or(Ok(()), sockets::check_source)
    }
}

impl Handle {
    fn command(&self, command: Command) {
        // A worker that has ended takes no commands; `Server::failed` tells of it.
        let _ = self.commands.send(command);
        self.waker.wake();
    }
}

impl<S: Sink> Plans<S> {
    fn run(self, ready: &SyncSender<io::Result<()>>) -> usize {
        if let Err(error) = self.cpu.map_or(Ok(()), pin) {
            let _ = ready.send(Err(error));
            return 0;
        }
        match self.kind {
            LinkKind::Uring => self.run_over(UringLink::new, ready),
            LinkKind::Epoll => self.run_over(EpollLink::new, ready),
        }
    }

    fn run_over<L: Line>(
        self,
        link: impl FnOnce(Parts) -> io::Result<L>,
        ready: &SyncSender<io::Result<()>>,
    ) -> usize {
        let Self { parts, seat, shard, next_hops, keys, .. } = self;
        let Self { sink, injected, commands, published, .. } = self;
        let mut shard = Shard::seated(seat, &shard, keys, MonotonicClock.now());
        shard.set_next_hops(next_hops);
        let link = match link(parts) {
            Ok(link) => link,
            Err(error) => {
                let _ = ready.send(Err(error));
                return 0;
            }
        };
        let _ = ready.send(Ok(()));
        let last_publication = Time::ZERO;
        Worker { link, shard, sink, injected, commands, published, last_publication }.run()
    }
}
