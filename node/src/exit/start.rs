//! From settings and keys to running services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use phix_client::mixnet::{Recipient, Settings};
use tokio::sync::watch;

use super::policy::Keeper;
use super::requester::counts::Counts;
use super::requester::door::Door;
use super::requester::gate::Gate;
use super::requester::{self, Plan, Requester};
use super::resolve::Resolver;
use crate::cli::say;
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;

/// Where the network requester has its keys, below those of the node.
const DIR: &str = "requester";

/// The address at which the network requester of the node at `place` is reached; nothing if it has
/// no way to learn the network. Makes its keys if there are none.
///
/// # Errors
/// A sentence, if its keys cannot be used.
pub fn address(place: &Place, keys: &NodeKeys) -> Result<Option<Recipient>, Fault> {
    let Some(network) = network(place) else { return Ok(None) };
    let dir = place.keys_dir().join(DIR);
    requester::address(&dir, keys.identity.0, &network).map(Some)
}

/// Starts the network requester of the node at `place`, whose entry takes clients at `clients`.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    clients: SocketAddr,
    counts: Arc<Counts>,
) -> Result<Requester, Fault> {
    let network = network(place).ok_or_else(|| {
        Fault::refused(
            "the services of an exit must know the network: set `directory` or `exit-topology`.",
        )
    })?;
    let runtime = requester::runtime()?;
    let gate = runtime.block_on(gate(place))?;
    let plan = Plan {
        dir: place.keys_dir().join(DIR),
        gateway: keys.identity.0,
        gateway_at: reachable(clients),
        network,
        gate,
        counts,
        say: |what| say(what),
    };
    plan.start(runtime)
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

/// Resolver and policy, which is kept up to date from now on.
async fn gate(place: &Place) -> Result<Arc<dyn Gate>, Fault> {
    let keeper = Keeper::of(place);
    let policy = keeper.load(say).await?;
    let resolver = Resolver::new(place.settings.exit_nameservers.clone().get().as_ref())?;
    let (current, policy) = watch::channel(Arc::new(policy));
    tokio::spawn(keeper.keep(current, say));
    Ok(Arc::new(Door::new(policy, resolver, place.settings.exit_policy.clone())))
}

/// Where this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_reached_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(at("[::]:9000"), "[::1]:9000");
        assert_eq!(at("192.0.2.1:9000"), "192.0.2.1:9000");
    }
}
