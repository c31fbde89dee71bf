//! Where a directory answers what, below its base URL.

/// [`KeyRotationInfo`](super::epoch::KeyRotationInfo).
pub const KEY_ROTATION_INFO: &str = "/v1/epoch/key-rotation-info";
/// [`RewardedSet`](super::epoch::RewardedSet).
pub const REWARDED_SET: &str = "/v1/nym-nodes/rewarded-set";
/// [`Nodes`](super::nodes::Nodes) of all nodes, without Noise keys.
pub const SKIMMED: &str = "/v2/unstable/nym-nodes/skimmed";
/// The same of those that mix in this epoch.
pub const SKIMMED_MIXNODES_ACTIVE: &str = "/v2/unstable/nym-nodes/skimmed/mixnodes/active";
/// The same of those that can mix.
pub const SKIMMED_MIXNODES_ALL: &str = "/v2/unstable/nym-nodes/skimmed/mixnodes/all";
/// The same of those that clients can connect to.
pub const SKIMMED_ENTRY_GATEWAYS: &str = "/v2/unstable/nym-nodes/skimmed/entry-gateways";
/// The same of those that traffic can leave through.
pub const SKIMMED_EXIT_GATEWAYS: &str = "/v2/unstable/nym-nodes/skimmed/exit-gateways";
/// [`Nodes`](super::nodes::Nodes) of all nodes, with Noise keys.
pub const SEMI_SKIMMED: &str = "/v2/unstable/nym-nodes/semi-skimmed";
/// The same in the form that has room for LP.
pub const SEMI_SKIMMED_V3: &str = "/v3/unstable/nym-nodes/semi-skimmed";
/// What nodes say of themselves, such as the services behind them.
pub const DESCRIBED: &str = "/v1/nym-nodes/described";
/// POST [`ByAddresses`](super::nodes::ByAddresses).
pub const BY_ADDRESSES: &str = "/v1/unstable/nym-nodes/by-addresses";
/// POST [`RefreshRequest`](super::refresh::RefreshRequest).
pub const REFRESH_DESCRIBED: &str = "/v1/nym-nodes/refresh-described";
/// POST [`SignedDescription`](super::registration::SignedDescription); Phix only.
pub const REGISTER: &str = "/phix/v1/nodes";
