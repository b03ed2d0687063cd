//! Measures programs on this machine: starts them, loads them in turn, reads what the kernel says they used.
//!
//! Owns processes that it starts and the arithmetic on their figures. Never talks to anything off the loopback, and
//! never asserts a speed: it reports, people and targets judge.
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod capacity;
pub mod certificate;
pub mod child;
pub mod compare;
pub mod idle;
pub mod load;
pub mod null;
pub mod peers;
pub mod ports;
pub mod procfs;
#[cfg(feature = "peers")]
pub mod reference;
pub mod report;
pub mod stats;
pub mod wrk;
