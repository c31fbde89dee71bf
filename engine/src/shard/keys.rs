//! The keys of a node and the replay memory that belongs to each.

use alloc::sync::Arc;

use crate::replay::ReplayFilter;
use crate::secret::NodeSecret;
use crate::wire::frame::KeyRotation;

/// One key, and the tags of the packets that were opened with it. The filter is shared by all
/// shards of a node: a packet that comes back on another core is a replay all the same.
#[derive(Clone, Debug)]
pub struct NodeKey {
    /// The rotation that the key serves. A key of unknown rotation serves every packet, as in a
    /// network whose keys never change.
    pub rotation: KeyRotation,
    /// The private key.
    pub secret: NodeSecret,
    /// Tags seen under this key.
    pub replay: Arc<ReplayFilter>,
}

/// The keys that a node serves at one time: one, or two while a rotation changes.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key of the present rotation.
    pub primary: NodeKey,
    /// The key of the rotation before or after, while they overlap.
    pub secondary: Option<NodeKey>,
}

impl Keys {
    /// The keys to try, in order, for a packet that says it was built for `rotation`; nothing if
    /// no key serves that rotation.
    pub(super) fn candidates(&self, rotation: KeyRotation) -> Option<Candidates<'_>> {
        let serves =
            |key: &&NodeKey| key.rotation == rotation || key.rotation == KeyRotation::Unknown;
        if rotation == KeyRotation::Unknown {
            return Some(Candidates { first: &self.primary, second: self.secondary.as_ref() });
        }
        let mut keys = [Some(&self.primary), self.secondary.as_ref()].into_iter().flatten();
        keys.find(serves).map(|first| Candidates { first, second: None })
    }
}

/// One or two keys under which a packet may open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidates<'a> {
    pub(super) first: &'a NodeKey,
    pub(super) second: Option<&'a NodeKey>,
}
