//! What a shard lets others see: copies of its counts, and how it ended.

use std::array;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use phix_engine::counters::Counters;
use phix_engine::shard::Held;

const STAGES: usize = 4;

/// Written by one worker, read by anyone.
///
/// Values are stored one by one: a reader may see a packet in two stages, or in none, for a moment.
#[derive(Debug)]
pub(crate) struct Published {
    counters: CachePadded<[AtomicU64; Counters::LEN]>,
    held: CachePadded<[AtomicU64; STAGES]>,
    failed: Mutex<Option<String>>,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            counters: CachePadded::new(array::from_fn(|_| AtomicU64::new(0))),
            held: CachePadded::new(array::from_fn(|_| AtomicU64::new(0))),
            failed: Mutex::new(None),
        }
    }

    pub(crate) fn store(&self, counters: &Counters, held: Held) {
        let store = |(place, value): (&AtomicU64, u64)| place.store(value, Ordering::Relaxed);
        self.counters.iter().zip(counters.values()).for_each(store);
        let held = [held.ready, held.delayed, held.queued, held.in_flight];
        self.held.iter().zip(held.map(|count| count as u64)).for_each(store);
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters::from_values(&array::from_fn(|i| self.counters[i].load(Ordering::Relaxed)))
    }

    pub(crate) fn held(&self) -> Held {
        let [ready, delayed, queued, in_flight] =
            array::from_fn(|i| self.held[i].load(Ordering::Relaxed) as usize);
        Held { ready, delayed, queued, in_flight }
    }

    /// Says that the worker has come to an end that nobody asked for; the first reason stands.
    pub(crate) fn fail(&self, reason: String) {
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.get_or_insert(reason);
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
