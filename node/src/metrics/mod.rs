//! What a running node shows of itself over HTTP: metrics for Prometheus, whether it lives, whether
//! it takes packets.
//!
//! Invariant: nothing here makes a shard wait. What is shown are sums over all packets, and they
//! change once a second at most: more often would tell an observer when single packets came.

mod endpoint;
mod entry;
mod exit;
pub mod names;
pub(crate) mod page;
pub(crate) mod process;
mod router;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use phix_client::files::words;
use phix_engine::pool::Capacity;
use phix_io::Observer;

use crate::entry::counts::Counts;
use crate::exit::requester::counts::Counts as ExitCounts;
use crate::exit::router::counts::Counts as RouterCounts;
use crate::fault::Fault;

pub use endpoint::Endpoint;

/// What is shown of one node.
#[derive(Debug)]
pub struct Shown {
    observer: Observer,
    capacity: Capacity,
    build: [(&'static str, String); 3],
    leaving: AtomicBool,
    entry: OnceLock<Arc<Counts>>,
    exit: OnceLock<Arc<ExitCounts>>,
    router: OnceLock<Arc<RouterCounts>>,
}

impl Shown {
    /// A node with these shards, each with slots for `capacity` packets, of which `link` and
    /// `crypto` are the names.
    pub fn new(observer: Observer, capacity: Capacity, link: String, crypto: String) -> Arc<Self> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let build = [("version", version), ("link", link), ("crypto", crypto)];
        Arc::new(Self {
            observer,
            capacity,
            build,
            leaving: AtomicBool::new(false),
            entry: OnceLock::new(),
            exit: OnceLock::new(),
            router: OnceLock::new(),
        })
    }

    /// Shows what the node's entry counts, too.
    pub fn with_entry(&self, counts: &Arc<Counts>) {
        self.entry.get_or_init(|| Arc::clone(counts));
    }

    /// Shows what the node's network requester counts, too, and its IP packet router, if it has
    /// one.
    pub fn with_exit(&self, requester: &Arc<ExitCounts>, router: Option<&Arc<RouterCounts>>) {
        self.exit.get_or_init(|| Arc::clone(requester));
        if let Some(router) = router {
            self.router.get_or_init(|| Arc::clone(router));
        }
    }

    /// Takes note that the node takes no more packets.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the process does what it is there for; what is wrong otherwise.
    fn lives(&self) -> Result<&'static str, String> {
        self.observer.failed().map_or(Ok("all shards run"), Err)
    }

    /// Whether the node takes packets; why not otherwise.
    fn is_ready(&self) -> Result<&'static str, String> {
        self.lives()?;
        if self.leaving.load(Ordering::Relaxed) {
            return Err("stopping: it sends what it holds and takes nothing more".to_owned());
        }
        Ok("listening")
    }
}

/// Takes the address on which metrics are to be shown.
///
/// # Errors
/// If it cannot be had.
pub fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).map_err(|error| {
        let why = words(&error);
        Fault::refused(format!(
            "metrics cannot be shown on {address} ({why}): stop the program that listens there \
             (another node, perhaps), or set --metrics to another address or to off."
        ))
    })
}

/// What an operator should know about metrics on this address, if others can reach it.
pub fn warning(address: SocketAddr) -> Option<String> {
    (!address.ip().is_loopback()).then(|| {
        format!(
            "warning: metrics on {address} can be read from other machines. They tell how much \
             traffic this node carries and when, which helps to find out who talks to whom: let \
             only your own monitoring reach this address, or set --metrics to 127.0.0.1 and a port."
        )
    })
}
