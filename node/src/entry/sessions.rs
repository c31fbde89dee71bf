//! Who is connected: one session for each client at most, and the way to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::counts::Counts;
use super::delivery::{ClientId, Message};
use super::limits::{ALIVE, LEAVING, QUEUE, QUEUED_BYTES};

/// The sessions of an entry.
#[derive(Debug)]
pub struct Sessions {
    open: Mutex<HashMap<ClientId, Handle>>,
    numbers: AtomicU64,
    counts: Arc<Counts>,
}

/// The way to a session.
#[derive(Clone, Debug)]
struct Handle {
    number: u64,
    queue: mpsc::Sender<Box<Message>>,
    pings: mpsc::Sender<oneshot::Sender<()>>,
    signals: Arc<Signals>,
}

/// What a session is told without words.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// There is something in the inbox.
    pub(crate) look: Notify,
    /// The session has to end.
    pub(crate) end: Notify,
}

/// A session's own side. While it is there, the client has no other session.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) client: ClientId,
    /// Messages for the client.
    pub(crate) queue: mpsc::Receiver<Box<Message>>,
    /// Who wants to know whether the client is there.
    pub(crate) pings: mpsc::Receiver<oneshot::Sender<()>>,
    pub(crate) signals: Arc<Signals>,
    number: u64,
    sessions: Arc<Sessions>,
}

/// The client is connected already, and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

impl Sessions {
    pub(crate) fn new(counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), numbers: AtomicU64::new(0), counts })
    }

    /// Hands `message` to the connection of `client`.
    ///
    /// # Errors
    /// Gives it back if the client is not connected, or its connection is behind: then it belongs
    /// into the inbox.
    pub fn push(&self, client: &ClientId, message: Message) -> Result<(), Message> {
        let len = message.bytes.len() as u64;
        if self.counts.queued.get() + len > QUEUED_BYTES as u64 {
            return Err(message);
        }
        let open = self.lock();
        let Some(handle) = open.get(client) else { return Err(message) };
        self.counts.queued.add(len);
        handle.queue.try_send(Box::new(message)).map_err(|refused| {
            self.counts.queued.sub(len);
            *refused.into_inner()
        })
    }

    /// Has the session of `client`, if it has one, look into the inbox. To be called after
    /// something was put in there.
    pub fn look(&self, client: &ClientId) {
        if let Some(handle) = self.lock().get(client) {
            handle.signals.look.notify_one();
        }
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        self.lock().values().for_each(|handle| handle.signals.end.notify_one());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// A seat for `client`. One that it has already is asked whether the client is there, and has
    /// to go if it is not.
    pub(crate) async fn claim(self: &Arc<Self>, client: ClientId) -> Result<Seat, Duplicate> {
        // Whoever comes second while the old session goes finds a new one, and asks that.
        for _ in 0..3 {
            let old = match self.take(client) {
                Ok(seat) => return Ok(seat),
                Err(old) => old,
            };
            if old.is_there().await {
                return Err(Duplicate);
            }
            old.signals.end.notify_one();
            // It has given back by then what it had not delivered; one that does not go in time
            // loses its seat all the same.
            let _ = timeout(LEAVING, old.queue.closed()).await;
            self.remove(&client, old.number);
        }
        Err(Duplicate)
    }

    fn take(self: &Arc<Self>, client: ClientId) -> Result<Seat, Handle> {
        let mut open = self.lock();
        let place = match open.entry(client) {
            Place::Occupied(old) => return Err(old.get().clone()),
            Place::Vacant(place) => place,
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (queue, received) = mpsc::channel(QUEUE);
        let (pings, asked) = mpsc::channel(1);
        let signals = Arc::new(Signals::default());
        place.insert(Handle { number, queue, pings, signals: Arc::clone(&signals) });
        self.counts.sessions.add(1);
        let sessions = Arc::clone(self);
        Ok(Seat { client, queue: received, pings: asked, signals, number, sessions })
    }

    fn remove(&self, client: &ClientId, number: u64) {
        let mut open = self.lock();
        if open.get(client).is_some_and(|handle| handle.number == number) {
            open.remove(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    async fn is_there(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        // If somebody else is asking, one of the two has to try again.
        let Ok(()) = self.pings.try_send(answer) else { return !self.pings.is_closed() };
        matches!(timeout(ALIVE, answered).await, Ok(Ok(())))
    }
}

impl Seat {
    /// Takes note that a message that came by the queue waits no longer.
    pub(crate) fn waits_no_longer(&self, message: &Message) {
        self.sessions.counts.queued.sub(message.bytes.len() as u64);
    }

    /// Takes nothing more; what waits still.
    pub(crate) fn close(&mut self) -> Vec<Message> {
        self.sessions.remove(&self.client, self.number);
        self.queue.close();
        let mut left = Vec::new();
        while let Ok(message) = self.queue.try_recv() {
            self.waits_no_longer(&message);
            left.push(*message);
        }
        left
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What was not given back has not been acknowledged either: its senders send it again.
        drop(self.close());
        self.sessions.counts.sessions.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = [7; 32];

    fn message(len: usize) -> Message {
        Message { bytes: vec![0; len].into(), acknowledgement: None }
    }

    fn sessions() -> (Arc<Sessions>, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Sessions::new(Arc::clone(&counts)), counts)
    }

    #[tokio::test]
    async fn a_slow_client_fills_its_own_queue_and_nobody_elses() {
        let (sessions, counts) = sessions();
        assert_eq!(sessions.push(&CLIENT, message(1)), Err(message(1)), "it is not connected");
        let (mut slow, other) =
            (sessions.claim(CLIENT).await.unwrap(), sessions.claim([8; 32]).await.unwrap());
        for _ in 0..QUEUE {
            sessions.push(&CLIENT, message(10)).unwrap();
        }
        assert_eq!(sessions.push(&CLIENT, message(10)), Err(message(10)));
        assert_eq!(counts.queued.get(), 10 * QUEUE as u64);
        sessions.push(&[8; 32], message(5)).unwrap();
        assert_eq!(slow.close().len(), QUEUE);
        assert_eq!(counts.queued.get(), 5);
        let mut other = other;
        assert_eq!(other.close(), [message(5)]);
        drop((slow, other));
        assert_eq!((counts.queued.get(), counts.sessions.get(), sessions.count()), (0, 0, 0));
    }

    #[tokio::test]
    async fn all_queues_together_have_a_bound() {
        let (sessions, counts) = sessions();
        let mut seat = sessions.claim(CLIENT).await.unwrap();
        counts.queued.add(QUEUED_BYTES as u64 - 10);
        sessions.push(&CLIENT, message(10)).unwrap();
        assert_eq!(sessions.push(&CLIENT, message(1)), Err(message(1)));
        assert_eq!(seat.close().len(), 1);
    }

    #[tokio::test]
    async fn the_old_session_stays_if_its_client_is_there() {
        let (sessions, _) = sessions();
        let mut old = sessions.claim(CLIENT).await.unwrap();
        let answers = async {
            old.pings.recv().await.unwrap().send(()).unwrap();
        };
        let (new, ()) = tokio::join!(sessions.claim(CLIENT), answers);
        assert_eq!(new.err(), Some(Duplicate));
    }

    #[tokio::test]
    async fn the_old_session_goes_if_its_client_does_not_answer() {
        let (sessions, _) = sessions();
        let mut old = sessions.claim(CLIENT).await.unwrap();
        sessions.push(&CLIENT, message(3)).unwrap();
        let goes = async {
            old.signals.end.notified().await;
            old.close()
        };
        let (new, left) = tokio::join!(sessions.claim(CLIENT), goes);
        assert_eq!(left, [message(3)]);
        let mut new = new.unwrap();
        drop(old);
        sessions.push(&CLIENT, message(4)).unwrap();
        assert_eq!(new.close(), [message(4)], "the old one took nothing of the new one with it");
    }
}
