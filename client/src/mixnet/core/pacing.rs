//! When packets leave: Poisson processes that know nothing of what they send.

use phix_engine::units::{Span, Time};
use rand::CryptoRng;

use crate::stats;

/// How late a stream may be and still make up for it. A client that was asleep for longer starts
/// anew; a flood of what it missed would tell that it had slept, and how long.
const CATCH_UP_MAX: Span = Span::from_millis(500);

/// A Poisson process: independent exponential times between events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    mean: Span,
    due: Time,
}

impl Pace {
    /// A process whose first event comes an exponential time after `now`.
    pub(super) fn new(mean: Span, now: Time, rng: &mut impl CryptoRng) -> Self {
        let mut pace = Self { mean, due: now };
        pace.advance(now, rng);
        pace
    }

    /// When the next event is.
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// Draws the event after the one that is due. Times count from when the last one was due, not
    /// from when it was handled, so that lateness of the machine does not slow the process.
    pub(super) fn advance(&mut self, now: Time, rng: &mut impl CryptoRng) {
        if now.since(self.due) > CATCH_UP_MAX {
            self.due = now;
        }
        let wait = stats::exponential(rng, self.mean.as_nanos() as f64);
        self.due = self.due.after(Span::from_nanos(wait as u64));
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn who_slept_does_not_make_up_for_it() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut pace = Pace::new(Span::from_millis(20), Time::ZERO, &mut rng);
        let late = Time::ZERO.after(Span::from_millis(60_000));
        pace.advance(late, &mut rng);
        assert!(pace.due() > late);
        // A little late is made up for: the next event is drawn from when this one was due.
        let due = pace.due();
        let after = |handled: Time| {
            let mut pace = pace;
            pace.advance(handled, &mut ChaCha20Rng::seed_from_u64(2));
            pace.due()
        };
        assert_eq!(after(due.after(Span::from_millis(400))), after(due));
    }
}
