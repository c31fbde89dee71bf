//! `phix-bench timing`: does a kernel's time depend on its secrets?
//!
//! The method is that of Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?" (DATE
//! 2017): time the same code on two classes of secrets, one of them always the same, the other
//! random, in random order, and ask Welch's test whether the two means differ. Interruptions make
//! the upper end of the distribution long, so the test is made on all samples and again on those
//! below each of a hundred percentiles, and the largest |t| counts.
//!
//! It can find a leak but never show that there is none: more samples find smaller ones.

mod subjects;

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use self::subjects::{is_control, subjects};

/// Below this, nothing was found.
const QUIET: f64 = 4.5;
/// Beyond this, the times differ and not by chance.
const LEAK: f64 = 10.0;

/// Tests on samples below a percentile, besides the one on all.
const CROPS: usize = 100;
/// Samples that are taken for a start: they warm up the code and set the percentiles.
const FIRST: usize = 1_000;

/// Code that is given a secret.
pub type Call<'a> = Box<dyn FnMut(&[u8]) + 'a>;

/// Code that handles a secret, in one call.
pub struct Subject<'a> {
    /// What it is called.
    pub name: String,
    /// The secret of the fixed class; random ones have its length.
    pub fixed: Vec<u8>,
    /// The code, given a secret.
    pub call: Call<'a>,
}

/// What came out for one subject.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the subject is called.
    pub name: String,
    /// Calls timed.
    pub samples: usize,
    /// Median time of a call among the first samples, in nanoseconds.
    pub median_ns: f64,
    /// The largest |t| of all tests.
    pub t: f64,
}

/// What to make of an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many samples show no difference.
    NothingFound,
    /// A difference that chance may have made: run again, and for longer.
    Unclear,
    /// The time depends on the secret.
    Leak,
}

impl Outcome {
    /// By the size of t.
    pub fn verdict(&self) -> Verdict {
        match self.t {
            t if t < QUIET => Verdict::NothingFound,
            t if t <= LEAK => Verdict::Unclear,
            _ => Verdict::Leak,
        }
    }
}

impl Verdict {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NothingFound => "nothing found",
            Self::Unclear => "unclear",
            Self::Leak => "leak",
        }
    }
}

/// Times `subject` for about `time`.
pub fn examine(subject: &mut Subject<'_>, time: Duration, seed: u64) -> Outcome {
    let mut timer = Timer::new(subject, seed);
    let mut first: Vec<f64> = (0..FIRST).map(|_| timer.sample().1).collect();
    first.sort_unstable_by(f64::total_cmp);
    let mut tests = Tests::new(&first);
    let (start, mut samples) = (Instant::now(), 0);
    while start.elapsed() < time {
        // A few at a time: looking at the clock in between would be a rhythm of its own.
        for _ in 0..100 {
            let (random, nanos) = timer.sample();
            tests.push(random, nanos);
        }
        samples += 100;
    }
    Outcome { name: subject.name.clone(), samples, median_ns: first[FIRST / 2], t: tests.largest() }
}

/// Draws classes and secrets and times calls. Both classes stand at the same place in memory.
struct Timer<'s, 'a> {
    subject: &'s mut Subject<'a>,
    secret: Vec<u8>,
    random: Vec<u8>,
    rng: SmallRng,
}

impl<'s, 'a> Timer<'s, 'a> {
    fn new(subject: &'s mut Subject<'a>, seed: u64) -> Self {
        let (secret, random) = (subject.fixed.clone(), subject.fixed.clone());
        Self { subject, secret, random, rng: SmallRng::seed_from_u64(seed) }
    }

    /// One call: whether the secret was random, and the nanoseconds that it took.
    fn sample(&mut self) -> (bool, f64) {
        // What comes before the call is the same for both classes: drawing, and reading both
        // secrets. A copy of the chosen one alone would leave the caches in two different states,
        // which a call that handles 18 KiB of secrets shows clearly.
        self.rng.fill_bytes(&mut self.random);
        let is_random = self.rng.next_u32() & 1 == 1;
        let mask = black_box(u8::from(is_random).wrapping_neg());
        let sources = self.subject.fixed.iter().zip(&self.random);
        for (secret, (fixed, random)) in self.secret.iter_mut().zip(sources) {
            *secret = fixed ^ (mask & (fixed ^ random));
        }
        let start = Instant::now();
        (self.subject.call)(&self.secret);
        (is_random, start.elapsed().as_nanos() as f64)
    }
}

/// Welch's tests on all samples and on those below each percentile.
struct Tests {
    limits: Vec<f64>,
    tests: Vec<Welch>,
}

impl Tests {
    /// `sorted` says where the percentiles are. They are densest where the distribution ends.
    fn new(sorted: &[f64]) -> Self {
        let percentile = |crop: usize| {
            let share = 1.0 - 0.5_f64.powf(10.0 * (crop + 1) as f64 / CROPS as f64);
            sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
        };
        let mut limits: Vec<f64> = (0..CROPS).map(percentile).collect();
        limits.push(f64::INFINITY);
        Self { tests: vec![Welch::default(); limits.len()], limits }
    }

    fn push(&mut self, random: bool, sample: f64) {
        for (test, limit) in self.tests.iter_mut().zip(&self.limits) {
            if sample < *limit {
                test.classes[usize::from(random)].push(sample);
            }
        }
    }

    fn largest(&self) -> f64 {
        self.tests.iter().map(|test| test.t().abs()).fold(0.0, f64::max)
    }
}

/// Welch's unequal variances t-test of two means (Welch, "The generalization of 'Student's' problem
/// when several different population variances are involved", 1947).
#[derive(Clone, Debug, Default)]
struct Welch {
    classes: [Moments; 2],
}

impl Welch {
    /// Zero while there is too little to say anything.
    fn t(&self) -> f64 {
        let [one, other] = &self.classes;
        let error = (one.variance() / one.count + other.variance() / other.count).sqrt();
        let enough = one.count.min(other.count) >= FIRST as f64 / 2.0;
        if enough && error > 0.0 { (one.mean - other.mean) / error } else { 0.0 }
    }
}

/// Mean and variance, one sample at a time (Welford, "Note on a method for calculating corrected
/// sums of squares and products", 1962).
#[derive(Clone, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn push(&mut self, sample: f64) {
        self.count += 1.0;
        let before = sample - self.mean;
        self.mean += before / self.count;
        self.squares += before * (sample - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times as a quiet machine gives them, now and then with an interruption of any length.
    fn noise(rng: &mut SmallRng) -> f64 {
        let uniform = |rng: &mut SmallRng| f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let bell: f64 = (0..12).map(|_| uniform(rng)).sum();
        let interrupted = uniform(rng) < 0.05;
        10_000.0 + 50.0 * bell + if interrupted { 400_000.0 * uniform(rng) } else { 0.0 }
    }

    /// Tests on samples of which the random class takes `extra` longer.
    fn tests(extra: f64, seed: u64) -> Tests {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut first: Vec<f64> = (0..FIRST).map(|_| noise(&mut rng)).collect();
        first.sort_unstable_by(f64::total_cmp);
        let mut tests = Tests::new(&first);
        for _ in 0..20_000 {
            let random = rng.next_u32() & 1 == 1;
            let extra = if random { extra } else { 0.0 };
            tests.push(random, noise(&mut rng) + extra);
        }
        tests
    }

    fn outcome(t: f64) -> Outcome {
        Outcome { name: String::new(), samples: 0, median_ns: 0.0, t }
    }

    #[test]
    fn equal_distributions_show_nothing() {
        for seed in 0..8 {
            let t = tests(0.0, seed).largest();
            assert_eq!(outcome(t).verdict(), Verdict::NothingFound, "t {t} with seed {seed}");
        }
    }

    /// A difference of a third of a per cent, which the interruptions hide from the plain test.
    #[test]
    fn cropping_finds_what_interruptions_hide() {
        for seed in 0..8 {
            let tests = tests(30.0, seed);
            let plain = tests.tests[CROPS].t().abs();
            assert!(plain < QUIET, "t {plain} with seed {seed}");
            assert_eq!(outcome(tests.largest()).verdict(), Verdict::Leak, "seed {seed}");
        }
    }

    #[test]
    fn t_is_that_of_the_textbook() {
        let mut test = Welch::default();
        for i in 0..FIRST {
            test.classes[0].push((i % 2) as f64);
            test.classes[1].push((i % 2) as f64 * 3.0);
        }
        // Means 0.5 and 1.5, variances 0.25 and 2.25 times 1000 / 999, 1000 samples each.
        let expected = -1.0 / (2.5 / 999.0_f64).sqrt();
        assert!((test.t() - expected).abs() < 1e-9);
    }

    #[test]
    fn verdicts_follow_t() {
        let verdict = |t| outcome(t).verdict();
        assert_eq!(verdict(4.4), Verdict::NothingFound);
        assert_eq!([verdict(4.6), verdict(10.0)], [Verdict::Unclear; 2]);
        assert_eq!(verdict(10.1), Verdict::Leak);
    }

    /// Both classes are timed, in no order that one could tell, and the fixed one is fixed.
    #[test]
    fn classes_are_mixed() {
        let mut seen = Vec::new();
        let call = Box::new(|secret: &[u8]| seen.push(secret == [7; 32]));
        let mut subject = Subject { name: "a".into(), fixed: vec![7; 32], call };
        let mut timer = Timer::new(&mut subject, 1);
        let random: Vec<bool> = (0..1_000).map(|_| timer.sample().0).collect();
        drop(subject);
        assert!(seen.iter().zip(&random).all(|(fixed, random)| fixed != random));
        let changes = random.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((400..600).contains(&changes), "{changes}");
    }
}
