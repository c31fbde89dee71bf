//! The clock of all shards of this process.

use std::sync::OnceLock;
use std::time::Instant;

use phix_engine::shard::Clock;
use phix_engine::units::Time;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since one origin that all instances in this process share, so that times taken by
/// different shards, or by different nodes in one process, can be compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl MonotonicClock {
    /// The present.
    pub fn now(&self) -> Time {
        let origin = ORIGIN.get_or_init(Instant::now);
        Time::from_nanos(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Time {
        Self::now(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_agree_and_never_go_back() {
        let (one, two) = (MonotonicClock, MonotonicClock);
        let mut last = one.now();
        for _ in 0..1000 {
            for now in [two.now(), one.now()] {
                assert!(now >= last);
                last = now;
            }
        }
    }
}
