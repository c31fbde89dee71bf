//! The search for the highest rate that passes, as RFC 2544, section 26.1, searches for throughput:
//! trials at fixed rates, upwards until one fails, then halving the interval.

/// Rates below this are not told apart from none.
const RATE_MIN: f64 = 10.0;

/// What is known so far. Rates are packets per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    first: f64,
    ceiling: f64,
    tolerance: f64,
    passed: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    /// A search that begins at `first`, never goes above `ceiling` and ends when the lowest rate
    /// that failed is at most a share `tolerance` above the highest that passed.
    ///
    /// # Panics
    /// If `first` is not between zero and `ceiling`, or `tolerance` not between zero and one.
    pub fn new(first: f64, ceiling: f64, tolerance: f64) -> Self {
        assert!(first > 0.0 && first <= ceiling && ceiling.is_finite(), "a range of rates");
        assert!(tolerance > 0.0 && tolerance < 1.0, "a share between 0 and 1");
        Self { first, ceiling, tolerance, passed: None, failed: None }
    }

    /// The rate to try next; nothing when the search is over.
    pub fn next(&self) -> Option<f64> {
        match (self.passed, self.failed) {
            (None, None) => Some(self.first),
            (Some(passed), None) => {
                (passed < self.ceiling).then(|| (2.0 * passed).min(self.ceiling))
            }
            (passed, Some(failed)) => {
                let passed = passed.unwrap_or(0.0);
                let wide = failed - passed > self.tolerance * failed;
                (wide && failed > RATE_MIN).then(|| f64::midpoint(passed, failed))
            }
        }
    }

    /// Takes in how a trial at `rate` ended. What contradicts an earlier trial moves the other
    /// bound: the last word counts.
    pub fn record(&mut self, rate: f64, passed: bool) {
        if passed {
            self.passed = Some(rate);
            self.failed = self.failed.filter(|failed| *failed > rate);
        } else {
            self.failed = Some(rate);
            self.passed = self.passed.filter(|passed| *passed < rate);
        }
    }

    /// The highest rate that passed.
    pub const fn passed(&self) -> Option<f64> {
        self.passed
    }

    /// The lowest rate that failed; nothing if the ceiling passed.
    pub const fn failed(&self) -> Option<f64> {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a node that can do `capacity`; gives the bounds found and the rates tried.
    fn search(capacity: f64, mut search: Search) -> (Option<f64>, Option<f64>, Vec<f64>) {
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            tried.push(rate);
            assert!(tried.len() < 64, "the search does not end: {tried:?}");
            search.record(rate, rate <= capacity);
        }
        (search.passed(), search.failed(), tried)
    }

    #[test]
    fn it_closes_in_on_the_capacity_from_wherever_it_begins() {
        for capacity in [15.0, 999.0, 1000.0, 31_337.0, 130_000.0] {
            for first in [10.0, 1000.0, 200_000.0] {
                let (passed, failed, tried) = search(capacity, Search::new(first, 1e6, 0.01));
                let (passed, failed) = (passed.unwrap(), failed.unwrap());
                assert!(passed <= capacity && capacity < failed, "{capacity}: {tried:?}");
                assert!(failed - passed <= 0.01 * failed, "{capacity}: {tried:?}");
            }
        }
    }

    #[test]
    fn a_node_that_is_fast_enough_for_the_ceiling_is_not_pushed_further() {
        let (passed, failed, tried) = search(1e9, Search::new(1000.0, 5000.0, 0.01));
        assert_eq!((passed, failed), (Some(5000.0), None));
        assert_eq!(tried, [1000.0, 2000.0, 4000.0, 5000.0]);
    }

    #[test]
    fn a_node_that_passes_nothing_ends_the_search() {
        let (passed, failed, tried) = search(0.0, Search::new(1000.0, 1e5, 0.01));
        assert_eq!(passed, None);
        assert!(failed.unwrap() <= RATE_MIN && tried.len() < 9, "{tried:?}");
    }

    #[test]
    fn the_last_word_counts() {
        let mut search = Search::new(100.0, 1000.0, 0.1);
        search.record(400.0, false);
        search.record(500.0, true);
        assert_eq!((search.passed(), search.failed()), (Some(500.0), None));
        search.record(450.0, false);
        assert_eq!((search.passed(), search.failed()), (None, Some(450.0)));
    }
}
