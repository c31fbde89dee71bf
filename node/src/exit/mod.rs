//! The exit: where packets of the mixnet become traffic of the internet, and what may.

pub mod policy;
pub mod requester;
pub mod resolve;
pub mod router;
pub mod service;
mod start;

pub use start::{Addresses, Counts, Services, addresses, start};
