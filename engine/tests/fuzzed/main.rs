//! The bodies of the fuzz targets in `engine/fuzz`, driven by seeded random input, so that every
//! run of the tests has them compiled and run.

mod addresses;
mod drive;
mod frames;
mod input;
mod tiers;

use drive::drive;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[test]
fn tiers_agree() {
    drive(tiers::run, 600, 400);
}

#[test]
fn frames_add_up() {
    drive(frames::run, 5_000, 200);
}

#[test]
fn addresses_survive() {
    drive(addresses::run, 20_000, 40);
}

/// Random input is worth what it reaches.
#[test]
fn random_input_reaches_every_kind_of_packet_and_every_end() {
    let mut seen = tiers::Seen::default();
    for seed in 0..300 {
        let mut data = vec![0; 400];
        StdRng::seed_from_u64(seed).fill_bytes(&mut data);
        tiers::observe(&data, &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.forward > 20 && seen.arrived > 20 && seen.bad_mac > 20);
    assert!(seen.bad_flag > 5 && seen.legacy > 5);
}
