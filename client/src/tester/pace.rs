//! When packets are to be sent.

use std::fmt;

use phix_engine::units::Span;
use rand::Rng;

use crate::schedule;

/// How packets follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pace {
    /// At equal distances.
    #[default]
    Constant,
    /// As a Poisson process, like the traffic of many independent senders.
    Poisson,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

impl Pace {
    /// `count` offsets from the start, in order, at `rate` packets per second.
    ///
    /// # Panics
    /// If `rate` is not a positive number.
    pub fn offsets(self, rng: &mut (impl Rng + ?Sized), rate: f64, count: usize) -> Vec<Span> {
        assert!(rate > 0.0 && rate.is_finite(), "a rate must be positive, not {rate}");
        match self {
            Self::Constant => {
                let offset = |i: usize| Span::from_nanos((i as f64 * 1e9 / rate) as u64);
                (0..count).map(offset).collect()
            }
            Self::Poisson => schedule::poisson(rng, rate, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn both_paces_have_the_rate() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let constant = Pace::Constant.offsets(&mut rng, 4000.0, 8001);
        assert_eq!(constant[1], Span::from_micros(250));
        assert_eq!(constant[8000], Span::from_millis(2000));
        let poisson = Pace::Poisson.offsets(&mut rng, 4000.0, 8001);
        assert!(poisson.is_sorted());
        let end = poisson[8000].as_nanos() as f64 / 1e9;
        assert!((end - 2.0).abs() < 0.15, "5 sigma are 0.11: {end}");
        assert_ne!(poisson[1].as_nanos(), 250_000);
    }
}
