//! The exit: where packets of the mixnet become traffic of the internet, and what may.

pub mod policy;
pub mod requester;
pub mod resolve;
pub mod router;
mod start;

pub use start::{address, start};
