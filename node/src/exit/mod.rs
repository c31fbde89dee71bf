//! The exit: where packets of the mixnet become traffic of the internet.

pub mod requester;
