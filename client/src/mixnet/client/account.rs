//! What the gateway says of the bandwidth that is left.

use std::time::Duration;

use phix_proto::gateway::{ClientRequest, ServerResponse, TypedError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::Status;

/// Bytes below which more is asked for: a fifth of a ticket, as stock clients do.
const LOW: i64 = 40_000_000;

/// How long to wait before bandwidth is asked for again that was refused.
const CLAIM_AGAIN: Duration = Duration::from_secs(60);

/// How long a refusal is what a client has to tell. Others of its packets may have been taken
/// since, and most of what it sends is cover.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What the gateway says of bandwidth, and of packets that it does not take.
pub(super) struct Account {
    left: Option<i64>,
    claimed: Option<Instant>,
    /// Whether the last packet was refused for want of it.
    is_spent: bool,
    /// When it last refused something for another reason, and its words.
    refused: Option<(Instant, String)>,
}

impl Account {
    pub(super) const fn new(left: Option<i64>) -> Self {
        Self { left, claimed: None, is_spent: false, refused: None }
    }

    pub(super) fn note(&mut self, response: &ServerResponse, now: Instant) {
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
            ServerResponse::Error { message } => self.refused = Some((now, message.clone())),
            ServerResponse::TypedError { error } => self.refused = Some((now, error.to_string())),
            _ => {}
        }
    }

    /// How a client with this account fares.
    pub(super) fn status(&self, now: Instant) -> Status {
        match &self.refused {
            _ if self.is_spent => Status::OutOfBandwidth,
            Some((at, why)) if now - *at < REFUSED_FOR => Status::Refused(why.clone()),
            _ => Status::Connected,
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

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: ServerResponse =
        ServerResponse::Send { remaining_bandwidth: 1 << 30, upgrade_mode: false };

    #[test]
    fn a_refusal_is_told_for_a_while_and_want_of_bandwidth_until_there_is_some() {
        let (mut account, now) = (Account::new(Some(1 << 30)), Instant::now());
        account.note(&TAKEN, now);
        assert_eq!(account.status(now), Status::Connected);
        account.note(&ServerResponse::error("not there"), now);
        account.note(&TAKEN, now);
        assert_eq!(account.status(now), Status::Refused("not there".into()));
        assert_eq!(account.status(now + REFUSED_FOR), Status::Connected);
        let error = TypedError::OutOfBandwidth { required: 2413, available: 0 };
        account.note(&ServerResponse::TypedError { error }, now);
        account.note(&ServerResponse::error("no free bandwidth"), now);
        assert_eq!(account.status(now), Status::OutOfBandwidth);
        account.note(&ServerResponse::Bandwidth { available_total: 5, upgrade_mode: false }, now);
        assert!(!matches!(account.status(now), Status::OutOfBandwidth));
    }
}
