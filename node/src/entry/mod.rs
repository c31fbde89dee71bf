//! The entry: clients connect here by WebSocket, register, send packets into the network and get
//! what was delivered for them.
//!
//! Each connection is a task on threads of its own; no shard ever waits for one. A client talks to
//! its own session only, and everything in between has a bound ([`limits`]), so that one client
//! that is slow, silent or hostile delays nobody else. What the database keeps ([`clients`], and
//! the inbox in the same file) has one thread that owns it ([`database`]).
//!
//! Invariant: nothing here logs by itself. Refusals are counted ([`counts`]), and the node says at
//! most one line a minute about each reason.

mod accept;
pub mod account;
pub mod arrivals;
mod clients;
pub mod counts;
pub mod database;
pub mod delivery;
mod greeting;
mod hops;
pub mod inbox;
mod limits;
mod newcomers;
mod requests;
mod session;
pub mod sessions;
mod socket;
mod start;
pub mod tickets;
mod unconfirmed;
mod unproved;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use phix_io::Injector;
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fault::Fault;
use arrivals::Arrivals;
use clients::Clients;
use counts::Counts;
use database::{Database, DatabaseThread};
use delivery::Inbox;
use inbox::{ClientInbox, Quotas};
use newcomers::Newcomers;
use sessions::Sessions;
use socket::End;
use tickets::{NoTickets, Tickets};
use unproved::Unproved;

pub use accept::listen;
pub use start::{dir, start};

/// Threads for all clients. What they do per packet is a fraction of what a shard does.
const THREADS: usize = 2;
/// How long sessions may take to give back what their clients did not take, when the node stops.
const STOPPING: Duration = Duration::from_secs(3);

/// What an entry is made of.
pub struct Plan {
    /// Where clients connect; see [`listen`].
    pub listener: TcpListener,
    /// The node's Ed25519 key, by which clients know it.
    pub identity: SigningKey,
    /// The way to the shards.
    pub injector: Injector,
    /// Where the database is.
    pub dir: PathBuf,
    /// Connections that there may be at a time.
    pub connections_max: usize,
    /// Clients that may be registered.
    pub clients_max: u64,
    /// New clients of one source in a day, if there is a limit.
    pub registrations_per_source: Option<u32>,
    /// Whether clients get bandwidth for nothing.
    pub free_bandwidth: bool,
    /// Clients that get it in any case: services of this node.
    pub services: Vec<[u8; 32]>,
    /// Whether private addresses may be first hops.
    pub private_hops: bool,
    /// What time it is; [`system_clock`] where it is not a test that asks.
    pub clock: Clock,
}

/// Says how many seconds have passed since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the system.
pub fn system_clock() -> Clock {
    Arc::new(|| crate::rotation::now().as_secs())
}

/// What all connections share.
pub(crate) struct Shared {
    identity: SigningKey,
    injector: Injector,
    clients: Clients,
    sessions: Arc<Sessions>,
    counts: Arc<Counts>,
    inbox: Arc<dyn Inbox>,
    tickets: Box<dyn Tickets>,
    unproved: Arc<Unproved>,
    places: Arc<Semaphore>,
    newcomers: Newcomers,
    free_bandwidth: bool,
    services: Vec<[u8; 32]>,
    private_hops: bool,
    clock: Clock,
}

impl Shared {
    /// Counts how a connection ended.
    fn note(&self, end: End) {
        if let End::Refused(why) = end {
            self.counts.refuse(why);
        }
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        (self.clock)()
    }
}

/// A running entry.
pub struct Entry {
    address: SocketAddr,
    runtime: Runtime,
    database: DatabaseThread,
    sessions: Arc<Sessions>,
    counts: Arc<Counts>,
    delivery: Option<Delivery>,
}

/// The task that delivers what arrives, and what ends it.
struct Delivery {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Entry {
    /// Starts to serve clients, and to deliver what arrives for them.
    ///
    /// # Errors
    /// As [`Entry::start`].
    pub fn open(
        plan: Plan,
        counts: Arc<Counts>,
        arrivals: Arrivals,
        quotas: Quotas,
    ) -> Result<Self, Fault> {
        let injector = plan.injector.clone();
        let (mut made, counted) = (None, Arc::clone(&counts));
        let mut entry = Self::start_counted(plan, counts, &[inbox::SCHEMA], |database, _| {
            let inbox = ClientInbox::new(database.clone(), injector, quotas, counted);
            made = Some(inbox.clone());
            Arc::new(inbox)
        })?;
        let inbox = made.expect("the inbox was made at the start");
        let (end, ended) = oneshot::channel();
        let (sessions, counts) = (Arc::clone(&entry.sessions), Arc::clone(&entry.counts));
        // Whoever drops the other side ends it, too.
        let ended = async { drop(ended.await) };
        let task = arrivals::deliver(arrivals, sessions, inbox, counts, ended);
        entry.delivery = Some(Delivery { task: entry.runtime.spawn(task), end });
        Ok(entry)
    }

    /// Starts to serve clients. `inbox` makes the inbox, in the entry's own database; `schema` are
    /// its tables.
    ///
    /// # Errors
    /// A sentence, if the database cannot be used or the system gives no threads.
    pub fn start(
        plan: Plan,
        schema: &[&str],
        inbox: impl FnOnce(&Database, &Arc<Sessions>) -> Arc<dyn Inbox>,
    ) -> Result<Self, Fault> {
        Self::start_counted(plan, Arc::default(), schema, inbox)
    }

    fn start_counted(
        plan: Plan,
        counts: Arc<Counts>,
        schema: &[&str],
        inbox: impl FnOnce(&Database, &Arc<Sessions>) -> Arc<dyn Inbox>,
    ) -> Result<Self, Fault> {
        let schema: Vec<&str> =
            [clients::SCHEMA].into_iter().chain(schema.iter().copied()).collect();
        let (connection, database) = Database::open(&plan.dir, &schema)?;
        let sessions = Sessions::new(Arc::clone(&counts));
        let clients = Clients::new(connection.clone(), Arc::clone(&counts), plan.clients_max)
            .map_err(|error| Fault::refused(format!("clients cannot be served: {error}.")))?;
        let shared = Shared {
            identity: plan.identity,
            injector: plan.injector,
            clients,
            sessions: Arc::clone(&sessions),
            counts: Arc::clone(&counts),
            inbox: inbox(&connection, &sessions),
            tickets: Box::new(NoTickets),
            unproved: Arc::default(),
            places: Arc::new(Semaphore::new(plan.connections_max)),
            newcomers: Newcomers::new(plan.registrations_per_source),
            free_bandwidth: plan.free_bandwidth,
            services: plan.services,
            private_hops: plan.private_hops,
            clock: plan.clock,
        };
        let (runtime, address) = serve(plan.listener, shared).map_err(|error| {
            Fault::refused(format!(
                "clients cannot be served ({error}): see that the system allows this user more \
                 threads and open files, or set --entry to off."
            ))
        })?;
        Ok(Self { address, runtime, database, sessions, counts, delivery: None })
    }

    /// Where it listens, with the real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The way to clients that are connected.
    pub const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Delivers what has arrived, ends all sessions, which gives back to the inbox what their
    /// clients have not taken, and closes the database. Whoever else has a way to the database must
    /// have given it up.
    pub fn stop(self) {
        if let Some(Delivery { task, end }) = self.delivery {
            drop(end);
            // What cannot be delivered in time was not acknowledged, and its senders know that.
            let _ = self.runtime.block_on(async { timeout(STOPPING, task).await });
        }
        let deadline = Instant::now() + STOPPING;
        while self.counts.sessions.get() > 0 && Instant::now() < deadline {
            self.sessions.end_all();
            std::thread::sleep(Duration::from_millis(10));
        }
        self.runtime.shutdown_timeout(STOPPING);
        self.database.join();
    }
}

fn serve(listener: TcpListener, shared: Shared) -> io::Result<(Runtime, SocketAddr)> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("phix-entry")
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    runtime.spawn(accept::accept(listener, Arc::new(shared)));
    Ok((runtime, address))
}
