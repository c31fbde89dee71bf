//! The network requester: it connects to servers of the internet for clients of the mixnet.
//!
//! It is a [service](super::service) of its node, and what it is asked for and answers is the
//! protocol of stock SOCKS5 clients ([`phix_proto::requester`]).
//!
//! [`desk`] reads what comes, and owns the table of connections; [`connection`] is one of them, as
//! a task; [`inbound`] is what lies between the two, in order and bounded; [`answers`] is the way
//! back, and its windows; [`gate`] says what may be connected to, and [`door`] asks resolver and
//! policy for it.

mod answers;
mod connection;
pub mod counts;
mod desk;
pub mod door;
mod early;
pub mod gate;
mod inbound;
mod limits;

use std::net::SocketAddr;
use std::sync::Arc;

use super::service::{Seat, Service};
use crate::fault::Fault;
use counts::Counts;
use gate::Gate;

/// What a requester is made of.
#[derive(Debug)]
pub struct Plan {
    /// Where it stands.
    pub seat: Seat,
    /// Where its gateway takes clients.
    pub gateway_at: SocketAddr,
    /// What it connects to.
    pub gate: Arc<dyn Gate>,
    /// Where it counts.
    pub counts: Arc<Counts>,
    /// Says what goes wrong.
    pub say: fn(String),
}

impl Plan {
    /// Starts it on `runtime`.
    ///
    /// # Errors
    /// A sentence, if it has no keys or the system gives no threads.
    pub fn start(self, runtime: tokio::runtime::Runtime) -> Result<Service, Fault> {
        let Self { seat, gateway_at, gate, counts, say } = self;
        seat.start(runtime, gateway_at, say, async move |client| {
            desk::serve(client, Arc::clone(&gate), Arc::clone(&counts)).await;
        })
    }
}
