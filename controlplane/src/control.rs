//! What the control plane's tasks share: facts of the start, wishes, observations, counts.
//!
//! Owns state that outlives a task's panic. Each value has one writer; readers get whole copies. Never does work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use erlmcp_config::Config;
use erlmcp_dataplane::DataPlane;
use erlmcp_dataplane::link::snapshot::NodeStatus;
use erlmcp_ring::probe::Chosen;
use tokio::sync::{Notify, watch};

use crate::access_log::AccessLog;
use crate::admin::views::unix_seconds;
use crate::desired::Desired;
use crate::discovery::Addresses;
use crate::health::HealthTable;
use crate::metrics::Rates;
use crate::publish::Publisher;
use crate::reload::Origin;
use crate::supervise::Supervisor;

/// Whether the process serves or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It finishes what it has.
    Draining,
}

/// Why a node cannot be drained or activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSuchNode {
    /// No group has it.
    Unknown,
    /// It is `disabled` in the configuration.
    Disabled,
}

/// A count that any task may raise.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the control plane counts of itself.
#[derive(Debug, Default)]
pub struct Counters {
    /// Questions to name servers that failed.
    pub discovery_failures: Count,
    /// Snapshots that a shard's full lane put off.
    pub publish_retries: Count,
    /// Writes of the access log that failed.
    pub access_write_errors: Count,
    /// Bytes written to the access log.
    pub access_bytes: Count,
    /// Configurations taken.
    pub reloads_taken: Count,
    /// Configurations refused.
    pub reloads_refused: Count,
}

/// Facts that do not change until the end.
#[derive(Debug)]
pub struct Boot {
    /// When the process began to serve.
    pub started: SystemTime,
    /// Which cpu each shard is pinned to.
    pub cpus: Vec<usize>,
    /// Where everything else runs.
    pub housekeeping: Vec<usize>,
    /// What the probe chose, and why not io_uring.
    pub chosen: Chosen,
    /// Name and bound address of each listener, ports as the kernel gave them.
    pub listeners: Vec<(String, String)>,
    /// Addresses of the admin API, ports as the kernel gave them.
    pub admin: Vec<String>,
    /// The admin socket.
    pub socket: Option<PathBuf>,
    /// Where the configuration comes from, for reloads.
    pub origin: Origin,
    /// Whether hooks for tests are open.
    pub test_hooks: bool,
}

/// The shared state.
pub struct Control {
    /// Facts.
    pub boot: Boot,
    /// Keeper of the tasks.
    pub supervisor: Supervisor,
    /// Counts.
    pub counters: Counters,
    /// The configuration at the start: what only a start can change is as it says.
    pub first_config: Arc<Config>,
    /// The configuration in use.
    pub config: watch::Sender<Arc<Config>>,
    /// What is wished for.
    pub desired: watch::Sender<Arc<Desired>>,
    /// What names resolve to.
    pub addresses: watch::Sender<Arc<Addresses>>,
    /// What checks found.
    pub health: HealthTable,
    /// What the operator said of nodes since the start, by name.
    pub operator: watch::Sender<Arc<BTreeMap<String, NodeStatus>>>,
    /// Serving or draining.
    pub phase: watch::Sender<Phase>,
    /// What was published.
    pub publisher: Publisher,
    /// Told when the publisher should look again.
    pub dirty: Notify,
    /// What the status page shows of the load.
    pub rates: Rates,
    /// Lines of the access log, by shard.
    pub access_lines: Vec<Count>,
    /// When the configuration in use was taken.
    pub applied_unix_seconds: AtomicU64,
    plane: OnceLock<Arc<DataPlane>>,
    access: OnceLock<AccessLog>,
    /// Whether the first round of checks is over. Never goes back.
    is_started: AtomicBool,
}

impl Control {
    /// The state at the start.
    pub fn new(boot: Boot, config: Config, desired: Desired, addresses: Addresses) -> Self {
        let publisher = Publisher::new(desired.identity.clone());
        let access_lines = boot.cpus.iter().map(|_| Count::default()).collect();
        let config = Arc::new(config);
        Self {
            boot,
            first_config: Arc::clone(&config),
            supervisor: Supervisor::default(),
            counters: Counters::default(),
            config: watch::Sender::new(config),
            desired: watch::Sender::new(Arc::new(desired)),
            addresses: watch::Sender::new(Arc::new(addresses)),
            health: HealthTable::default(),
            operator: watch::Sender::default(),
            phase: watch::Sender::new(Phase::Serving),
            publisher,
            dirty: Notify::new(),
            rates: Rates::default(),
            access_lines,
            applied_unix_seconds: AtomicU64::new(unix_seconds(SystemTime::now())),
            plane: OnceLock::new(),
            access: OnceLock::new(),
            is_started: AtomicBool::new(false),
        }
    }

    /// The shards, once they run.
    pub fn plane(&self) -> Option<&Arc<DataPlane>> {
        self.plane.get()
    }

    /// Hands the running shards over; only the first call counts.
    pub fn set_plane(&self, plane: DataPlane) {
        let _ = self.plane.set(Arc::new(plane));
    }

    /// The access log, once it runs.
    pub fn access(&self) -> Option<&AccessLog> {
        self.access.get()
    }

    /// Hands the running access log over; only the first call counts.
    pub fn set_access(&self, access: AccessLog) {
        let _ = self.access.set(access);
    }

    /// Notes whether every endpoint has been checked; says whether that was ever so.
    pub fn note_started(&self, all_checked: bool) -> bool {
        if all_checked {
            self.is_started.store(true, Ordering::Relaxed);
        }
        self.is_started.load(Ordering::Relaxed)
    }

    /// Sets what the operator says of a node.
    ///
    /// # Errors
    /// When there is no such node, or the configuration has switched it off.
    pub fn set_node_status(&self, node: &str, status: NodeStatus) -> Result<(), NoSuchNode> {
        let desired = self.desired.borrow().clone();
        let mut named = desired
            .groups
            .iter()
            .flat_map(|group| &group.nodes)
            .filter(|known| known.name == node)
            .peekable();
        if named.peek().is_none() {
            return Err(NoSuchNode::Unknown);
        }
        if named.all(|known| known.status.is_none()) {
            return Err(NoSuchNode::Disabled);
        }
        self.operator.send_modify(|said| {
            Arc::make_mut(said).insert(node.to_owned(), status);
        });
        self.dirty.notify_one();
        Ok(())
    }

    /// Begins the end.
    pub fn begin_drain(&self) {
        self.phase.send_replace(Phase::Draining);
        self.dirty.notify_one();
    }

    /// Around one group `g` of one node `n` without address, with the embedded default's configuration.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Arc<Self> {
        use crate::publish::build_tests as build;

        let config = erlmcp_config::load(&erlmcp_config::Source::default()).unwrap().config;
        let desired = build::desired(vec![build::group("g", vec![build::node("n", 1)])], &["r"]);
        Self::with(Origin::default(), config, desired)
    }

    /// As a start from this origin makes it.
    #[cfg(test)]
    pub(crate) fn from_origin(origin: Origin) -> Arc<Self> {
        let (config, _) = origin.load().unwrap();
        let desired = origin.desired(&config, 1).unwrap();
        Self::with(origin, config, desired)
    }

    #[cfg(test)]
    fn with(origin: Origin, config: Config, desired: Desired) -> Arc<Self> {
        let boot = Boot {
            started: SystemTime::now(),
            cpus: vec![0],
            housekeeping: vec![0],
            chosen: Chosen {
                kind: erlmcp_ring::DriverKind::Epoll,
                flags: 0,
                recv_credit: false,
                fallback: None,
            },
            listeners: vec![("main".into(), "127.0.0.1:8080".into())],
            admin: vec!["127.0.0.1:9090".into()],
            socket: None,
            origin,
            test_hooks: true,
        };
        Arc::new(Self::new(boot, config, desired, Addresses::new()))
    }
}
