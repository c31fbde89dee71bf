//! Starting a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phix_io::MonotonicClock;
use phix_proto::message::ClientKeys;
use rand::seq::IndexedRandom;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::PollSender;

use super::super::core::{Core, Delivery, os_rng};
use super::super::dial::Url;
use super::super::directory::Source;
use super::super::settings::Settings;
use super::super::store::{Registration, Store};
use super::driver::{Driver, Waiting};
use super::link::{Dialer, Gateway, Link};
use super::{Client, ConnectError, Receiver, Sender, Status, gateway_at, gateway_of};
use crate::topology::Topology;

/// Commands that wait for the client's task.
const COMMANDS_MAX: usize = 16;

/// Messages that wait for the receiving handle; the gateway keeps what comes beyond that.
const DELIVERIES_MAX: usize = 64;

/// How often the gateway is tried before the start is given up.
const ATTEMPTS: u32 = 3;

/// Longer than the second that a gateway takes one authentication in.
const PAUSE: Duration = Duration::from_millis(1100);

/// What is to be decided before a client runs.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Settings,
    dir: Option<PathBuf>,
    gateway: Option<[u8; 32]>,
    at: Option<SocketAddr>,
    keys_only: bool,
}

impl Builder {
    /// Learns the network from the directory at this base URL.
    #[must_use]
    pub fn directory(mut self, url: impl Into<String>) -> Self {
        self.settings.directory = Some(url.into());
        self
    }

    /// Learns the network from a topology file.
    #[must_use]
    pub fn topology(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.topology = Some(path.into());
        self
    }

    /// All settings at once.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Registers with the gateway of this Ed25519 identity; without, one is drawn.
    #[must_use]
    pub const fn gateway(mut self, identity: [u8; 32]) -> Self {
        self.gateway = Some(identity);
        self
    }

    /// The client that `phix-client init` made in this directory, with the settings that are there.
    /// Without a directory the client has new keys, and nothing of it is left when it ends.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Reaches that gateway at this address, by WebSocket without TLS, whatever topologies say: for
    /// services on its own machine.
    #[must_use]
    pub const fn gateway_at(mut self, identity: [u8; 32], address: SocketAddr) -> Self {
        self.gateway = Some(identity);
        self.at = Some(address);
        self
    }

    /// Has keys and registration of [`Builder::dir`], and the settings of this builder.
    #[must_use]
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Makes a new client in `dir`, with the settings of this builder, and does not run it.
    ///
    /// # Errors
    /// If the settings cannot be used, or there is a client already.
    pub fn create(&self, dir: &Path) -> Result<(), ConnectError> {
        Source::new(&self.settings)?;
        Store::create(dir, &self.settings)?;
        Ok(())
    }

    /// Starts the client: fetches the topology, registers with a gateway if it has none, and opens
    /// a session. It runs in a task of the present tokio runtime, which needs its I/O and time
    /// drivers.
    ///
    /// # Errors
    /// If any of that fails.
    ///
    /// # Panics
    /// Outside of such a runtime.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let mut rng = os_rng();
        let (wanted, at) = (self.gateway, self.at);
        let (store, settings) = self.place()?;
        let keys = match &store {
            Some(store) => store.keys(&mut rng)?,
            None => ClientKeys::generate(&mut rng),
        };
        let known = store.as_ref().map(Store::registration).transpose()?.flatten();
        let source = Source::new(&settings)?;
        let topology = source.fetch().await?;
        let gateway = choose_gateway(&topology, wanted, at, known.as_ref())?;
        let dialer = Dialer {
            gateway: &gateway,
            keys: &keys,
            patience: settings.gateway_timeout.duration(),
        };
        let own = keys.recipient(gateway.identity);
        let own = own.map_err(|_| ConnectError::GatewayGone(gateway.identity))?;
        let kernels = phix_io::crypto::fastest();
        let now = MonotonicClock.now();
        let mut core = Core::new(&settings, keys.clone(), own, topology, kernels, rng, now);
        let (link, registration) = open(&dialer, known, store.as_ref(), &mut core).await?;

        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (closes, close_asked) = mpsc::channel(1);
        let (deliveries, delivered) = mpsc::channel::<Delivery>(DELIVERIES_MAX);
        let (told, status) = watch::channel(Status::Connected);
        #[cfg(test)]
        let schedule = super::Schedule::default();
        let driver = Driver {
            core,
            settings,
            keys,
            registration,
            gateway,
            source,
            store,
            commands: asked,
            closes: close_asked,
            deliveries,
            status: told,
            waiting: Waiting::default(),
            #[cfg(test)]
            schedule: super::Schedule::clone(&schedule),
        };
        tokio::spawn(driver.run(link));
        let sink = PollSender::new(commands.clone());
        let sender = Sender {
            own,
            commands,
            closes,
            sink,
            status,
            #[cfg(test)]
            schedule,
        };
        Ok(Client { sender, receiver: Receiver(delivered) })
    }

    /// The client's directory, if it has one, and what it is to go by.
    fn place(self) -> Result<(Option<Store>, Settings), ConnectError> {
        let (store, settings) = match &self.dir {
            Some(dir) => {
                let (store, settings) = Store::open(dir)?;
                (Some(store), if self.keys_only { self.settings } else { settings })
            }
            None => (None, self.settings),
        };
        settings.check()?;
        Ok((store, settings))
    }
}

/// The gateway that the client is registered with, or else the one that is wanted, or any.
fn choose_gateway(
    topology: &Topology,
    wanted: Option<[u8; 32]>,
    at: Option<SocketAddr>,
    known: Option<&Registration>,
) -> Result<Gateway, ConnectError> {
    if let Some(known) = known
        && wanted.is_some_and(|wanted| wanted != known.gateway)
    {
        return Err(ConnectError::OtherGateway(known.gateway));
    }
    if let (Some(identity), Some(at)) = (wanted, at) {
        let host = at.ip().to_string();
        let url = Url { tls: false, host, port: at.port(), path: String::new() };
        return Ok(Gateway { identity, url, fixed: true });
    }
    if let Some(known) = known {
        let gone = ConnectError::GatewayGone(known.gateway);
        return gateway_of(topology, &known.gateway).ok_or(gone);
    }
    if let Some(wanted) = wanted {
        return gateway_of(topology, &wanted).ok_or(ConnectError::GatewayGone(wanted));
    }
    let open: Vec<_> = topology.entry_gateways().filter_map(gateway_at).collect();
    open.choose(&mut os_rng()).cloned().ok_or(ConnectError::NoGateway)
}

/// Opens the first session, registering for it if that was not done before.
async fn open(
    dialer: &Dialer<'_>,
    known: Option<Registration>,
    store: Option<&Store>,
    core: &mut Core,
) -> Result<(Link, Registration), ConnectError> {
    let mut attempt = 1;
    loop {
        let opened = match &known {
            None => dialer.register(os_rng()).await,
            Some(known) => {
                let early = |payload: &mut [u8]| core.arrive(payload, MonotonicClock.now());
                let link = dialer.authenticate(known, os_rng(), early).await;
                link.map(|link| (link, known.clone()))
            }
        };
        match opened {
            Ok((link, registration)) => {
                if let (None, Some(store)) = (&known, store) {
                    store.register(&registration)?;
                }
                return Ok((link, registration));
            }
            Err(error) if error.passes() && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
