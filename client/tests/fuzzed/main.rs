//! The bodies of the fuzz targets for what applications and exits say to a client, driven by seeded
//! random input, so that every run of the tests has them compiled and run.

#[path = "../../../engine/tests/fuzzed/drive.rs"]
mod drive;
#[expect(dead_code, reason = "other targets use all of it")]
#[path = "../../../engine/tests/fuzzed/input.rs"]
mod input;
mod socks5;

use drive::drive;

#[test]
fn applications_are_understood_or_refused() {
    let mut seen = socks5::Seen::default();
    drive(|data| socks5::observe(data, &mut seen), 20_000, 200);
    println!("{seen:?}");
    let enough = |count: &u64| *count > 100;
    assert!(enough(&seen.connected) && enough(&seen.waiting), "input is worth what it reaches");
    assert!(seen.refused.iter().all(enough), "input is worth what it reaches");
}
