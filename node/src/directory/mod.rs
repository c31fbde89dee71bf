//! The directory: what nodes and clients learn the network from.
//!
//! Nodes register with a signed description ([`book`]), are probed with real packets ([`probe`]),
//! and are drawn by lot for what they do in an epoch ([`draw`]). Everything comes together in the
//! [`desk`], which makes a [`snapshot`] of all answers from time to time; requests are answered
//! from that and from nothing else. What must outlive the process is in SQLite ([`store`]).
//!
//! The answers are those of nym-api, so that stock clients and nodes can ask as well.
//!
//! Invariant: all answers that can be read from one snapshot are of one epoch, and an epoch has one
//! set, also after a restart, unless no packet could pass through it.

pub mod book;
pub mod desk;
pub mod draw;
pub mod epochs;
mod http;
mod hurry;
pub mod listing;
mod page;
mod probe;
pub mod refused;
mod routes;
pub mod snapshot;
pub mod start;
pub mod store;
pub mod window;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::desk::Desk;
use self::probe::{Means, Prober};
use self::routes::Front;
use crate::rotation::now;

pub use start::start;

/// The least and the greatest time after which answers are made anew within an epoch.
const REFRESH: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// The greatest time between probes, between answers and between the visits of nodes until there is
/// a network: whoever starts one waits for it.
pub(crate) const FOUNDING: Duration = Duration::from_secs(5);
/// How often the same trouble is said, at most.
const SAID: Duration = Duration::from_secs(60);

/// Threads that answer requests.
const THREADS: usize = 2;

/// A running directory. It ends when it is dropped.
#[derive(Debug)]
pub struct Directory {
    address: SocketAddr,
    probes: SocketAddr,
    desk: Arc<Desk>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Directory {
    /// Where it answers, with the real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes come back to.
    pub const fn probes(&self) -> SocketAddr {
        self.probes
    }

    /// The directory itself.
    pub const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A directory that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

/// What a directory listens on.
struct Listeners {
    requests: TcpListener,
    probes: TcpListener,
}

/// Everything that a directory does at the same time.
async fn live(desk: Arc<Desk>, listeners: Listeners, means: Means, say: fn(String)) {
    let bell = Arc::new(Notify::new());
    let troubles = Troubles::new(say);
    let front = Arc::new(Front::new(Arc::clone(&desk), Arc::clone(&bell)));
    tokio::spawn(http::serve(listeners.requests, front));
    let prober = Prober::new(Arc::clone(&desk), bell, troubles.clone(), means);
    tokio::spawn(prober.run(listeners.probes));
    turn(desk, troubles).await;
}

/// Goes on to the next epoch when it begins, and makes the answers anew in between.
async fn turn(desk: Arc<Desk>, troubles: Troubles) {
    let epochs = desk.rules().epochs;
    let (least, greatest) = REFRESH;
    let refresh = (epochs.length() / 10).clamp(least, greatest);
    loop {
        let at = now();
        let next = epochs.start(epochs.at(at).saturating_add(1)).saturating_sub(at);
        let refresh = if desk.has_network() { refresh } else { refresh.min(FOUNDING) };
        sleep(refresh.min(next)).await;
        let turning = Arc::clone(&desk);
        let turned = spawn_blocking(move || turning.turn(now())).await;
        let turned = turned.expect("making answers does not panic");
        troubles.look("the set of this epoch cannot be written down", turned.err());
    }
}

/// Says what goes wrong, and not all the time.
#[derive(Clone, Debug)]
struct Troubles {
    say: fn(String),
    last: Arc<Mutex<Option<Instant>>>,
}

impl Troubles {
    fn new(say: fn(String)) -> Self {
        Self { say, last: Arc::default() }
    }

    fn look(&self, what: &str, error: Option<impl Display>) {
        let Some(error) = error else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= SAID) {
            *last = Some(Instant::now());
            (self.say)(format!("{what} ({error}): see that there is room on the disk."));
        }
    }
}

/// A runtime for what a directory does.
fn executor() -> std::io::Result<runtime::Runtime> {
    runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("phix-directory")
        .enable_io()
        .enable_time()
        .build()
}
