//! Commands from the control plane to a shard.

use std::sync::Arc;
use std::time::Duration;

use super::Snapshot;

/// One command; shards take them between turns, in order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Replace the snapshot whole. Exchanges under way finish on the one they began with.
    Publish(Arc<Snapshot>),
    /// Stop accepting; finish what runs; answer what still comes on open connections with
    /// `Connection: close`. Idle connections are closed `idle` from now, everything else `limit` from now.
    Drain {
        /// How long an idle keep-alive connection may still send a request.
        idle: Duration,
        /// When open exchanges and streams are cut.
        limit: Duration,
    },
}
