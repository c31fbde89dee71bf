//! What the gateway says of the bandwidth that is left.

use std::time::Duration;

use phix_proto::gateway::{ClientRequest, ServerResponse, TypedError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// Bytes below which more is asked for: a fifth of a ticket, as stock clients do.
const LOW: i64 = 40_000_000;

/// How long to wait before bandwidth is asked for again that was refused.
const CLAIM_AGAIN: Duration = Duration::from_secs(60);

/// What the gateway says of bandwidth.
pub(super) struct Account {
    left: Option<i64>,
    claimed: Option<Instant>,
    /// Whether the last packet was refused for want of it.
    pub(super) is_spent: bool,
}

impl Account {
    pub(super) const fn new(left: Option<i64>) -> Self {
        Self { left, claimed: None, is_spent: false }
    }

    pub(super) fn note(&mut self, response: &ServerResponse) {
        match response {
            ServerResponse::Send { remaining_bandwidth, .. } => {
                self.left = Some(*remaining_bandwidth);
                self.is_spent = false;
            }
            ServerResponse::Bandwidth { available_total, .. } => {
                self.left = Some(*available_total);
                self.claimed = None;
                self.is_spent = false;
            }
            ServerResponse::TypedError { error: TypedError::OutOfBandwidth { available, .. } } => {
                self.left = Some(*available);
                self.is_spent = true;
            }
            _ => {}
        }
    }

    /// Asks for more, where the gateway gives it for nothing.
    pub(super) fn claim_if_low(&mut self, unsent: &mpsc::Sender<Message>) {
        let low = self.left.is_none_or(|left| left < LOW);
        let asked = self.claimed.is_some_and(|claimed| claimed.elapsed() < CLAIM_AGAIN);
        if low && !asked {
            let claim = Message::text(ClientRequest::ClaimFreeTestnetBandwidth.to_text());
            // If the queue is full, the next answer of the gateway brings the next attempt.
            if unsent.try_send(claim).is_ok() {
                self.claimed = Some(Instant::now());
            }
        }
    }
}
