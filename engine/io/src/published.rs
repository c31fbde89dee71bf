//! What a shard lets others see: copies of its numbers, and how it ended.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use phix_engine::counters::Counters;
use phix_engine::histogram::Histograms;
use phix_engine::pool::Capacity;
use phix_engine::shard::{Held, Shard};

use crate::line::Connections;

/// How a shard stands at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Where its packets are.
    pub held: Held,
    /// Connections that it has.
    pub connections: Connections,
    /// Next hops that it knows.
    pub next_hops: usize,
    /// Slots that are free, by size.
    pub pool_free: Capacity,
}

impl Gauges {
    const LEN: usize = 12;

    const fn values(&self) -> [usize; Self::LEN] {
        let Self { held, connections, next_hops, pool_free } = self;
        let [ack, regular, small, medium, large] = *pool_free;
        [
            held.ready,
            held.delayed,
            held.queued,
            held.in_flight,
            connections.inbound,
            connections.outbound,
            *next_hops,
            ack,
            regular,
            small,
            medium,
            large,
        ]
    }

    const fn from_values(values: [usize; Self::LEN]) -> Self {
        let [ready, delayed, queued, in_flight, inbound, outbound, next_hops, pool_free @ ..] =
            values;
        Self {
            held: Held { ready, delayed, queued, in_flight },
            connections: Connections { inbound, outbound },
            next_hops,
            pool_free,
        }
    }
}

/// All that one shard has published.
///
/// The numbers are stored one by one while others may be reading: a reader may see a packet in two
/// stages, or in none, for a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardView {
    /// What it has counted since it started.
    pub counters: Counters,
    /// How it stands.
    pub gauges: Gauges,
    /// What it has measured since it started.
    pub histograms: Histograms,
}

impl ShardView {
    /// What there is to see of a shard at present.
    pub(crate) fn of(shard: &Shard, connections: Connections) -> ShardNow<'_> {
        let gauges = Gauges {
            held: shard.held(),
            connections,
            next_hops: shard.next_hops(),
            pool_free: shard.pool_free(),
        };
        ShardNow { counters: shard.counters(), gauges, histograms: shard.histograms() }
    }
}

/// A [`ShardView`] whose large parts are still the shard's own.
#[derive(Debug)]
pub(crate) struct ShardNow<'a> {
    counters: &'a Counters,
    gauges: Gauges,
    histograms: &'a Histograms,
}

/// Written by one worker, read by anyone.
#[derive(Debug)]
pub(crate) struct Published {
    counters: CachePadded<[AtomicU64; Counters::LEN]>,
    gauges: CachePadded<[AtomicU64; Gauges::LEN]>,
    histograms: CachePadded<[AtomicU64; Histograms::LEN]>,
    failed: Mutex<Option<String>>,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            counters: CachePadded::new(array::from_fn(|_| AtomicU64::new(0))),
            gauges: CachePadded::new(array::from_fn(|_| AtomicU64::new(0))),
            histograms: CachePadded::new(array::from_fn(|_| AtomicU64::new(0))),
            failed: Mutex::new(None),
        }
    }

    pub(crate) fn store(&self, now: &ShardNow<'_>) {
        store(&*self.counters, now.counters.values());
        store(&*self.gauges, now.gauges.values().map(|value| value as u64));
        store(&*self.histograms, now.histograms.values());
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters::from_values(&array::from_fn(|i| self.counters[i].load(Ordering::Relaxed)))
    }

    pub(crate) fn gauges(&self) -> Gauges {
        Gauges::from_values(array::from_fn(|i| self.gauges[i].load(Ordering::Relaxed) as usize))
    }

    pub(crate) fn view(&self) -> ShardView {
        let histograms = self.histograms.iter().map(|place| place.load(Ordering::Relaxed));
        ShardView {
            counters: self.counters(),
            gauges: self.gauges(),
            histograms: Histograms::from_values(histograms),
        }
    }

    /// Says that the worker has come to an end that nobody asked for; the first reason stands.
    pub(crate) fn fail(&self, reason: String) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(reason);
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn store(places: &[AtomicU64], values: impl IntoIterator<Item = u64>) {
    let store = |(place, value): (&AtomicU64, u64)| place.store(value, Ordering::Relaxed);
    places.iter().zip(values).for_each(store);
}

/// Sees what the shards of a server publish, from any thread, and keeps none of them waiting. It
/// outlives the server, and then shows how it ended.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    shards: Arc<[Arc<Published>]>,
}

impl Observer {
    pub(crate) fn new(shards: impl Iterator<Item = Arc<Published>>) -> Self {
        Self { shards: shards.collect() }
    }

    /// What each shard has published last, at most some tens of milliseconds ago.
    pub fn shards(&self) -> Vec<ShardView> {
        self.shards.iter().map(|shard| shard.view()).collect()
    }

    /// Why a shard has come to an end that nobody asked for, if one has.
    pub fn failed(&self) -> Option<String> {
        let reason = |(index, shard): (usize, &Arc<Published>)| {
            shard.failed().map(|reason| format!("shard {index}: {reason}"))
        };
        self.shards.iter().enumerate().find_map(reason)
    }
}

#[cfg(test)]
mod tests {
    use phix_engine::units::Span;

    use super::*;

    #[test]
    fn what_is_stored_is_seen() {
        let mut counters = Counters::default();
        (counters.received, counters.batched) = (7, 5);
        let mut histograms = Histograms::default();
        histograms.lateness.note(Span::from_micros(80));
        histograms.batch_size.note(5);
        let gauges = Gauges::from_values(array::from_fn(|i| i + 1));
        assert_eq!(gauges.values(), array::from_fn(|i| i + 1));
        assert_eq!(gauges.held.total(), 1 + 2 + 3 + 4);
        let published = Arc::new(Published::new());
        let observer = Observer::new([Arc::clone(&published)].into_iter());
        assert_eq!(observer.shards(), [ShardView::default()]);
        let now = ShardNow { counters: &counters, gauges, histograms: &histograms };
        let writer = Arc::clone(&published);
        std::thread::scope(|scope| {
            scope.spawn(move || writer.store(&now));
        });
        assert_eq!(observer.shards(), [ShardView { counters, gauges, histograms }]);
        assert_eq!(observer.failed(), None);
        published.fail("the link failed".into());
        published.fail("and so on".into());
        assert_eq!(observer.failed().as_deref(), Some("shard 0: the link failed"));
    }
}
