//! Which tiers the tests of this room run, and that none is left out.

extern crate std;

use alloc::vec;
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

/// What a tier does by itself stays as it is; with a function for single lanes, that function gets
/// everything where there are no vectors, and else the one lane that full vectors leave over.
#[test]
fn single_lanes_are_multiplied_by_the_function_for_them() {
    fn mark(_: &[[u8; 32]], _: &[[u8; 32]], out: &mut [[u8; 32]]) {
        out.fill([0xff; 32]);
    }
    for tier in tiers() {
        for len in 0..=3 * tier.x25519_lanes {
            let (scalars, points) = (vec![[7; 32]; len], vec![[9; 32]; len]);
            let marked = |tier: super::Kernels| {
                let mut out = vec![[0; 32]; len];
                tier.multiply(&scalars, &points, &mut out);
                out.iter().map(|row| *row == [0xff; 32]).collect::<Vec<_>>()
            };
            assert!(!marked(tier).contains(&true));
            let single = match tier.x25519_lanes {
                1 => len,
                lanes => usize::from(len % lanes == 1),
            };
            let expected: Vec<bool> = (0..len).map(|lane| lane >= len - single).collect();
            assert_eq!(marked(tier.with_lone_x25519(mark)), expected, "{len} of {}", tier.name);
        }
    }
}
