//! From settings and keys to running services.

use std::net::SocketAddr;
use std::sync::Arc;

use phix_client::mixnet::{Recipient, Settings};
use tokio::sync::watch;

use super::policy::{Keeper, Policy};
use super::requester::door::Door;
use super::requester::{self, Plan};
use super::resolve::Resolver;
use super::router::{self, Router};
use super::service::{self, Seat, Service};
use crate::cli::say;
use crate::entry;
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;
use crate::reach::reachable;

/// The addresses at which the services of an exit are reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// That of the network requester.
    pub requester: Recipient,
    /// That of the IP packet router, where there is one.
    pub router: Option<Recipient>,
}

/// What the services of an exit count.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The network requester.
    pub requester: Arc<requester::counts::Counts>,
    /// The IP packet router.
    pub router: Arc<router::counts::Counts>,
}

/// The running services of an exit. They end when this is dropped.
#[derive(Debug)]
pub struct Services {
    _requester: Service,
    _router: Option<Service>,
}

/// The addresses of the services of the node at `place`; nothing if they have no way to learn the
/// network. Makes their keys if there are none.
///
/// # Errors
/// A sentence, if their keys cannot be used.
pub fn addresses(place: &Place, keys: &NodeKeys) -> Result<Option<Addresses>, Fault> {
    let Some(network) = network(place) else { return Ok(None) };
    let requester = requester_seat(place, keys, &network).address()?;
    let router =
        place.settings.exit_router.clone().get().map(|_| router_seat(place, keys, &network));
    let router = router.map(|seat| seat.address()).transpose()?;
    Ok(Some(Addresses { requester, router }))
}

/// Starts the services of the node at `place`, whose entry takes clients at `clients`.
///
/// # Errors
/// A sentence, if one of them cannot start.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    clients: SocketAddr,
    counts: &Counts,
) -> Result<Services, Fault> {
    let network = network(place).ok_or_else(|| {
        Fault::refused(
            "the services of an exit must know the network: set `directory` or `exit-topology`.",
        )
    })?;
    let gateway_at = reachable(clients);
    let runtime = service::runtime()?;
    let policy = runtime.block_on(policy(place))?;
    // Where it cannot start, the requester is not there either.
    let router =
        start_router(place, router_seat(place, keys, &network), gateway_at, &policy, counts)?;
    let resolver = Resolver::new(place.settings.exit_nameservers.clone().get().as_ref())?;
    let plan = Plan {
        seat: requester_seat(place, keys, &network),
        gateway_at,
        gate: Arc::new(Door::new(policy, resolver, place.settings.exit_policy.clone())),
        counts: Arc::clone(&counts.requester),
        say: |what| say(what),
    };
    let requester = plan.start(runtime)?;
    say(format_args!("network requester {}", requester.address()));
    Ok(Services { _requester: requester, _router: router })
}

/// Starts the IP packet router, if there is to be one; otherwise what an earlier one has left
/// behind is undone.
fn start_router(
    place: &Place,
    seat: Seat,
    gateway_at: SocketAddr,
    policy: &watch::Receiver<Arc<Policy>>,
    counts: &Counts,
) -> Result<Option<Service>, Fault> {
    let dir = entry::dir(place)?;
    let settings = &place.settings;
    let Some(device) = settings.exit_router.clone().get() else {
        return router::undo(&dir).map(|()| None);
    };
    let runtime = service::runtime()?;
    let mut router = {
        let _inside = runtime.enter();
        let network = settings.exit_router_addresses.0;
        let counts = Arc::clone(&counts.router);
        Router::open(&dir, &device.0, network, policy.clone(), counts)?
    };
    let serve = async move |client| router.serve(client).await;
    let service = seat.start(runtime, gateway_at, say, serve)?;
    say(format_args!("IP packet router {}", service.address()));
    Ok(Some(service))
}

/// Where the network requester has its keys, below those of the node.
fn requester_seat(place: &Place, keys: &NodeKeys, network: &Settings) -> Seat {
    seat(place, keys, network, ("network requester", "requester"))
}

/// Where the IP packet router has its keys, below those of the node.
fn router_seat(place: &Place, keys: &NodeKeys, network: &Settings) -> Seat {
    seat(place, keys, network, ("IP packet router", "router"))
}

fn seat(
    place: &Place,
    keys: &NodeKeys,
    network: &Settings,
    (what, dir): (&'static str, &str),
) -> Seat {
    let (dir, gateway) = (place.keys_dir().join(dir), keys.identity.0);
    Seat { what, dir, gateway, network: network.clone() }
}

/// Where the network is learned from.
fn network(place: &Place) -> Option<Settings> {
    let directory = place.settings.directory.clone().get();
    let directory = directory.map(|directory| directory.url().to_string());
    let topology = place.settings.exit_topology.clone().get().map(|path| place.resolve(&path));
    let topology = topology.filter(|_| directory.is_none());
    let known = directory.is_some() || topology.is_some();
    known.then(|| Settings { directory, topology, ..Settings::default() })
}

/// The policy, which is kept up to date from now on.
async fn policy(place: &Place) -> Result<watch::Receiver<Arc<Policy>>, Fault> {
    let keeper = Keeper::of(place);
    let (current, policy) = watch::channel(Arc::new(keeper.load(say).await?));
    tokio::spawn(keeper.keep(current, say));
    Ok(policy)
}
