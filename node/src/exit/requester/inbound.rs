//! What a client has sent and the server has not taken yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phix_proto::requester::{Data, OrderError, Ordered};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::Ending;
use super::limits::{EARLY_BYTES, INBOUND};

/// Bytes that all connections hold together.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most })
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > self.most {
            self.give(bytes);
        }
        taken <= self.most
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What comes next for the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Bytes(Vec<u8>),
    /// The client has closed its side.
    End,
}

/// One direction of a connection, from the desk to the connection's task.
#[derive(Debug)]
pub(super) struct Inbound {
    state: Mutex<State>,
    news: Notify,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct State {
    ordered: Ordered,
    heard: Instant,
    broken: Option<Ending>,
    /// Whether the wish to connect has come; less is held before it.
    wanted: bool,
}

impl Inbound {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        let state = State {
            ordered: Ordered::new(INBOUND),
            heard: Instant::now(),
            broken: None,
            wanted: false,
        };
        Self { state: Mutex::new(state), news: Notify::new(), budget: Arc::clone(budget) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wish to connect has come.
    pub(super) fn want(&self) {
        self.state().wanted = true;
    }

    /// Takes a message; whether it was new. What cannot be taken breaks the connection, because
    /// nobody will send it again.
    pub(super) fn insert(&self, data: &Data<'_>) -> bool {
        let mut state = self.state();
        state.heard = Instant::now();
        let before = state.ordered.weight();
        let too_early = !state.wanted && before + data.bytes.len() > EARLY_BYTES;
        let result = if too_early {
            Err(OrderError::Full)
        } else {
            state.ordered.insert(data.sequence, data.bytes.to_vec(), data.closed)
        };
        let broken = match result {
            Ok(()) if self.budget.take(state.ordered.weight() - before) => None,
            // The budget was not charged for this message, and is not to get it back.
            Ok(()) => {
                self.budget.give(before);
                state.ordered = Ordered::new(0);
                Some(Ending::Overrun)
            }
            Err(OrderError::Repeated) => return false,
            Err(OrderError::Full) => Some(Ending::Overrun),
            Err(OrderError::AfterEnd | OrderError::TooFarAhead) => Some(Ending::Disordered),
        };
        state.broken = state.broken.or(broken);
        drop(state);
        self.news.notify_one();
        true
    }

    /// Ends the connection for a reason that its task does not see.
    pub(super) fn fail(&self, why: Ending) {
        let mut state = self.state();
        state.broken = state.broken.or(Some(why));
        drop(state);
        self.news.notify_one();
    }

    /// Waits for what comes next. To be called by one task only.
    pub(super) async fn next(&self) -> Result<Next, Ending> {
        loop {
            if let Some(next) = self.look() {
                return next;
            }
            self.news.notified().await;
        }
    }

    fn look(&self) -> Option<Result<Next, Ending>> {
        let mut state = self.state();
        if let Some(why) = state.broken {
            return Some(Err(why));
        }
        let before = state.ordered.weight();
        let Some(bytes) = state.ordered.take() else {
            return state.ordered.has_ended().then_some(Ok(Next::End));
        };
        self.budget.give(before - state.ordered.weight());
        Some(Ok(Next::Bytes(bytes)))
    }

    /// Why the connection cannot go on, as soon as it cannot. To be called instead of
    /// [`Inbound::next`], not beside it.
    pub(super) async fn broken(&self) -> Ending {
        loop {
            if let Some(why) = self.why_broken() {
                return why;
            }
            self.news.notified().await;
        }
    }

    /// Why the connection cannot go on, if it cannot.
    pub(super) fn why_broken(&self) -> Option<Ending> {
        self.state().broken
    }

    /// When the client was heard last.
    pub(super) fn heard(&self) -> Instant {
        self.state().heard
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let weight = self.state().ordered.weight();
        self.budget.give(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sequence: u64, bytes: &[u8], closed: bool) -> Data<'_> {
        Data { connection: 1, sequence, closed, bytes }
    }

    #[tokio::test]
    async fn bytes_come_in_order_and_the_budget_comes_back() {
        let budget = Budget::new(1 << 20);
        let inbound = Inbound::new(&budget);
        inbound.want();
        assert!(inbound.insert(&data(1, b"b", true)) && inbound.insert(&data(0, b"a", false)));
        assert!(!inbound.insert(&data(0, b"a", false)));
        assert!(budget.used.load(Ordering::Relaxed) > 2);
        assert_eq!(inbound.next().await, Ok(Next::Bytes(b"a".to_vec())));
        assert_eq!(inbound.next().await, Ok(Next::Bytes(b"b".to_vec())));
        assert_eq!(inbound.next().await, Ok(Next::End));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_nobody_takes_ends_the_connection_and_not_the_memory() {
        let budget = Budget::new(4 * INBOUND);
        let inbound = Inbound::new(&budget);
        inbound.want();
        let piece = vec![0; 1 << 16];
        for sequence in 0..64 {
            inbound.insert(&data(sequence, &piece, false));
            assert!(budget.used.load(Ordering::Relaxed) <= INBOUND);
        }
        assert_eq!(inbound.next().await, Err(Ending::Overrun));
        drop(inbound);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn all_connections_together_have_a_bound_too() {
        let budget = Budget::new(100_000);
        let (first, second) = (Inbound::new(&budget), Inbound::new(&budget));
        first.want();
        second.want();
        first.insert(&data(0, &[0; 90_000], false));
        second.insert(&data(0, &[0; 90_000], false));
        assert_eq!(second.next().await, Err(Ending::Overrun));
        assert!(matches!(first.next().await, Ok(Next::Bytes(_))));
        drop((first, second));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
