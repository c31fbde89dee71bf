//! From settings and keys to a running entry.

use std::path::PathBuf;
use std::sync::Arc;

use phix_io::Injector;

use super::arrivals::Arrivals;
use super::counts::Counts;
use super::inbox::Quotas;
use super::{Entry, Plan, accept, system_clock};
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;

/// Where the database of the entry at `place` is.
///
/// # Errors
/// If the settings leave no place for it.
pub fn dir(place: &Place) -> Result<PathBuf, Fault> {
    place.state_dir().ok_or_else(|| {
        Fault::refused(
            "an entry must remember its clients: set `state-dir` to a directory, or `entry` to \
             off.",
        )
    })
}

/// Starts the entry at `place`. Its packets go out by `injector`, what ends here comes from
/// `arrivals`, and it counts in `counts`. The clients `services` need no bandwidth.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    injector: Injector,
    arrivals: Arrivals,
    counts: Arc<Counts>,
    services: Vec<[u8; 32]>,
) -> Result<Entry, Fault> {
    let settings = &place.settings;
    let address = settings.entry.get().ok_or_else(|| {
        Fault::refused("clients must be told where to connect: set `entry` to an address and port.")
    })?;
    let plan = Plan {
        listener: accept::listen(address)?,
        identity: (*keys.signing).clone(),
        injector,
        dir: dir(place)?,
        connections_max: settings.entry_connections.size(),
        clients_max: settings.clients_max.get(),
        registrations_per_source: settings.registrations_per_source.get().map(|it| it.get() as u32),
        free_bandwidth: settings.free_bandwidth,
        services,
        private_hops: settings.private_first_hops,
        clock: system_clock(),
    };
    let mib = |count: u64| count << 20;
    let quotas =
        Quotas { client: mib(settings.inbox_client.get()), total: mib(settings.inbox_total.get()) };
    Entry::open(plan, counts, arrivals, quotas)
}
