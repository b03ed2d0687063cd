//! Tests through the public door, in one binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod common;
mod diagnostics;
mod load;
mod scenario;
