//! The Phix node: commands, settings, keys and reports around the engine.
//!
//! No packet passes through this crate. It reads what the operator wants, builds what phix-io needs
//! for it, waits, and says what happened.

pub mod fault;
pub mod settings;
