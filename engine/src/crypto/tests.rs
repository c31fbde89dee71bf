//! Which tiers the tests of this room run, and that none is left out.

extern crate std;

use alloc::vec::Vec;

use super::testing::tiers;

/// A tier that the CPU has but the tests do not run would be a tier untested. The standard library
/// asks the CPU with code of its own.
#[test]
fn every_tier_of_this_cpu_is_tested() {
    let names: Vec<&str> = tiers().iter().map(|tier| tier.name).collect();
    std::println!("kernel tiers tested: {}", names.join(", "));
    assert!(names.contains(&"portable"));
    #[cfg(target_arch = "x86_64")]
    {
        use std::is_x86_feature_detected as has;
        assert_eq!(names.contains(&"avx2"), has!("avx2") && has!("fma"));
        let wide = has!("avx512f") && has!("avx512dq") && has!("avx512vl") && has!("avx512bw");
        assert_eq!(names.contains(&"avx512"), wide && has!("avx512ifma"));
    }
}
