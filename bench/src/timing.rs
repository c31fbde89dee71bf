//! Timing for tables of ratios: every row is measured in every round, so that whatever else the
//! machine does falls on all of them.

use std::time::{Duration, Instant};

/// One thing to measure.
pub struct Job<'a> {
    /// What the work is called.
    pub name: String,
    /// Units of work (packets) that one call does.
    pub per_call: usize,
    /// The work.
    pub call: Box<dyn FnMut() + 'a>,
}

/// Time that each row gets in each round.
const SLICE: Duration = Duration::from_millis(60);

/// Measures all jobs in `rounds` rounds; gives each one's median nanoseconds per unit. `progress`
/// hears of each round that is over.
pub fn medians(jobs: &mut [Job<'_>], rounds: usize, mut progress: impl FnMut(usize)) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(rounds); jobs.len()];
    let calls: Vec<u32> = jobs.iter_mut().map(calls_per_slice).collect();
    for round in 1..=rounds {
        for ((job, samples), &calls) in jobs.iter_mut().zip(&mut samples).zip(&calls) {
            let start = Instant::now();
            (0..calls).for_each(|_| (job.call)());
            let units = calls as usize * job.per_call;
            samples.push(start.elapsed().as_nanos() as f64 / units as f64);
        }
        progress(round);
    }
    samples.into_iter().map(median).collect()
}

/// How often a job must be called to fill a slice; also warms it up.
fn calls_per_slice(job: &mut Job<'_>) -> u32 {
    let mut calls = 1_u32;
    loop {
        let start = Instant::now();
        (0..calls).for_each(|_| (job.call)());
        let took = start.elapsed();
        if took >= SLICE / 4 || calls >= 1 << 24 {
            let scale = SLICE.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((f64::from(calls) * scale) as u32).max(1);
        }
        calls *= 2;
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}
