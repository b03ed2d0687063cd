//! What passes between the planes, and nothing else: snapshots and commands down, pages and batches up.
//!
//! Everything here is plain data that both sides may hold at once. The data plane never waits on any of it:
//! a full lane is counted and passed by, a snapshot is swapped whole at a turn's end.

pub mod access;
pub mod command;
pub mod ids;
pub mod origin;
pub mod pages;
pub mod reason;
pub mod snapshot;

pub use access::{AccessBatch, AccessRecord};
pub use command::Command;
pub use ids::{EndpointId, GroupIndex, ListenerId, RouteIndex};
pub use origin::{OriginPattern, PortPattern};
pub use pages::{Counter, EndpointPage, Histogram, ShardPage};
pub use reason::Reason;
pub use snapshot::Snapshot;
