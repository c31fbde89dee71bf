//! What is known of the connections of now, and counts of all that were.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::inlet::Inlet;

/// Connections in the table, at most; the rest is a number.
const ROWS_MAX: usize = 40;

/// Characters of a target in the table, at most.
const TARGET_MAX: usize = 44;

/// Counts, and the table of connections.
#[derive(Debug, Default)]
pub struct Stats {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    rows: Mutex<BTreeMap<u64, Arc<Row>>>,
    next: AtomicU64,
}

/// A connection that is there.
#[derive(Debug)]
pub(super) struct Row {
    target: String,
    began: Instant,
    is_open: AtomicBool,
    inlet: Arc<Inlet>,
    pub(super) sent: AtomicU64,
}

impl Row {
    pub(super) fn opened(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

/// Keeps a row in the table.
pub(super) struct Listed {
    stats: Arc<Stats>,
    number: u64,
    pub(super) row: Arc<Row>,
}

impl Stats {
    /// Counts an event under its name.
    pub(super) fn count(&self, name: &'static str) {
        self.add(name, 1);
    }

    fn add(&self, name: &'static str, count: u64) {
        *locked(&self.counts).entry(name).or_default() += count;
    }

    /// Every count that is not zero, with its name.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        locked(&self.counts).iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Puts a connection into the table until what is given back is dropped.
    pub(super) fn list(self: &Arc<Self>, target: String, inlet: Arc<Inlet>) -> Listed {
        let row = Arc::new(Row {
            target,
            began: Instant::now(),
            is_open: AtomicBool::new(false),
            inlet,
            sent: AtomicU64::new(0),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.rows).insert(number, row.clone());
        Listed { stats: self.clone(), number, row }
    }

    /// The table of the connections of now, a line each.
    pub fn table(&self) -> String {
        let rows = locked(&self.rows);
        let mut text = format!(
            "{:<TARGET_MAX$} {:<10} {:>8} {:>12} {:>12}\n",
            "target", "state", "seconds", "sent", "received"
        );
        for row in rows.values().take(ROWS_MAX) {
            let target: String = row.target.chars().take(TARGET_MAX).collect();
            let state = if row.is_open.load(Ordering::Relaxed) { "open" } else { "connecting" };
            let seconds = row.began.elapsed().as_secs();
            let (sent, received) = (row.sent.load(Ordering::Relaxed), row.inlet.received());
            // Nothing can go wrong where text is appended to text.
            let _ = writeln!(
                text,
                "{target:<TARGET_MAX$} {state:<10} {seconds:>8} {sent:>12} {received:>12}"
            );
        }
        if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
            let _ = writeln!(text, "and {more} more");
        }
        text
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        locked(&self.stats.rows).remove(&self.number);
        self.stats.add("bytes sent", self.row.sent.load(Ordering::Relaxed));
        self.stats.add("bytes received", self.row.inlet.received());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers are right, or nearly, whatever happened to a thread that was changing them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_those_that_are_there_and_counts_those_that_were() {
        let stats = Arc::new(Stats::default());
        let listed = stats.list("example.org:443".into(), Arc::new(Inlet::new()));
        listed.row.sent.fetch_add(70, Ordering::Relaxed);
        let others: Vec<_> = (0..ROWS_MAX + 1)
            .map(|_| stats.list("[2001:db8::1]:80".into(), Arc::new(Inlet::new())))
            .collect();
        listed.row.opened();
        let table = stats.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].starts_with("example.org:443 ") && lines[1].contains(" open "), "{table}");
        assert!(lines[1].contains(" 70 "), "{table}");
        assert!(lines[2].contains("connecting"), "{table}");
        assert_eq!((lines.len(), lines[ROWS_MAX + 1]), (ROWS_MAX + 2, "and 2 more"));
        drop((listed, others));
        assert_eq!(stats.table().lines().count(), 1);
        assert_eq!(stats.counts(), [("bytes received", 0), ("bytes sent", 70)]);
    }
}
