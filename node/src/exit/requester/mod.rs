//! The network requester: it connects to servers of the internet for clients of the mixnet.
//!
//! It is a client of the mixnet itself, registered with the entry of its own node, and what it is
//! asked for and answers is the protocol of stock SOCKS5 clients ([`phix_proto::requester`]).
//!
//! [`desk`] reads what comes, and owns the table of connections; [`connection`] is one of them, as
//! a task; [`inbound`] is what lies between the two, in order and bounded; [`answers`] is the way
//! back, and its windows; [`gate`] says what may be connected to, and [`door`] asks resolver and
//! policy for it.

mod answers;
mod connection;
pub mod counts;
mod desk;
pub mod door;
mod early;
pub mod gate;
mod inbound;
mod limits;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use phix_client::mixnet::{
    Client, ConnectError, Length, LinkError, Recipient, Settings, Status, store,
};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::fault::Fault;
use counts::Counts;
use gate::Gate;
use limits::{AGAIN, QUEUE, RETRANSMISSIONS};

/// Mean time between two packets while there are any to send.
const PACE: Length = Length::micros(200);

/// How often the same trouble is said, at most.
const SAID: Duration = Duration::from_secs(60);

/// What a requester is made of.
#[derive(Debug)]
pub struct Plan {
    /// Where its keys are, or are made.
    pub dir: PathBuf,
    /// The Ed25519 key of its gateway, the node that it is part of.
    pub gateway: [u8; 32],
    /// Where that gateway takes clients.
    pub gateway_at: SocketAddr,
    /// Where it learns the network: `directory` or `topology`, the rest being its own affair.
    pub network: Settings,
    /// What it connects to.
    pub gate: Arc<dyn Gate>,
    /// Where it counts.
    pub counts: Arc<Counts>,
    /// Says what goes wrong.
    pub say: fn(String),
}

/// A running requester. It ends when it is dropped.
#[derive(Debug)]
pub struct Requester {
    address: Recipient,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The address that the requester with keys in `dir` has, or will have, at `gateway`. Makes the
/// keys if there are none; `network` says where the network is learned from.
///
/// # Errors
/// A sentence, if there are none and none can be made.
pub fn address(dir: &Path, gateway: [u8; 32], network: &Settings) -> Result<Recipient, Fault> {
    let refused = |error: &dyn std::fmt::Display| {
        Fault::refused(format!("the network requester cannot have its keys: {error}."))
    };
    if !dir.exists() {
        let made = Client::builder().settings(settings(network)).create(dir);
        made.map_err(|error| refused(&error))?;
    }
    store::address_at(dir, gateway).map_err(|error| refused(&error))
}

fn settings(network: &Settings) -> Settings {
    Settings {
        main_stream: PACE,
        main_cover: false,
        loop_cover: Length::millis(0),
        queue: QUEUE,
        retransmissions: Some(RETRANSMISSIONS),
        reconnect_max: Length::millis(5_000),
        ..network.clone()
    }
}

impl Plan {
    /// Starts it on `runtime`. It is reached as soon as its node is in the network.
    ///
    /// # Errors
    /// A sentence, if it has no keys or the system gives no threads.
    pub fn start(self, runtime: Runtime) -> Result<Requester, Fault> {
        let address = address(&self.dir, self.gateway, &self.network)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = Builder::new().name("phix-exit".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.go_on() => {}
                    // Stopped, or dropped without a word: either is the end.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Requester {
            address,
            stop: Some(stop),
            thread: Some(thread.map_err(|error| no_thread(&error))?),
        })
    }

    async fn go_on(self) {
        let (first, most) = AGAIN;
        let (mut pause, mut said) = (first, None::<Instant>);
        loop {
            let builder =
                Client::builder().dir(&self.dir).keys_only().settings(settings(&self.network));
            let why = match builder.gateway_at(self.gateway, self.gateway_at).connect().await {
                Ok(client) => {
                    pause = first;
                    let sender = client.sender().clone();
                    desk::serve(client, Arc::clone(&self.gate), Arc::clone(&self.counts)).await;
                    match sender.status() {
                        Status::Ended(why) => why.unwrap_or_default(),
                        _ => String::new(),
                    }
                }
                Err(error) => {
                    if matches!(error, ConnectError::Link(LinkError::Unknown)) {
                        // The entry has lost what it knew of its clients.
                        if let Err(error) = store::forget_registration(&self.dir) {
                            (self.say)(format!("the network requester waits: {error}"));
                        }
                    }
                    error.to_string()
                }
            };
            if said.is_none_or(|said| said.elapsed() >= SAID) && pause > first {
                said = Some(Instant::now());
                (self.say)(format!("the network requester waits: {why}"));
            }
            sleep(pause).await;
            pause = (2 * pause).min(most);
        }
    }
}

/// Threads for all connections.
const THREADS: usize = 2;

/// What a requester runs on.
///
/// # Errors
/// A sentence, if the system gives no threads.
pub fn runtime() -> Result<Runtime, Fault> {
    runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("phix-exit")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| no_thread(&error))
}

fn no_thread(error: &io::Error) -> Fault {
    Fault::refused(format!("there is no thread to be had for the exit ({error})."))
}

impl Requester {
    /// The address that clients send to.
    pub const fn address(&self) -> &Recipient {
        &self.address
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}
