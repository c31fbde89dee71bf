//! The bodies of the fuzz targets for what applications and exits say to a client, driven by seeded
//! random input, so that every run of the tests has them compiled and run.

#[expect(dead_code, reason = "other targets use all of it")]
#[path = "../../../engine/tests/fuzzed/input.rs"]
mod input;
mod socks5;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Calls `target` on `count` inputs of up to `longest` bytes; prints the seed of one that fails.
fn drive(mut target: impl FnMut(&[u8]), count: u64, longest: usize) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("failed with seed {}", self.0);
            }
        }
    }
    for seed in 0..count {
        let told = Seed(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut data = vec![0; rng.random_range(0..=longest)];
        rng.fill_bytes(&mut data);
        target(&data);
        drop(told);
    }
}

#[test]
fn applications_are_understood_or_refused() {
    let mut seen = socks5::Seen::default();
    drive(|data| socks5::observe(data, &mut seen), 20_000, 200);
    println!("{seen:?}");
    let enough = |count: &u64| *count > 100;
    assert!(enough(&seen.connected) && enough(&seen.waiting), "input is worth what it reaches");
    assert!(seen.refused.iter().all(enough), "input is worth what it reaches");
}
