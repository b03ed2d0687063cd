//! The data plane as its owner sees it: shards started, published to, drained and joined.
//!
//! Owns the shard threads and the lanes to them. Never does: anything on behalf of a request.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use erlmcp_proto::jsonrpc::mcp;
use erlmcp_ring::{RingStats, ShardConfig, StartError, lane, probe::Chosen, spawn_shard};

use crate::link::{AccessBatch, Command, ListenerId, ShardPage, Snapshot};
use crate::placement::Placement;
use crate::shard::{self, ShardParts};

/// Commands that may wait for one shard; a shard takes them every turn, so only a hung one fills it.
const COMMANDS_MAX: usize = 64;
/// Connections under way from one shard to another.
const HANDOVERS_MAX: usize = 256;
/// Access-log batches per shard, in use and free together: 32 × 32 KiB.
const ACCESS_BATCHES: usize = 32;

/// What the data plane is started with.
pub struct Setup {
    /// One entry per shard: the cpu that it is pinned to, or `None`.
    pub cpus: Vec<Option<usize>>,
    /// The driver that the probe chose.
    pub chosen: Chosen,
    /// Ring and buffer sizes, the same for each shard.
    pub ring: ShardConfig,
    /// Bound and listening sockets; each shard gets its own duplicate.
    pub listeners: Vec<(ListenerId, OwnedFd)>,
    /// What is served first.
    pub snapshot: Arc<Snapshot>,
}

/// One shard's access log: full batches come, empty ones go back.
pub struct AccessFeed {
    /// Which shard.
    pub shard: usize,
    /// Batches to write out, in order.
    pub full: lane::Receiver<AccessBatch>,
    /// Where they go when they are written and cleared.
    pub empty: lane::Sender<AccessBatch>,
}

/// Why the data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// A shard's driver did not start.
    #[error("shard {shard} did not start: {source}")]
    Shard {
        /// Which shard.
        shard: usize,
        /// Why.
        source: StartError,
    },
    /// The system refused a thread or a descriptor.
    #[error("cannot {what}: {source}; raise the limit (ulimit -n, ulimit -u) or start fewer shards")]
    Os {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// The running shards.
pub struct DataPlane {
    commands: Vec<lane::Sender<Command>>,
    pages: Vec<Arc<ShardPage>>,
    stats: Vec<Arc<RingStats>>,
    access: Vec<AccessFeed>,
    threads: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts the shards and returns when each serves.
    ///
    /// # Errors
    /// A shard could not start; those that could are ended.
    pub fn start(setup: Setup) -> Result<Self, PlaneError> {
        let count = setup.cpus.len();
        let pages: Vec<_> = (0..count).map(|_| Arc::new(ShardPage::new(mcp::Method::ALL.len()))).collect();
        let placements = Placement::mesh(&pages, HANDOVERS_MAX);
        let mut plane = Self {
            commands: Vec::with_capacity(count),
            pages,
            stats: Vec::with_capacity(count),
            access: Vec::with_capacity(count),
            threads: Vec::with_capacity(count),
        };
        for (index, placement) in placements.into_iter().enumerate() {
            if let Err(error) = plane.start_shard(index, placement, &setup) {
                plane.drain(Duration::ZERO, Duration::ZERO);
                // Those that never start count as draining, or the others would wait for them.
                plane.pages.iter().for_each(|page| page.draining.set(1));
                plane.join();
                return Err(error);
            }
        }
        Ok(plane)
    }

    fn start_shard(&mut self, index: usize, placement: Placement, setup: &Setup) -> Result<(), PlaneError> {
        let os = |what| move |source| PlaneError::Os { what, source };
        let listeners = setup
            .listeners
            .iter()
            .map(|(id, socket)| Ok((*id, socket.try_clone()?)))
            .collect::<Result<_, _>>()
            .map_err(os("duplicate a listening socket"))?;
        let (commands, commands_in) = lane::channel(COMMANDS_MAX);
        let (full, full_in) = lane::channel(ACCESS_BATCHES);
        let (empty, empty_in) = lane::channel(ACCESS_BATCHES);
        for _ in 0..ACCESS_BATCHES {
            // The lane is as long as the loop.
            let _ = empty.try_send(AccessBatch::with_capacity());
        }
        let name = format!("shard-{index}");
        let parts = ShardParts {
            ring: ShardConfig {
                name: name.clone(),
                seed: setup.ring.seed.wrapping_add(index as u64),
                ..setup.ring.clone()
            },
            chosen: setup.chosen.clone(),
            listeners,
            snapshot: setup.snapshot.clone(),
            page: self.pages[index].clone(),
            pages: self.pages.clone(),
            placement,
            commands: commands_in,
            access_full: full,
            access_empty: empty_in,
        };
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let thread = spawn_shard(&name, setup.cpus[index], move || shard::run(parts, &started))
            .map_err(os("start a shard's thread"))?;
        self.threads.push(thread);
        match starting.recv() {
            Ok(Ok(stats)) => self.stats.push(stats),
            Ok(Err(source)) => return Err(PlaneError::Shard { shard: index, source }),
            Err(_) => {
                let source = std::io::Error::other("the thread ended");
                return Err(PlaneError::Os { what: "start a shard's thread", source });
            }
        }
        self.commands.push(commands);
        self.access.push(AccessFeed { shard: index, full: full_in, empty });
        Ok(())
    }

    /// Hands every shard a new snapshot. Returns how many could not take it because their lane was full: those
    /// keep the last one, and the caller publishes again.
    pub fn publish(&self, snapshot: &Arc<Snapshot>) -> usize {
        self.tell(&Command::Publish(snapshot.clone()))
    }

    /// Begins the drain of every shard; see [`Command::Drain`]. A second call changes nothing.
    pub fn drain(&self, idle: Duration, limit: Duration) -> usize {
        self.tell(&Command::Drain { idle, limit })
    }

    fn tell(&self, command: &Command) -> usize {
        self.commands.iter().filter(|lane| lane.try_send(command.clone()).is_err()).count()
    }

    /// Each shard's counters.
    pub fn pages(&self) -> &[Arc<ShardPage>] {
        &self.pages
    }

    /// Each shard's ring counters.
    pub fn ring_stats(&self) -> &[Arc<RingStats>] {
        &self.stats
    }

    /// The access-log feeds; the second call gets none.
    pub fn take_access(&mut self) -> Vec<AccessFeed> {
        std::mem::take(&mut self.access)
    }

    /// Whether every shard has ended, as they do after a drain.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the shards to end. Returns how many ended by a panic.
    pub fn join(self) -> usize {
        self.threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
    }
}
