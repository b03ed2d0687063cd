//! The queue model: shared-nothing shards are `c` independent M/G/1 queues, not M/M/c.
//!
//! Owns the prediction of response times at a load from service times that were measured at low load.

mod placement;

pub use placement::{CONNECTIONS_MAX, Placement, SHARDS_MAX, imbalance, place};
