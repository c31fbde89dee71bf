//! The seam for zk-nym tickets: what takes one and says how much bandwidth it is worth.

use futures_util::future::BoxFuture;
use phix_proto::gateway::ServerResponse;

use super::account::Credit;
use super::delivery::ClientId;

/// Takes tickets that clients spend.
pub trait Tickets: Send + Sync + 'static {
    /// Takes the bytes of a ticket, as the client sealed them: the bandwidth that it is worth, or
    /// what to answer the client instead.
    fn spend(
        &self,
        client: ClientId,
        ticket: Vec<u8>,
    ) -> BoxFuture<'_, Result<Credit, ServerResponse>>;
}

/// What an entry has that takes no tickets.
#[derive(Clone, Copy, Debug)]
pub struct NoTickets;

impl Tickets for NoTickets {
    fn spend(&self, _: ClientId, _: Vec<u8>) -> BoxFuture<'_, Result<Credit, ServerResponse>> {
        let refused = ServerResponse::error(
            "this gateway takes no zk-nym tickets; it gives test bandwidth or none",
        );
        Box::pin(std::future::ready(Err(refused)))
    }
}
