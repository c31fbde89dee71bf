//! Servers of the internet, reached by clients of a mixnet through three mixes and a gateway, each
//! a process of its own, and a network requester in this one, so that what it counts and has open
//! can be looked at.

mod app;
mod connections;
mod hostile;
mod namespace;
#[path = "../messages/network.rs"]
mod network;
mod process;
mod router;
mod scene;
mod socks5;

use std::time::Duration;

/// More than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}
