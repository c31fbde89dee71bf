//! What packets are routed by: the answers of a directory, joined.

use std::collections::BTreeMap;
use std::fmt;

use super::NodeId;
use super::epoch::RewardedSet;
use super::nodes::{Metadata, Nodes, Skimmed};

/// A network in one epoch. Every node of the set that matters to a route is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    metadata: Metadata,
    rewarded_set: RewardedSet,
    nodes: BTreeMap<NodeId, Skimmed>,
}

/// Why answers do not make a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// They are of different epochs: ask again.
    Epochs(u32, u32),
    /// Their keys are of different rotations: ask again.
    Rotations(u32, u32),
    /// There is no list of nodes at all.
    Nothing,
    /// More pages were announced than came.
    Incomplete {
        /// Nodes that there are.
        announced: u64,
        /// Nodes that came.
        came: u64,
    },
}

impl Disagreement {
    /// Whether the epoch changed between two answers, so that asking again helps.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Epochs(..) | Self::Rotations(..) | Self::Incomplete { .. })
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(one, other) => {
                write!(f, "the directory's answers are of epochs {one} and {other}; ask again")
            }
            Self::Rotations(one, other) => {
                write!(f, "the directory's answers are of rotations {one} and {other}; ask again")
            }
            Self::Nothing => f.write_str("the directory gave no list of nodes"),
            Self::Incomplete { announced, came } => {
                write!(f, "the directory announced {announced} nodes and named {came}; ask again")
            }
        }
    }
}

impl std::error::Error for Disagreement {}

impl Network {
    /// Joins the set with the pages of any lists of nodes: all nodes, or those that mix and those
    /// that clients enter through.
    ///
    /// # Errors
    /// If they are not of the same epoch and rotation.
    pub fn join(
        rewarded_set: RewardedSet,
        pages: impl IntoIterator<Item = Nodes<Skimmed>>,
    ) -> Result<Self, Disagreement> {
        let mut nodes = BTreeMap::new();
        let mut metadata: Option<Metadata> = None;
        for page in pages {
            let first = *metadata.get_or_insert(page.metadata);
            if !first.agrees(&page.metadata) {
                return Err(between(&first, &page.metadata));
            }
            nodes.extend(page.nodes.data.into_iter().map(|node| (node.node_id, node)));
        }
        let metadata = metadata.ok_or(Disagreement::Nothing)?;
        if metadata.absolute_epoch_id != rewarded_set.epoch_id {
            return Err(Disagreement::Epochs(metadata.absolute_epoch_id, rewarded_set.epoch_id));
        }
        Ok(Self { metadata, rewarded_set, nodes })
    }

    /// What it is true for.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Who does what.
    pub const fn rewarded_set(&self) -> &RewardedSet {
        &self.rewarded_set
    }

    /// The nodes by number.
    pub const fn nodes(&self) -> &BTreeMap<NodeId, Skimmed> {
        &self.nodes
    }

    /// Its parts.
    pub fn into_parts(self) -> (Metadata, RewardedSet, BTreeMap<NodeId, Skimmed>) {
        (self.metadata, self.rewarded_set, self.nodes)
    }
}

/// How two lists disagree that do.
pub fn between(one: &Metadata, other: &Metadata) -> Disagreement {
    if one.absolute_epoch_id == other.absolute_epoch_id {
        Disagreement::Rotations(one.rotation_id, other.rotation_id)
    } else {
        Disagreement::Epochs(one.absolute_epoch_id, other.absolute_epoch_id)
    }
}

/// Joins the pages of one list, which `all` gives in order.
///
/// # Errors
/// If they are not of the same epoch and rotation, or not all there.
pub fn whole<T>(all: impl IntoIterator<Item = Nodes<T>>) -> Result<Nodes<T>, Disagreement> {
    let mut pages = all.into_iter();
    let mut list = pages.next().ok_or(Disagreement::Nothing)?;
    for page in pages {
        if !list.metadata.agrees(&page.metadata) {
            return Err(between(&list.metadata, &page.metadata));
        }
        list.nodes.data.extend(page.nodes.data);
    }
    let (announced, came) = (list.nodes.pagination.total, list.nodes.data.len() as u64);
    if announced != came {
        return Err(Disagreement::Incomplete { announced, came });
    }
    list.nodes.pagination.size = came;
    Ok(list)
}
