//! From settings and keys to a running entry.

use std::path::PathBuf;

use phix_io::Injector;

use super::arrivals::Arrivals;
use super::inbox::Quotas;
use super::{Entry, Plan, accept};
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

/// Starts the entry at `place`, if there is to be one. Its packets go out by `injector`, and what
/// ends at this node comes by `arrivals`.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    injector: Injector,
    arrivals: Option<Arrivals>,
) -> Result<Option<Entry>, Fault> {
    let settings = &place.settings;
    let (Some(address), Some(arrivals)) = (settings.entry.get(), arrivals) else {
        return Ok(None);
    };
    let plan = Plan {
        listener: accept::listen(address)?,
        identity: (*keys.signing).clone(),
        injector,
        dir: dir(place)?,
        connections_max: settings.entry_connections.size(),
        free_bandwidth: settings.free_bandwidth,
        private_hops: settings.private_first_hops,
    };
    let quotas = Quotas {
        client: settings.inbox_client.get() << 20,
        total: settings.inbox_total.get() << 20,
    };
    Entry::open(plan, arrivals, quotas).map(Some)
}
