//! The bodies of the fuzz targets for what clients, gateways and directories say, driven by seeded
//! random input, so that every run of the tests has them compiled and run. `engine/fuzz` has them,
//! too.

mod directory;
#[path = "../../../tests/fuzzed/drive.rs"]
mod drive;
mod gateway_binary;
mod gateway_text;
#[path = "../../../tests/fuzzed/input.rs"]
mod input;
mod ipr;
mod messages;
mod requester;

use drive::drive;

#[test]
fn every_body_is_a_target_of_the_fuzzer() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzzed");
    let fuzzer = include_str!("../../../fuzz/Cargo.toml");
    let files = std::fs::read_dir(here).unwrap().map(|file| file.unwrap().file_name());
    let mut bodies = files.filter(|file| file != "main.rs");
    let missing = bodies.find(|file| {
        let file = file.to_str().unwrap();
        !fuzzer.contains(&format!("path = \"fuzz_targets/{file}\""))
    });
    assert_eq!(missing, None, "engine/fuzz does not have it");
}

#[test]
fn registrations_are_refused_or_right() {
    drive(directory::registration, 3_000, 96);
}

#[test]
fn answers_are_refused_or_right() {
    drive(directory::answers, 3_000, 96);
}

#[test]
fn binary_messages_are_read_or_refused() {
    let mut seen = gateway_binary::Seen::default();
    drive(|data| gateway_binary::observe(data, &mut seen), 4_000, 120);
    println!("{seen:?}");
    assert!(seen.read > 100 && seen.refused > 100, "random input is worth what it reaches");
}

#[test]
fn text_messages_are_read_or_refused() {
    let mut seen = gateway_text::Seen::default();
    drive(|data| gateway_text::observe(data, &mut seen), 20_000, 60);
    println!("{seen:?}");
    assert!(seen.read > 1_000 && seen.refused > 1_000, "random input is worth what it reaches");
}

#[test]
fn messages_are_read_or_refused() {
    let mut seen = messages::Seen::default();
    drive(|data| messages::observe(data, &mut seen), 20_000, 300);
    println!("{seen:?}");
    let enough = |count: &u64| *count > 100;
    assert!(seen.read.iter().all(enough), "random input is worth what it reaches");
    assert!(seen.refused.iter().all(enough), "random input is worth what it reaches");
}

#[test]
fn messages_of_the_packet_router_are_read_or_refused() {
    let mut seen = ipr::Seen::default();
    drive(|data| ipr::observe(data, &mut seen), 20_000, 200);
    println!("{seen:?}");
    let enough = |count: &u64| *count > 100;
    assert!(seen.read.iter().all(enough), "random input is worth what it reaches");
    assert!(seen.refused.iter().all(enough), "random input is worth what it reaches");
}

#[test]
fn messages_of_the_requester_are_read_or_refused() {
    let mut seen = requester::Seen::default();
    drive(|data| requester::observe(data, &mut seen), 20_000, 300);
    println!("{seen:?}");
    let enough = |count: &u64| *count > 100;
    assert!(seen.read.iter().all(enough), "random input is worth what it reaches");
    assert!(seen.refused.iter().all(enough), "random input is worth what it reaches");
}
