//! The thread that moves marks from the rings of all shards to the journals.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use phix_client::files::words;
use phix_engine::replay::Mark;

use super::format::BLOCK_MARKS;
use super::journal::Journal;
use super::ring::Reader;
use crate::machine;

/// How often marks are written. What a killed process loses is younger than this and one write.
const EVERY: Duration = Duration::from_millis(250);
/// The least time between two lines about the same trouble.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// One journal with the marks that wait for it.
struct Waiting {
    journal: Journal,
    marks: Vec<Mark>,
}

/// What the thread and its owner share.
#[derive(Default)]
struct Shared {
    journals: Mutex<BTreeMap<u32, Waiting>>,
    rings: Mutex<Vec<Reader>>,
    stop: AtomicBool,
}

/// The running thread.
pub(super) struct Saver {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<usize>>>,
}

impl Saver {
    /// Starts it; `say` prints a line for the operator.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(say: fn(String)) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("phix-replay".into());
        let thread = thread.spawn(move || {
            machine::step_back();
            Loop { shared: own, say, said: None }.run()
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Saves what comes out of this ring from now on.
    pub(super) fn watch(&self, ring: Reader) {
        lock(&self.shared.rings).push(ring);
    }

    /// Saves the marks of the filter with this number in `journal` from now on.
    pub(super) fn add(&self, number: u32, journal: Journal) {
        lock(&self.shared.journals).insert(number, Waiting { journal, marks: Vec::new() });
    }

    /// Marks of this filter are not saved any more, after those that are there now; gives back its
    /// journal.
    pub(super) fn remove(&self, number: u32) -> Option<Journal> {
        let mut journals = lock(&self.shared.journals);
        self.shared.empty_rings(&mut journals);
        let mut waiting = journals.remove(&number)?;
        // What the disk does not take now is lost, as it is at an end of the process.
        let _ = waiting.write();
        Some(waiting.journal)
    }

    /// Writes what there is and gives all journals away, with how many marks the disk did not take.
    /// The shards must have stopped to accept packets.
    pub(super) fn release(&self) -> (Vec<(u32, Journal)>, usize) {
        let mut journals = lock(&self.shared.journals);
        self.shared.empty_rings(&mut journals);
        let mut unsaved = 0;
        let all = std::mem::take(&mut *journals).into_iter().map(|(number, mut waiting)| {
            unsaved += waiting.write().map_or_else(|_| waiting.marks.len(), |()| 0);
            (number, waiting.journal)
        });
        (all.collect(), unsaved)
    }

    /// Writes what there is and ends; says how many marks could not be written.
    pub(super) fn finish(&self) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = lock(&self.thread).take() else { return 0 };
        thread.thread().unpark();
        // One that panicked has said so itself; nothing is known of what it left.
        thread.join().unwrap_or_default()
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What a thread that panicked leaves is no worse than what one that is killed leaves.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes the marks out of all rings.
    fn empty_rings(&self, journals: &mut BTreeMap<u32, Waiting>) {
        for ring in &mut *lock(&self.rings) {
            ring.take(|filter, mark| {
                // A filter without a journal has ended, and its key with it.
                if let Some(waiting) = journals.get_mut(&filter) {
                    waiting.marks.push(mark);
                }
            });
        }
    }
}

struct Loop {
    shared: Arc<Shared>,
    say: fn(String),
    /// When trouble was last spoken of, while there is any.
    said: Option<Instant>,
}

impl Loop {
    fn run(mut self) -> usize {
        while !self.shared.stop.load(Ordering::Relaxed) {
            thread::park_timeout(EVERY);
            self.round();
        }
        // The shards have ended: what their rings hold is all there will be, whatever waits.
        let shared = Arc::clone(&self.shared);
        shared.empty_rings(&mut lock(&shared.journals));
        self.round()
    }

    /// Takes the marks out of the rings and writes them; how many wait still. While any of them
    /// wait, the rings are left alone, so that what waits has a bound.
    fn round(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut journals = lock(&shared.journals);
        if journals.values().all(|waiting| waiting.marks.is_empty()) {
            shared.empty_rings(&mut journals);
        }
        let mut fault = None;
        for waiting in journals.values_mut() {
            fault = waiting.write().err().map(|error| (waiting, error)).or(fault);
        }
        match fault {
            None => self.recovered(),
            Some((waiting, error)) => {
                let path = waiting.journal.path().display();
                let text = format!(
                    "the packets that pass now cannot be saved to {path} ({}) and would pass again \
                     after a restart: make room there.",
                    words(&error),
                );
                self.trouble(text);
            }
        }
        journals.values().map(|waiting| waiting.marks.len()).sum()
    }

    fn trouble(&mut self, text: String) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            (self.say)(text);
        }
    }

    fn recovered(&mut self) {
        if self.said.take_if(|said| said.elapsed() >= SAY_EVERY).is_some() {
            (self.say)("packets that pass are saved again.".into());
        }
    }
}

impl Waiting {
    /// Writes the marks, as many as the disk takes; keeps the others.
    fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        let mut blocks = self.marks.chunks(BLOCK_MARKS);
        let result = blocks.try_for_each(|marks| {
            self.journal.append(marks)?;
            written += marks.len();
            Ok(())
        });
        self.marks.drain(..written);
        result
    }
}
