//! The shard: listeners, exchanges, routing, pools, balancing, counters.
//!
//! Runs on the ring crate's executor, reads snapshots, writes pages. It never resolves a name, checks a node's
//! health by itself, opens a file or waits for the control plane.
#![forbid(unsafe_code)]

pub mod link;
