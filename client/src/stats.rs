//! The distributions that delays must follow, and how far measurements are from them.
//!
//! Sources: Erlang's distribution function by the series and the finite sum for the incomplete
//! gamma function (Abramowitz and Stegun, 6.5.13 and 6.5.29); critical values of the
//! Kolmogorov-Smirnov distance by Stephens (J. R. Statist. Soc. B 32, 1970).

use rand::{Rng, RngExt};

/// A draw from the exponential distribution of the given mean, in the unit of the mean.
pub fn exponential(rng: &mut (impl Rng + ?Sized), mean: f64) -> f64 {
    // In (0, 1]: the logarithm stays finite.
    let uniform = 1.0 - rng.random::<f64>();
    -uniform.ln() * mean
}

/// The sum of `k` independent exponential times of the same mean: what `k` mixes do to a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erlang {
    k: u32,
    mean: f64,
}

impl Erlang {
    /// The sum of `k` times of mean `mean` each.
    ///
    /// # Panics
    /// If `k` is zero or `mean` not a positive number.
    pub fn new(k: u32, mean: f64) -> Self {
        assert!(k > 0 && mean > 0.0 && mean.is_finite(), "Erlang({k}, {mean}) does not exist");
        Self { k, mean }
    }

    /// Number of summands.
    pub const fn k(&self) -> u32 {
        self.k
    }

    /// Mean of one summand.
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The probability of at most `x`.
    pub fn cdf(&self, x: f64) -> f64 {
        let z = x / self.mean;
        if z <= 0.0 {
            0.0
        } else if z < f64::from(self.k) {
            self.lower(z)
        } else {
            1.0 - self.upper(z)
        }
    }

    /// The `x` that is exceeded with probability `1 - p`.
    ///
    /// # Panics
    /// If `p` is not between 0 and 1.
    pub fn quantile(&self, p: f64) -> f64 {
        assert!((0.0..1.0).contains(&p), "no quantile at {p}");
        if p == 0.0 {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, self.mean * f64::from(self.k));
        while self.cdf(high) < p {
            low = high;
            high *= 2.0;
        }
        // Halving ends where no number lies between the two; the bound is for the proof only.
        for _ in 0..2000 {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if self.cdf(middle) < p {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The term `exp(-z) z^n / n!`, by logarithms: no part of it overflows.
    fn term(z: f64, n: u32) -> f64 {
        let ln_factorial: f64 = (2..=n).map(|i| f64::from(i).ln()).sum();
        (f64::from(n) * z.ln() - z - ln_factorial).exp()
    }

    /// The sum of the terms from `k` on; accurate also where it is tiny. For `z < k`.
    fn lower(&self, z: f64) -> f64 {
        let mut term = Self::term(z, self.k);
        let (mut sum, mut n) = (term, f64::from(self.k));
        while term > sum * f64::EPSILON {
            n += 1.0;
            term *= z / n;
            sum += term;
        }
        sum
    }

    /// The sum of the terms below `k`, largest first. For `z >= k`.
    fn upper(&self, z: f64) -> f64 {
        let mut term = Self::term(z, self.k - 1);
        let mut sum = term;
        for n in (1..self.k).rev() {
            term *= f64::from(n) / z;
            sum += term;
        }
        sum
    }
}

/// The largest distance between the distribution of a sample and `cdf`; 0 for no sample.
pub fn ks_distance(sample: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let apart = |(x, i): (&f64, u32)| {
        let (below, theory) = (f64::from(i) / n, cdf(*x));
        (theory - below).max(below + 1.0 / n - theory)
    };
    sorted.iter().zip(0..).map(apart).fold(0.0, f64::max)
}

/// The distance that a true sample of `n` exceeds with probability `alpha`, to about 1 % of its
/// value for `alpha` up to 0.1 and `n` from 5.
///
/// # Panics
/// If `n` is zero or `alpha` not between 0 and 1.
pub fn ks_critical(n: usize, alpha: f64) -> f64 {
    assert!(n > 0 && alpha > 0.0 && alpha < 1.0, "no critical value for {n}, {alpha}");
    let root = (n as f64).sqrt();
    (-(alpha / 2.0).ln() / 2.0).sqrt() / (root + 0.12 + 0.11 / root)
}

/// The value of a sorted sample that a share `p` of it does not exceed; nothing of no sample.
pub fn percentile<T: Copy>(sorted: &[T], p: f64) -> Option<T> {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand::SeedableRng;

    use super::*;

    fn close(a: f64, b: f64, relative: f64) {
        assert!((a - b).abs() <= b.abs() * relative, "{a} is not {b}");
    }

    #[test]
    fn erlang_known_values() {
        // One summand: the exponential distribution.
        let one = Erlang::new(1, 2.0);
        for x in [1e-12, 0.1, 1.0, 2.0, 5.0, 60.0] {
            close(one.cdf(x), -(-x / 2.0f64).exp_m1(), 1e-14);
        }
        // Chi-square tables: Erlang(k, 2) has 2k degrees of freedom.
        let three = Erlang::new(3, 2.0);
        close(three.quantile(0.95), 12.591_587_243_743_977, 1e-12);
        close(three.quantile(0.99), 16.811_893_829_770_927, 1e-12);
        close(Erlang::new(5, 2.0).quantile(0.5), 9.341_817_765_591_966, 1e-12);
        // Closed form of the lower tail: z^3/6 for small z.
        close(three.cdf(2e-6), 1e-18 / 6.0, 1e-5);
        assert_eq!(three.cdf(0.0), 0.0);
        assert_eq!(three.cdf(-1.0), 0.0);
        assert_eq!(three.cdf(1e9), 1.0);
    }

    #[test]
    fn erlang_of_many_is_normal_and_both_sums_meet() {
        let many = Erlang::new(10_000, 1.0);
        close(many.cdf(10_000.0), 0.5, 0.005);
        close(many.cdf(10_100.0), 0.841_3, 0.005);
        for k in [1, 2, 3, 10, 100, 2000] {
            let erlang = Erlang::new(k, 1.0);
            let z = f64::from(k);
            close(erlang.lower(z), 1.0 - erlang.upper(z), 1e-11);
            let x = erlang.quantile(0.3);
            close(erlang.cdf(x), 0.3, 1e-11);
        }
        assert_eq!(Erlang::new(3, 1.0).quantile(0.0), 0.0);
    }

    #[test]
    fn ks_known_values() {
        let uniform = |x: f64| x.clamp(0.0, 1.0);
        close(ks_distance(&[0.5], uniform), 0.5, 1e-15);
        close(ks_distance(&[0.9, 0.1], uniform), 0.4, 1e-15);
        close(ks_distance(&[0.25, 0.75], uniform), 0.25, 1e-15);
        close(ks_distance(&[2.0, 3.0, 4.0], uniform), 1.0, 1e-15);
        assert_eq!(ks_distance(&[], uniform), 0.0);
        // Exact values from Massey's and Miller's tables.
        close(ks_critical(10, 0.05), 0.409_25, 0.01);
        close(ks_critical(20, 0.01), 0.352_41, 0.01);
        close(ks_critical(100, 0.05), 0.134_03, 0.01);
        close(ks_critical(1_000_000, 0.05), 1.358e-3, 0.001);
    }

    #[test]
    fn ks_accepts_the_true_distribution_and_no_other() {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let (theory, wrong) = (Erlang::new(3, 50.0), Erlang::new(3, 51.5));
        let (mut rejected, mut caught) = (0, 0);
        for _ in 0..100 {
            let draw = |_| (0..3).map(|_| exponential(&mut rng, 50.0)).sum();
            let sample: Vec<f64> = (0..4000).map(draw).collect();
            let critical = ks_critical(sample.len(), 0.05);
            rejected += u32::from(ks_distance(&sample, |x| theory.cdf(x)) > critical);
            caught += u32::from(ks_distance(&sample, |x| wrong.cdf(x)) > critical);
        }
        assert!((1..=12).contains(&rejected), "{rejected} of 100 true samples at 5 %");
        assert!(caught > 50, "{caught} of 100 wrong samples");
    }

    #[test]
    fn percentiles() {
        let sorted: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(50));
        assert_eq!(percentile(&sorted, 0.999), Some(100));
        assert_eq!(percentile(&sorted, 0.0), Some(1));
        assert_eq!(percentile(&sorted, 1.0), Some(100));
        assert_eq!(percentile::<u32>(&[], 0.5), None);
    }
}
