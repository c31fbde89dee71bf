//! A service behind the gateway: a client of the mixnet at the node's own entry, which is there for
//! as long as the node is.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use phix_client::mixnet::{
    Client, ConnectError, Length, LinkError, Recipient, Settings, Status, store,
};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::fault::Fault;

/// Mean time between two packets while there are any to send.
const PACE: Length = Length::micros(200);
/// Fragments that a service's client holds, under way or waiting.
pub(super) const QUEUE: usize = 12_288;
/// How often a fragment is sent again before it is given up.
const RETRANSMISSIONS: u32 = 30;

/// How long to wait before the gateway is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// How often the same trouble is said, at most.
const SAID: Duration = Duration::from_secs(60);

/// Threads for all that one service does.
const THREADS: usize = 2;

/// Where a service stands.
#[derive(Clone, Debug)]
pub struct Seat {
    /// What it is, as it is said when something goes wrong.
    pub what: &'static str,
    /// Where its keys are, or are made.
    pub dir: PathBuf,
    /// The Ed25519 key of its gateway, the node that it is part of.
    pub gateway: [u8; 32],
    /// Where it learns the network: `directory` or `topology`, the rest being its own affair.
    pub network: Settings,
}

/// A running service. It ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    address: Recipient,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

impl Seat {
    /// The address that the service has, or will have. Makes its keys if there are none.
    ///
    /// # Errors
    /// A sentence, if there are none and none can be made.
    pub fn address(&self) -> Result<Recipient, Fault> {
        let refused = |error: &dyn std::fmt::Display| {
            Fault::refused(format!("the {} cannot have its keys: {error}.", self.what))
        };
        if !self.dir.exists() {
            let made = Client::builder().settings(settings(&self.network)).create(&self.dir);
            made.map_err(|error| refused(&error))?;
        }
        store::address_at(&self.dir, self.gateway).map_err(|error| refused(&error))
    }

    /// Has `serve` do the work on `runtime`, as a client of the gateway that takes clients at
    /// `gateway_at`, and again with a new client whenever one has ended. What goes wrong is told
    /// by `say`. The service is reached as soon as its node is in the network.
    ///
    /// # Errors
    /// A sentence, if it has no keys or the system gives no threads.
    pub fn start(
        self,
        runtime: Runtime,
        gateway_at: SocketAddr,
        say: fn(String),
        serve: impl AsyncFnMut(Client) + Send + 'static,
    ) -> Result<Service, Fault> {
        let address = self.address()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = Builder::new().name("phix-exit".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.go_on(gateway_at, say, serve) => {}
                    // Stopped, or dropped without a word: either is the end.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Service {
            address,
            stop: Some(stop),
            thread: Some(thread.map_err(|error| no_thread(&error))?),
        })
    }

    async fn go_on(
        self,
        gateway_at: SocketAddr,
        say: fn(String),
        mut serve: impl AsyncFnMut(Client),
    ) {
        let (first, most) = AGAIN;
        let (mut pause, mut said) = (first, None::<Instant>);
        loop {
            let builder =
                Client::builder().dir(&self.dir).keys_only().settings(settings(&self.network));
            let why = match builder.gateway_at(self.gateway, gateway_at).connect().await {
                Ok(client) => {
                    pause = first;
                    let sender = client.sender().clone();
                    serve(client).await;
                    match sender.status() {
                        Status::Ended(why) => why.unwrap_or_default(),
                        _ => String::new(),
                    }
                }
                Err(error) => {
                    if matches!(error, ConnectError::Link(LinkError::Unknown)) {
                        // The entry has lost what it knew of its clients.
                        if let Err(error) = store::forget_registration(&self.dir) {
                            say(format!("the {} waits: {error}", self.what));
                        }
                    }
                    error.to_string()
                }
            };
            if said.is_none_or(|said| said.elapsed() >= SAID) && pause > first {
                said = Some(Instant::now());
                say(format!("the {} waits: {why}", self.what));
            }
            sleep(pause).await;
            pause = (2 * pause).min(most);
        }
    }
}

/// What a service runs on.
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

impl Service {
    /// The address that clients send to.
    pub const fn address(&self) -> &Recipient {
        &self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}
