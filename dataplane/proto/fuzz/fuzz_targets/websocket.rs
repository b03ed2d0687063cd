//! Fuzz target `websocket`: see `harness.rs`.
#![no_main]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "each target uses one function of the shared harness")]
mod harness;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::websocket(data));
