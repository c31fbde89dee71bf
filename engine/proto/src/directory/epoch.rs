//! Which epoch it is, which keys belong to it, and who does what in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::NodeId;

/// How long the keys of nodes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotationState {
    /// Epochs in a rotation.
    pub validity_epochs: u32,
    /// The epoch with which rotation 0 began.
    pub initial_epoch_id: u32,
}

impl KeyRotationState {
    /// The rotation in `epoch`.
    pub fn rotation(&self, epoch: u32) -> u32 {
        // A directory that says 0 has one rotation for ever.
        epoch.saturating_sub(self.initial_epoch_id).checked_div(self.validity_epochs).unwrap_or(0)
    }

    /// The epoch with which `rotation` begins.
    pub const fn begins(&self, rotation: u32) -> u32 {
        self.initial_epoch_id.saturating_add(self.validity_epochs.saturating_mul(rotation))
    }
}

/// Where in the course of epochs and rotations the network is. There is no bincode form: stock
/// readers flatten it, which bincode has no way to write or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotationInfo {
    /// How long keys last.
    pub key_rotation_state: KeyRotationState,
    /// The present epoch.
    pub current_absolute_epoch_id: u32,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub current_epoch_start: OffsetDateTime,
    /// How long each epoch lasts.
    pub epoch_duration: Duration,
    /// What follows from the rest.
    pub progress: Progress,
}

/// The present rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its number.
    pub current_key_rotation_id: u32,
    /// Its first epoch.
    pub current_rotation_starting_epoch: u32,
    /// Its last epoch.
    pub current_rotation_ending_epoch: u32,
}

impl KeyRotationInfo {
    /// The answer for an epoch that began at `start` and lasts for `duration`.
    pub fn new(
        state: KeyRotationState,
        epoch: u32,
        start: OffsetDateTime,
        duration: Duration,
    ) -> Self {
        let rotation = state.rotation(epoch);
        let first = state.begins(rotation);
        Self {
            key_rotation_state: state,
            current_absolute_epoch_id: epoch,
            current_epoch_start: start,
            epoch_duration: duration,
            progress: Progress {
                current_key_rotation_id: rotation,
                current_rotation_starting_epoch: first,
                current_rotation_ending_epoch: first
                    .saturating_add(state.validity_epochs.saturating_sub(1)),
            },
        }
    }

    /// How long a rotation lasts.
    pub fn rotation_length(&self) -> Duration {
        self.epoch_duration.saturating_mul(self.key_rotation_state.validity_epochs)
    }
}

/// Which nodes do what in an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardedSet {
    /// The epoch of this assignment.
    #[serde(default)]
    pub epoch_id: u32,
    /// Nodes through which clients enter.
    pub entry_gateways: Vec<NodeId>,
    /// Nodes through which traffic leaves.
    pub exit_gateways: Vec<NodeId>,
    /// First hops.
    pub layer1: Vec<NodeId>,
    /// Second hops.
    pub layer2: Vec<NodeId>,
    /// Third hops.
    pub layer3: Vec<NodeId>,
    /// Nodes that stand by.
    pub standby: Vec<NodeId>,
}

impl RewardedSet {
    /// The mix layers, first hop first.
    pub const fn layers(&self) -> [&Vec<NodeId>; 3] {
        [&self.layer1, &self.layer2, &self.layer3]
    }

    /// All nodes that it names, with what they do.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, super::nodes::Role)> {
        use super::nodes::Role;
        let all = |nodes: &'_ Vec<NodeId>, role: Role| -> Vec<(NodeId, Role)> {
            nodes.iter().map(|&node| (node, role)).collect()
        };
        let layers = self.layers().into_iter().zip(1..);
        let mixes = layers.flat_map(move |(nodes, layer)| all(nodes, Role::Mixnode { layer }));
        all(&self.entry_gateways, Role::EntryGateway)
            .into_iter()
            .chain(all(&self.exit_gateways, Role::ExitGateway))
            .chain(mixes)
            .chain(all(&self.standby, Role::Standby))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_count_from_the_first_epoch() {
        let state = KeyRotationState { validity_epochs: 24, initial_epoch_id: 100 };
        for (epoch, rotation) in [(0, 0), (100, 0), (123, 0), (124, 1), (148, 2)] {
            assert_eq!(state.rotation(epoch), rotation, "epoch {epoch}");
        }
        let info =
            KeyRotationInfo::new(state, 130, OffsetDateTime::UNIX_EPOCH, Duration::from_secs(3600));
        assert_eq!(info.progress.current_key_rotation_id, 1);
        assert_eq!(info.progress.current_rotation_starting_epoch, 124);
        assert_eq!(info.progress.current_rotation_ending_epoch, 147);
        assert_eq!(info.rotation_length(), Duration::from_secs(86_400));
        let absurd = KeyRotationState { validity_epochs: 0, initial_epoch_id: u32::MAX };
        assert_eq!((absurd.rotation(5), absurd.begins(7)), (0, u32::MAX));
    }
}
