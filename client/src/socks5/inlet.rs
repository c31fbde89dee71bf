//! What an exit has sent for one connection and the application has not got yet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use phix_proto::requester::{Data, OrderError, Ordered};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::window::{MOST, Window};

/// Bytes that are held for a connection, at most: several windows, so that only an exit that pays
/// no heed to them meets this bound.
const HELD_MAX: usize = 4 * MOST as usize * 1604;

/// How much later than the end of a connection its reason may come.
const REASON: Duration = Duration::from_secs(10);

/// Why a connection has ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The exit says so, for this reason.
    Exit(String),
    /// The exit sent what makes no sense, or more than it may.
    Disorder(OrderError),
    /// Nothing is heard of the exit any more.
    Silence,
}

impl Failure {
    /// Its name where connections that were open are counted.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Exit(_) => "broken off: by the exit",
            Self::Disorder(_) => "broken off: answers out of bounds",
            Self::Silence => "broken off: the exit or the way to it is gone",
        }
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Bytes for the application.
    Bytes(Vec<u8>),
    /// The remote side sends nothing more.
    End,
    /// The connection has failed.
    Failed(Failure),
}

/// The way in of one connection: filled by whoever receives for all, emptied by the connection's
/// own task.
#[derive(Debug)]
pub(super) struct Inlet {
    state: Mutex<State>,
    /// Something to take has come.
    came: Notify,
    /// The window may have changed.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    ordered: Ordered,
    window: Window,
    failure: Option<Failure>,
    word: Word,
    /// When the exit last said something, or could not because it was to wait.
    lively: Instant,
    received: u64,
}

/// What the exit has said about the wish to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    None,
    /// It says at once that it is over. Why comes apart, and may come later.
    Refused,
    Connected,
}

impl Inlet {
    pub(super) fn new() -> Self {
        let state = State {
            ordered: Ordered::new(HELD_MAX),
            window: Window::new(),
            failure: None,
            word: Word::None,
            lively: Instant::now(),
            received: 0,
        };
        Self { state: Mutex::new(state), came: Notify::new(), moved: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave half of a change behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a message of the exit.
    pub(super) fn insert(&self, data: &Data<'_>) {
        let mut state = self.state();
        match state.ordered.insert(data.sequence, data.bytes.to_vec(), data.closed) {
            Ok(()) => {
                state.lively = Instant::now();
                state.word = match state.word {
                    Word::None if data.closed && data.sequence == 0 && data.bytes.is_empty() => {
                        Word::Refused
                    }
                    _ => Word::Connected,
                };
                state.received += data.bytes.len() as u64;
                state.window.arrived(data.bytes.len());
            }
            Err(OrderError::Repeated) => {}
            Err(error) => state.fail(Failure::Disorder(error)),
        }
        drop(state);
        self.came.notify_one();
        self.moved.notify_one();
    }

    /// The connection has failed; what came before is still handed over.
    pub(super) fn fail(&self, failure: Failure) {
        self.state().fail(failure);
        self.came.notify_one();
    }

    /// Waits until the exit has said whether it has connected.
    pub(super) async fn verdict(&self) -> Result<(), Failure> {
        loop {
            let came = self.came.notified();
            let (word, failure) = {
                let state = self.state();
                (state.word, state.failure.clone())
            };
            match (word, failure) {
                (Word::Connected, _) => {
                    // Whoever takes what came waits for the same sign.
                    self.came.notify_one();
                    return Ok(());
                }
                (_, Some(failure)) => return Err(failure),
                (Word::Refused, None) => {
                    // Without a reason in time there is none.
                    if timeout(REASON, came).await.is_err() {
                        return Err(Failure::Exit(String::new()));
                    }
                }
                (Word::None, None) => came.await,
            }
        }
    }

    /// Whether the exit, which has SURBs to say something, has said nothing for so long.
    pub(super) fn is_quiet(&self, long: Duration) -> bool {
        let mut state = self.state();
        if state.window.is_shut() {
            state.lively = Instant::now();
        }
        state.lively.elapsed() >= long
    }

    /// Waits for the next bytes. To be followed by [`Inlet::read`].
    pub(super) async fn next(&self) -> Next {
        loop {
            let came = self.came.notified();
            if let Some(next) = self.state().next() {
                return next;
            }
            came.await;
        }
    }

    /// The application has got so many bytes.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        state.window.read(bytes);
        // While an application reads nothing, nothing is to be heard.
        state.lively = Instant::now();
        drop(state);
        self.moved.notify_one();
    }

    /// Waits until the exit should hold another number of SURBs, of which it can have `share()` at
    /// most.
    pub(super) async fn window(&self, share: impl Fn() -> u32) -> u32 {
        loop {
            let moved = self.moved.notified();
            {
                let mut state = self.state();
                let has_gap = state.ordered.gap().is_some();
                if let Some(wanted) = state.window.news(share(), has_gap) {
                    return wanted;
                }
            }
            moved.await;
        }
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.state().received
    }
}

impl State {
    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn next(&mut self) -> Option<Next> {
        while let Some(bytes) = self.ordered.take() {
            if !bytes.is_empty() {
                return Some(Next::Bytes(bytes));
            }
        }
        if self.ordered.has_ended() {
            return Some(Next::End);
        }
        self.failure.clone().map(Next::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn data(sequence: u64, bytes: &[u8], closed: bool) -> Data<'_> {
        Data { connection: 1, sequence, closed, bytes }
    }

    #[test]
    fn bytes_come_out_in_order_and_then_the_end() {
        let inlet = Inlet::new();
        assert_eq!(now(inlet.verdict()), None);
        inlet.insert(&data(2, b"world", true));
        inlet.insert(&data(1, b"hello ", false));
        assert_eq!((now(inlet.verdict()), now(inlet.next())), (Some(Ok(())), None));
        inlet.insert(&data(0, b"", false));
        inlet.insert(&data(1, b"again", false));
        assert_eq!(now(inlet.next()), Some(Next::Bytes(b"hello ".to_vec())));
        assert_eq!(now(inlet.next()), Some(Next::Bytes(b"world".to_vec())));
        assert_eq!(now(inlet.next()), Some(Next::End));
        assert_eq!(inlet.received(), 11);
    }

    #[test]
    fn a_refusal_waits_for_its_reason() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let inlet = Inlet::new();
        inlet.insert(&data(0, b"", true));
        let (verdict, ()) = runtime.block_on(async {
            let later = async {
                tokio::task::yield_now().await;
                inlet.fail(Failure::Exit("no".into()));
            };
            tokio::join!(inlet.verdict(), later)
        });
        assert_eq!(verdict, Err(Failure::Exit("no".into())));
    }

    #[test]
    fn what_came_before_a_failure_is_handed_over() {
        let inlet = Inlet::new();
        inlet.insert(&data(0, b"half", false));
        inlet.fail(Failure::Exit("reset".into()));
        inlet.fail(Failure::Silence);
        assert_eq!(now(inlet.next()), Some(Next::Bytes(b"half".to_vec())));
        assert_eq!(now(inlet.next()), Some(Next::Failed(Failure::Exit("reset".into()))));
    }

    #[test]
    fn an_exit_that_pays_no_heed_to_the_window_is_cut_off() {
        let inlet = Inlet::new();
        assert_eq!(now(inlet.window(|| MOST)), Some(16));
        let chunk = [7; 16_000];
        let mut sent = 0;
        while now(inlet.window(|| MOST)) != Some(0) {
            inlet.insert(&data(sent, &chunk, false));
            sent += 1;
        }
        assert!(sent < 20);
        for sequence in sent..sent + 100 {
            inlet.insert(&data(sequence, &chunk, false));
        }
        let mut bytes = 0;
        loop {
            match now(inlet.next()).unwrap() {
                Next::Bytes(more) => bytes += more.len(),
                Next::End => panic!("it goes on"),
                Next::Failed(failure) => {
                    assert_eq!(failure, Failure::Disorder(OrderError::Full));
                    break;
                }
            }
        }
        assert!(bytes <= HELD_MAX);
    }
}
