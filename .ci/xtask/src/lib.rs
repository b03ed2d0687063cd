//! What people and CI run in this tree, as a library so that tests run the same checks.
//!
//! Owns set-up, the test run, end-to-end suites, tidy checks and the measuring rig. Never part of the shipped binary.
//!
//! # Decisions
//! - Tests run in the dev profile (debug assertions, overflow checks), end-to-end suites against the release binary:
//!   the one that ships. Dependencies are therefore compiled in both.
//! - `target/tools` lies in the tree whatever `CARGO_TARGET_DIR` says, so that all target folders share one set-up.
#![forbid(unsafe_code)]

pub mod e2e;
pub mod rig;
pub mod run;
pub mod setup;
pub mod test;
pub mod tidy;
pub mod workspace;
