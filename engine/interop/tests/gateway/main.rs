//! What clients and gateways say to each other, against nym-gateway-requests, in both directions.

mod common;
mod messages;
mod packets;
mod registration;
