//! Fuzz target `http1_response`: see `harness.rs`.
#![no_main]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "each target uses one function of the shared harness")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::http1_response(data));
