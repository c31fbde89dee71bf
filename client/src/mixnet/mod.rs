//! A client of a mixnet.
pub mod core;
pub mod dial;
pub mod directory;
pub mod settings;
pub mod store;
