//! Which Sphinx keys a node serves.

use std::sync::Arc;

use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Keys, NodeKey};
use phix_engine::wire::frame::KeyRotation;

use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::replay_store::Store;

/// The one key of a node whose keys do not rotate, with the memory of what passed under it.
///
/// # Errors
/// If that memory cannot be had.
pub fn fixed(store: &Store, keys: &NodeKeys, capacity: usize) -> Result<Keys, Fault> {
    let replay = Arc::new(store.filter(0, &keys.secret, capacity)?);
    let secret = NodeSecret::clone(&keys.secret);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    Ok(Keys { primary, secondary: None })
}
