//! When a partial batch waits for more packets.
//!
//! A vector of the kernels with one lane filled takes as long as a full one. Where packets come so
//! densely that a vector fills within [`FILL_PATIENCE`], what full vectors leave over waits for
//! the packets that come next, for that long at most. Where they do not, nothing waits: an idle
//! node adds no delay.

use crate::limits::FILL_PATIENCE;
use crate::units::Time;

/// How densely packets come, and what waits for more of them.
#[derive(Debug)]
pub(super) struct Filling {
    /// Lanes of a vector.
    lanes: usize,
    /// Since when packets are counted, and how many have come since.
    since: Time,
    came: usize,
    dense: bool,
    /// Until when what is ready may wait; nothing if it may not.
    waits: Option<Time>,
}

impl Filling {
    pub(super) const fn new(lanes: usize, now: Time) -> Self {
        Self { lanes, since: now, came: 0, dense: false, waits: None }
    }

    /// Takes note of how many packets a turn has brought. Nothing waits from then on.
    pub(super) fn note(&mut self, packets: usize, now: Time) {
        self.waits = None;
        self.came += packets;
        let elapsed = now.since(self.since).as_nanos();
        if elapsed >= FILL_PATIENCE.as_nanos() {
            let filled = self.came as u64 * FILL_PATIENCE.as_nanos();
            self.dense = filled >= self.lanes as u64 * elapsed;
            (self.since, self.came) = (now, 0);
        }
    }

    /// How many of `ready` packets a partial batch takes; `arrived` says of each when it came.
    pub(super) fn part(
        &mut self,
        ready: usize,
        now: Time,
        arrived: impl FnOnce(usize) -> Time,
    ) -> usize {
        let whole = ready - ready % self.lanes;
        if whole == ready || !self.dense {
            return ready;
        }
        let until = arrived(whole).after(FILL_PATIENCE);
        if until <= now {
            return ready;
        }
        self.waits = Some(until);
        whole
    }

    /// Until when what is ready waits for more, if it does.
    pub(super) const fn waits(&self) -> Option<Time> {
        self.waits
    }
}
