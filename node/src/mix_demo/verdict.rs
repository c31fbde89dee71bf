//! Whether the delays follow theory and, where they do not, what was measured that explains it.

use phix_engine::limits::DELAY_MAX;

/// Share of the mean delay above which lateness bends the distribution visibly.
const LATE: f64 = 0.02;

/// What a verdict rests on. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Greatest distance between the measured distribution and theory.
    pub(super) distance: f64,
    /// What a sample of this size stays below if it follows theory.
    pub(super) critical: f64,
    /// Mean delay at each hop.
    pub(super) mean: f64,
    /// Median of the time beyond the delays.
    pub(super) late_p50: f64,
    /// The time beyond the delays that one packet of a hundred exceeds.
    pub(super) late_p99: f64,
    /// How late a sender was at most.
    pub(super) sender_late: f64,
    /// Packets that never arrived.
    pub(super) lost: u64,
}

impl Evidence {
    /// Whether the sample can be one of theory.
    pub(super) fn follows(&self) -> bool {
        self.distance < self.critical
    }

    /// The verdict, as a sentence without its stop.
    pub(super) fn sentence(&self) -> String {
        if self.follows() {
            return "the delays follow theory".into();
        }
        format!("the delays do not follow theory: {}", self.cause())
    }

    fn cause(&self) -> String {
        let Self { mean, late_p50, late_p99, sender_late, lost, .. } = *self;
        let longest = DELAY_MAX.as_nanos() as f64 / 1e6;
        let cut = (-longest / mean).exp();
        if cut > self.critical / 4.0 {
            return format!(
                "no node holds a packet for more than {:.0} s, which cuts {:.0} of 100 delays of \
                 this mean short",
                longest / 1e3,
                (cut * 100.0).max(1.0),
            );
        }
        if late_p50 > LATE * mean || late_p99 > mean {
            return format!(
                "packets were late by {late_p50:.1} ms in the median and {late_p99:.1} ms at p99; \
                 the machine was too busy (senders up to {sender_late:.1} ms late)"
            );
        }
        if lost > 0 {
            return format!("{lost} packets are missing, and with them their delays");
        }
        "packets were not late, so that nodes kept other delays than they were asked for; report \
         this"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Evidence = Evidence {
        distance: 0.01,
        critical: 0.014,
        mean: 50.0,
        late_p50: 0.3,
        late_p99: 2.0,
        sender_late: 4.0,
        lost: 0,
    };

    #[test]
    fn the_cause_is_the_one_that_was_measured() {
        assert_eq!(GOOD.sentence(), "the delays follow theory");
        let bad = Evidence { distance: 0.2, ..GOOD };
        let said = |evidence: Evidence, what: &str| {
            assert!(!evidence.follows());
            let sentence = evidence.sentence();
            assert!(sentence.starts_with("the delays do not follow theory: "), "{sentence}");
            assert!(sentence.contains(what), "{sentence}");
        };
        said(bad, "report this");
        said(Evidence { lost: 300, ..bad }, "300 packets are missing");
        let late = Evidence { late_p50: 12.34, late_p99: 80.0, sender_late: 95.0, ..bad };
        said(late, "late by 12.3 ms in the median and 80.0 ms at p99; the machine was too busy");
        said(late, "senders up to 95.0 ms late");
        said(Evidence { mean: 5_000.0, ..bad }, "more than 10 s, which cuts 14 of 100 delays");
    }
}
