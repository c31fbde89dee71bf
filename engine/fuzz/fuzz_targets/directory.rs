//! The bodies are in `engine/proto/tests/fuzzed`, where the tests drive them too.
#![no_main]

#[path = "../../proto/tests/fuzzed/directory.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    target::registration(data);
    target::answers(data);
});
