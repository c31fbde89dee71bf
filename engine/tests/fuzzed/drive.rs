//! Seeded random input for the bodies of fuzz targets; the tests of other packages use this file,
//! too.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Calls `target` on `count` inputs of up to `longest` bytes; prints the seed of one that fails.
pub(crate) fn drive(mut target: impl FnMut(&[u8]), count: u64, longest: usize) {
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
