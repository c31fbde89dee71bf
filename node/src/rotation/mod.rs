//! Which Sphinx keys a node serves: one for ever, or one for each rotation.
//!
//! `plan` decides, from the time and from what there is; `keyring` holds the keys on disk; `sizing`
//! says how many packets are remembered of each; `keeper` does what was decided.

mod keeper;
mod keyring;
mod plan;
mod sizing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use phix_client::topology::PublicKey;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Keys, NodeKey};
use phix_engine::wire::frame::KeyRotation;

use crate::cli::say;
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;
use crate::replay_store::Store;
use crate::settings::Settings;

pub use keeper::Keeper;
use keeper::Sizing;
pub use keyring::Keyring;
pub use plan::Schedule;
use sizing::RateFile;

/// What stands for a rotation that is not known, in topology files and in frames.
const UNKNOWN: u32 = u32::MAX;

/// What stands for a rotation where there is one key for ever.
const FIXED: u32 = 0;

/// The time since the Unix epoch.
pub fn now() -> Duration {
    // Before 1970 all clocks say the same.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// When the keys change, if they do.
///
/// # Errors
/// If the overlap does not fit into a rotation.
pub fn schedule(settings: &Settings) -> Result<Option<Schedule>, Fault> {
    let Some(length) = settings.rotation.get() else { return Ok(None) };
    let (length, overlap) = (length.get(), settings.rotation_overlap.get());
    if overlap * 3 > length {
        return Err(Fault::refused(
            "rotation-overlap is more than a third of rotation: lower it, or raise rotation.",
        ));
    }
    Ok(Some(Schedule { length, overlap }))
}

/// The keys to start a node with, and what keeps changing them, if they change.
///
/// # Errors
/// If a key cannot be made or read, or memory or disk are too small for what passes under it.
pub fn start(
    place: &Place,
    keys: &NodeKeys,
    store: &Arc<Store>,
) -> Result<(Keys, Option<Keeper>), Fault> {
    let Some(schedule) = schedule(&place.settings)? else {
        let capacity = remembered(place, now())? as usize;
        return Ok((fixed(store, keys, capacity)?, None));
    };
    let sizing = match place.settings.replay_capacity.get() {
        Some(count) => Sizing::Fixed(count.size()),
        None => {
            let file = RateFile::of(place.state_dir().as_deref());
            let (rates, trouble) = file.load(schedule);
            trouble.into_iter().for_each(say);
            Sizing::Measured(rates, file)
        }
    };
    let keyring = Keyring::new(place.keys_dir());
    let (keeper, keys) = Keeper::start(schedule, now(), keyring, Arc::clone(store), sizing, say)?;
    Ok((keys, Some(keeper)))
}

/// Packets that the filter of the key at `now` is made for by these settings, if it is made now
/// and holds nothing yet.
///
/// # Errors
/// If they leave it to the node, which cannot know it.
pub fn remembered(place: &Place, now: Duration) -> Result<u64, Fault> {
    let settings = &place.settings;
    match (settings.replay_capacity.get(), schedule(settings)?) {
        (Some(count), _) => Ok(count.get()),
        (None, None) => Err(Fault::refused(
            "replay-capacity is auto, and without rotation a key is used for ever and has no \
             number of packets: set --rotation, or --replay-capacity to a number.",
        )),
        (None, Some(schedule)) => {
            let (rates, _) = RateFile::of(place.state_dir().as_deref()).load(schedule);
            Ok(rates.capacity(schedule.number(now), now, 0) as u64)
        }
    }
}

/// The one key of a node whose keys do not rotate, with the memory of what passed under it.
fn fixed(store: &Store, keys: &NodeKeys, capacity: usize) -> Result<Keys, Fault> {
    let replay = Arc::new(store.filter(FIXED, &keys.secret, capacity)?);
    let secret = NodeSecret::clone(&keys.secret);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Ok(Keys { primary, secondary: None })
}

/// The rotation and the key that a node at `place` is to be announced with at `now`.
///
/// # Errors
/// If the key of the present rotation is not there.
pub fn announced(place: &Place, keys: &NodeKeys, now: Duration) -> Result<(u32, PublicKey), Fault> {
    let Some(schedule) = schedule(&place.settings)? else { return Ok((UNKNOWN, keys.sphinx)) };
    let (number, keyring) = (schedule.number(now), Keyring::new(place.keys_dir()));
    if !keyring.path(number).exists() {
        return Err(Fault::refused(format!(
            "{} holds no key of the present rotation, {number}: start the node, which makes it.",
            keyring.dir().display(),
        )));
    }
    Ok((number, PublicKey(keyring.secret(number)?.public())))
}

/// The rotations for which a new node needs a key: this one and the next.
///
/// # Errors
/// If the settings of rotation do not fit together.
pub fn first(settings: &Settings, now: Duration) -> Result<Vec<u32>, Fault> {
    let numbers = schedule(settings)?.map(|schedule| schedule.number(now));
    Ok(numbers.into_iter().flat_map(|number| [number, number + 1]).collect())
}
