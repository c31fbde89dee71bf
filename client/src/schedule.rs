//! When each probe is to be sent, relative to a start that is chosen later.
//!
//! Packets take longer to build than to send, so they are built in advance, and a probe cannot
//! name the time at which it is sent. The schedule can: it is fixed when the packets are built,
//! and whoever knows it and the start knows the intended time of every probe.

use phix_engine::units::{Span, Time};
use rand::Rng;

use crate::probe::Probe;
use crate::stats;

/// One probe's part in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it is to be sent, from the start.
    pub offset: Span,
    /// The sum of the delays that its hops are asked for.
    pub delays: Span,
}

/// The probes of all senders. A sender is its position, a probe its position with its sender.
#[derive(Clone, Debug)]
pub struct Schedule {
    planned: Vec<Planned>,
    /// Where each sender's probes begin in `planned`; one more than there are senders.
    bounds: Vec<usize>,
}

impl Schedule {
    /// A schedule of these probes, sender by sender.
    pub fn new(senders: impl IntoIterator<Item = Vec<Planned>>) -> Self {
        let mut schedule = Self { planned: Vec::new(), bounds: vec![0] };
        for sender in senders {
            schedule.planned.extend(sender);
            schedule.bounds.push(schedule.planned.len());
        }
        schedule
    }

    /// How many probes there are.
    pub const fn len(&self) -> usize {
        self.planned.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Every probe's part, sender by sender.
    pub fn planned(&self) -> &[Planned] {
        &self.planned
    }

    /// Position of a probe in [`Schedule::planned`]; nothing for one that was never planned.
    pub fn position(&self, probe: Probe) -> Option<usize> {
        let sender = usize::from(probe.sender);
        let (first, end) = (self.bounds.get(sender)?, self.bounds.get(sender + 1)?);
        let position = first.checked_add(usize::try_from(probe.sequence).ok()?)?;
        (position < *end).then_some(position)
    }

    /// The last intended time, of all senders, when the first probe could go at `start`.
    pub fn end(&self, start: Time) -> Time {
        let last = self.planned.iter().map(|planned| planned.offset).max();
        start.after(last.unwrap_or(Span::ZERO))
    }
}

/// `count` times of a Poisson process of `rate` events per second, as offsets, in order.
///
/// # Panics
/// If `rate` is not a positive number.
pub fn poisson(rng: &mut (impl Rng + ?Sized), rate: f64, count: usize) -> Vec<Span> {
    assert!(rate > 0.0 && rate.is_finite(), "a rate must be positive, not {rate}");
    let mut nanos = 0.0;
    let mut next = || {
        nanos += stats::exponential(rng, 1e9 / rate);
        Span::from_nanos(nanos as u64)
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn positions() {
        let planned = |nanos| Planned { offset: Span::from_nanos(nanos), delays: Span::ZERO };
        let schedule = Schedule::new([vec![planned(5), planned(9)], vec![], vec![planned(7)]]);
        let position = |sender, sequence| schedule.position(Probe { sender, sequence });
        assert_eq!(position(0, 0), Some(0));
        assert_eq!(position(0, 1), Some(1));
        assert_eq!(position(2, 0), Some(2));
        for (sender, sequence) in [(0, 2), (1, 0), (2, 1), (3, 0), (0, u64::MAX), (u16::MAX, 0)] {
            assert_eq!(position(sender, sequence), None);
        }
        assert_eq!(schedule.end(Time::from_nanos(100)), Time::from_nanos(109));
    }

    #[test]
    fn poisson_times() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let offsets = poisson(&mut rng, 200.0, 5000);
        assert!(offsets.is_sorted());
        let gaps = offsets.windows(2).map(|pair| (pair[1].as_nanos() - pair[0].as_nanos()) as f64);
        let gaps: Vec<f64> = gaps.collect();
        let theory = stats::Erlang::new(1, 5e6);
        let distance = stats::ks_distance(&gaps, |gap| theory.cdf(gap));
        assert!(distance < stats::ks_critical(gaps.len(), 0.001), "{distance}");
    }
}
