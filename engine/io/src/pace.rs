//! How often a link under load wakes up: a rule, apart from any system call.
//!
//! A wake-up costs microseconds, whatever it brings. Under load it is worth sleeping on for a
//! moment, so that it brings several packets: they are mixed for tens of milliseconds anyway, and
//! their delays count from when they are taken in. So, under load, wake-ups are [`EVERY`] apart,
//! counted from one to the next: a shard whose work takes longer than that never waits, and one
//! that is idle takes the first packet at once.
//!
//! Invariant: nobody is kept waiting beyond a deadline by more than [`LATE`].

use phix_engine::shard::Wait;
use phix_engine::units::{Span, Time};
use rustix::thread::{Timespec, nanosleep};

/// The time from one wake-up to the next, under load.
const EVERY: Span = Span::from_micros(300);
/// How long after its deadline a shard under load may be turned.
const LATE: Span = Span::from_micros(100);
/// Load begins with so many packets in the time of one wake-up: ten thousand per second.
const LOADED: u64 = 3;
/// A wake-up that brings so many has paid for itself; more of them may be there already.
const PLENTY: u64 = 64;

/// What a link is to do before it takes in what has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Wait as the shard allows: the first event ends it.
    None,
    /// Sleep until then, whatever happens.
    Until(Time),
    /// Take nothing in: there is work, and the next wake-up is not due yet.
    Skip,
}

/// When a link was last woken, and what for.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the last wake-up was; nothing if it brought so much that the next may follow at once.
    woke: Option<Time>,
    loaded: bool,
    /// Since when packets are counted, and how many have come since.
    since: Time,
    came: u64,
}

impl Pace {
    pub(crate) const fn new(now: Time) -> Self {
        Self { woke: None, loaded: false, since: now, came: 0 }
    }

    /// Takes note of how many packets a wake-up at `now` has brought.
    pub(crate) fn woken(&mut self, packets: u64, now: Time) {
        self.woke = (packets < PLENTY).then_some(now);
        self.came += packets;
        let elapsed = now.since(self.since).as_nanos();
        if elapsed >= EVERY.as_nanos() {
            self.loaded = self.came * EVERY.as_nanos() >= LOADED * elapsed;
            (self.since, self.came) = (now, 0);
        }
    }

    /// What to do now, if the shard allows a wait of `wait`.
    pub(crate) fn hold(&self, wait: Wait, now: Time) -> Hold {
        let Some(woke) = self.woke.filter(|_| self.loaded) else { return Hold::None };
        let until = match wait {
            Wait::No | Wait::Forever => woke.after(EVERY),
            Wait::Until(deadline) => woke.after(EVERY).min(deadline.after(LATE)),
        };
        match wait {
            _ if until <= now => Hold::None,
            Wait::No => Hold::Skip,
            Wait::Until(_) | Wait::Forever => Hold::Until(until),
        }
    }
}

/// Sleeps for `span`, or less if a signal comes.
pub(crate) fn sleep(span: Span) {
    let nanos = span.as_nanos();
    let (seconds, nanos) = ((nanos / 1_000_000_000) as i64, (nanos % 1_000_000_000) as i64);
    // A sleep that ends early is no harm: the link looks for events a little too often.
    let _ = nanosleep(&Timespec { tv_sec: seconds, tv_nsec: nanos });
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Time {
        Time::ZERO.after(Span::from_micros(micros))
    }

    /// A link under load that was woken at 10,000 us.
    fn loaded() -> Pace {
        let mut pace = Pace::new(Time::ZERO);
        (1..=20).for_each(|wake| pace.woken(20, at(wake * 500)));
        pace
    }

    #[test]
    fn wake_ups_under_load_are_counted_from_one_to_the_next() {
        let pace = loaded();
        assert_eq!(pace.hold(Wait::Forever, at(10_040)), Hold::Until(at(10_300)));
        assert_eq!(pace.hold(Wait::No, at(10_040)), Hold::Skip);
        // Work that takes longer leaves nothing to wait for.
        assert_eq!(pace.hold(Wait::Forever, at(10_300)), Hold::None);
        assert_eq!(pace.hold(Wait::No, at(10_300)), Hold::None);
    }

    #[test]
    fn deadlines_are_kept() {
        let pace = loaded();
        let hold = |deadline| pace.hold(Wait::Until(at(deadline)), at(10_010));
        assert_eq!(hold(10_065), Hold::Until(at(10_165)));
        assert_eq!(hold(10_290), Hold::Until(at(10_300)));
        assert_eq!(hold(9_905), Hold::None);
    }

    #[test]
    fn plenty_is_followed_at_once() {
        let mut pace = loaded();
        pace.woken(PLENTY, at(10_300));
        assert_eq!(pace.hold(Wait::Forever, at(10_301)), Hold::None);
        pace.woken(1, at(10_310));
        assert_eq!(pace.hold(Wait::Forever, at(10_311)), Hold::Until(at(10_610)));
    }

    #[test]
    fn a_lone_packet_is_never_held() {
        let mut pace = Pace::new(Time::ZERO);
        for millis in 1..100 {
            let now = at(millis * 1000);
            assert_eq!(pace.hold(Wait::Forever, now), Hold::None);
            pace.woken(1, now);
            // What its sending brings about comes at once, too.
            assert_eq!(pace.hold(Wait::Forever, at(millis * 1000 + 20)), Hold::None);
            pace.woken(0, at(millis * 1000 + 20));
        }
    }

    #[test]
    fn load_begins_and_ends_within_a_few_wake_ups() {
        let mut pace = Pace::new(Time::ZERO);
        let wakes = |pace: &mut Pace, from: u64, every: usize| {
            let held = |pace: &mut Pace, now| {
                let hold = pace.hold(Wait::Forever, at(now + 1));
                pace.woken(1, at(now));
                hold != Hold::None
            };
            (from..from + 2_000).step_by(every).filter(|&now| held(pace, now)).count()
        };
        assert!(wakes(&mut pace, 10_000, 50) > 25, "20,000 packets per second are load");
        assert!(wakes(&mut pace, 20_000, 200) <= 2, "5,000 packets per second are none");
    }
}
