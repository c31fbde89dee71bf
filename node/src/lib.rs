//! The Phix node: commands, settings, keys and reports around the engine.
//!
//! No packet passes through this crate. It reads what the operator wants, builds what phix-io needs
//! for it, waits, and says what happened.

pub mod announce;
pub mod check;
pub mod cli;
pub mod demo;
pub mod directory;
pub mod entry;
pub mod exit;
pub mod fault;
pub mod faults;
pub mod init;
pub mod keys;
pub mod localnet;
pub mod machine;
pub mod metrics;
pub mod mix_demo;
mod next_hops;
pub mod noise;
mod notify;
pub mod place;
mod reach;
pub mod replay_store;
pub mod report;
pub mod roles;
pub mod rotation;
pub mod run;
pub mod server;
pub mod settings;
mod sources;
pub mod top;
pub mod topology;
pub mod upgrade;
