//! What a directory answers, and what nodes tell it.
//!
//! The answers are those of nym-api, in the form that nym-api-requests 2.0.0 gives them (1.21.6 has
//! the same): [`epoch`] says which epoch and rotation of keys it is and who does what, [`nodes`]
//! lists the nodes, and [`network`] joins both to what packets are routed by. Answers are JSON, or
//! what [`bincode`] writes for those who ask for it. [`registration`] is our own: stock directories
//! learn of nodes from a chain.

pub mod bincode;
pub mod described;
pub mod epoch;
pub mod instant;
pub mod key;
pub mod network;
pub mod nodes;
pub mod paths;
pub mod performance;
pub mod refresh;
pub mod registration;

pub use key::PublicKey;
pub use performance::Performance;

/// The number under which a directory knows a node.
pub type NodeId = u32;
