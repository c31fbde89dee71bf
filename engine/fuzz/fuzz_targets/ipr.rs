//! The body is in `engine/proto/tests/fuzzed`, where the tests drive it too.
#![no_main]

#[path = "../../tests/fuzzed/input.rs"]
mod input;
#[path = "../../proto/tests/fuzzed/ipr.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
