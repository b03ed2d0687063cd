//! `erlmcp run`: brings both planes up in order, waits, brings them down in order.
//!
//! Owns the order. Every failure of a start is one line that says what and how to mend it.

mod banner;
pub(crate) mod hints;
mod limits;
pub mod logging;
mod shutdown;
pub mod sockets;

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use erlmcp_config::model::runtime::{Buffers, Driver};
use erlmcp_config::{Address, Config, CpuPlan, CpuWish};
use erlmcp_dataplane::link::ListenerId;
use erlmcp_dataplane::{DataPlane, PlaneError, Setup};
use erlmcp_ring::probe::{self, Chosen};
use erlmcp_ring::{DriverChoice, GroupConfig, ShardConfig, StartError};
use tokio::signal::unix::{SignalKind, signal};

use crate::access_log::{self, AccessLog};
use crate::admin;
use crate::control::{Boot, Control};
use crate::reload::{self, Origin};
use crate::{discovery, embedded, health, metrics, publish};

/// Threads of the control plane's runtime, at most; it serves operators, not traffic.
const WORKERS_MAX: usize = 2;
/// Threads for blocking work (names through the system's library, files), at most.
const BLOCKING_MAX: usize = 8;
/// Opens the hooks for tests when it is `1`.
const HOOKS_VARIABLE: &str = "ERLMCP_TEST_HOOKS";

/// Everything that was made before the runtime runs.
struct Start {
    origin: Origin,
    config: Config,
    plan: CpuPlan,
    ring: ShardConfig,
    chosen: Chosen,
    listeners: Vec<(String, String, OwnedFd)>,
    admin: admin::Sockets,
    embedded: Option<TcpListener>,
    access: File,
}

/// Serves until it is asked to stop.
///
/// # Errors
/// Why it could not start, for a person, in one line; a refused configuration in one line per error.
pub fn run(mut origin: Origin) -> Result<()> {
    let (config, warnings) = origin.load().map_err(|refused| anyhow!("{refused}"))?;
    logging::init(&config).map_err(|error| anyhow!("{error}"))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    limits::raise_descriptors(config.runtime.descriptor_limit);
    let plan = plan_cpus(&config)?;
    limits::check_descriptors(plan.shards.len())?;
    let ring = ring_config(&config.runtime.buffers);
    let chosen = probe::choose(driver_choice(config.runtime.driver), &ring)?;
    if let Some(reason) = &chosen.fallback {
        tracing::warn!(driver = %chosen.kind, %reason, "io_uring cannot be used; going on with the other driver");
    }
    let listeners = sockets::bind_all(&config.listeners.listeners)?;
    let admin = admin::Sockets::bind(&config)?;
    let embedded = bind_embedded(&config)?;
    if let Some(listener) = &embedded {
        origin.embedded = Some(listener.local_addr()?);
    }
    let settings = reload::access_settings(&config);
    let access = access_log::open(&settings).map_err(|error| {
        let path = settings.path.as_deref().unwrap_or(std::path::Path::new("standard output"));
        hints::failed(
            &format!("open the access log {}", path.display()),
            &error,
            "access_log.path in runtime.yaml",
        )
    })?;
    // From here on threads are made, and they inherit this.
    limits::pin_to(&plan.housekeeping);
    let runtime = runtime(&plan.housekeeping)?;
    let start = Start { origin, config, plan, ring, chosen, listeners, admin, embedded, access };
    let served = runtime.block_on(serve(start));
    // Whatever still runs in the background has nothing left to do.
    runtime.shutdown_background();
    served
}

fn plan_cpus(config: &Config) -> Result<CpuPlan> {
    let found = erlmcp_tuning::probe::cpus(&erlmcp_tuning::probe::Roots::default())?;
    let list = |wish: &CpuWish| match wish {
        CpuWish::Auto => None,
        CpuWish::List(list) => Some(list.clone()),
    };
    let wish = erlmcp_tuning::plan::CpuWish {
        shards: list(&config.runtime.cpus),
        housekeeping: list(&config.runtime.housekeeping),
    };
    let plan = erlmcp_tuning::plan::cpus(&found, &wish)?;
    Ok(CpuPlan { shards: plan.shards, housekeeping: plan.housekeeping })
}

fn ring_config(buffers: &Buffers) -> ShardConfig {
    let group = |one: &erlmcp_config::model::runtime::BufferGroup| GroupConfig {
        count: u16::try_from(one.count).unwrap_or(u16::MAX),
        size: u32::try_from(one.size).unwrap_or(u32::MAX),
    };
    ShardConfig {
        small: group(&buffers.small),
        large: group(&buffers.large),
        recv_window_bytes: u32::try_from(buffers.receive_window).unwrap_or(u32::MAX),
        seed: RandomState::new().hash_one(std::process::id()),
        ..ShardConfig::default()
    }
}

fn driver_choice(driver: Driver) -> DriverChoice {
    match driver {
        Driver::Auto => DriverChoice::Auto,
        Driver::IoUring => DriverChoice::IoUring,
        Driver::Epoll => DriverChoice::Epoll,
    }
}

fn bind_embedded(config: &Config) -> Result<Option<TcpListener>> {
    if !config.wants_embedded() {
        return Ok(None);
    }
    let Address::Tcp(address) = &config.runtime.embedded.address else {
        return Err(anyhow!(
            "the embedded node listens on TCP only; give embedded.address an IP address and port"
        ));
    };
    let failed = |error| {
        hints::failed(
            &format!("listen on {address} for the embedded node"),
            &error,
            "embedded.address in runtime.yaml",
        )
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Some(listener))
}

fn runtime(housekeeping: &[usize]) -> Result<tokio::runtime::Runtime> {
    let cpus = housekeeping.to_vec();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(housekeeping.len().clamp(1, WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("control")
        .on_thread_start(move || limits::pin_to(&cpus))
        .enable_all()
        .build()
        .map_err(|error| hints::failed("start the control plane's threads", &error, "ulimit -n, ulimit -u"))
}

async fn serve(start: Start) -> Result<()> {
    let mut signals = Signals::new()?;
    let desired = start
        .origin
        .desired(&start.config, start.plan.shards.len())
        .map_err(|refused| anyhow!("{refused}"))?;
    let addresses = discovery::first(&desired).await;
    let settings = reload::access_settings(&start.config);
    let Start { origin, config, plan, ring, chosen, listeners, admin, embedded, access } = start;
    let boot = Boot {
        started: SystemTime::now(),
        cpus: plan.shards,
        housekeeping: plan.housekeeping,
        chosen: chosen.clone(),
        listeners: listeners.iter().map(|(name, address, _)| (name.clone(), address.clone())).collect(),
        admin: admin.addresses(),
        socket: admin.socket_path(),
        origin,
        test_hooks: std::env::var(HOOKS_VARIABLE).is_ok_and(|value| value == "1"),
    };
    let control = Arc::new(Control::new(boot, config, desired, addresses));
    if let Some(listener) = embedded {
        spawn_embedded(&control, listener);
    }
    spawn(&control, "health", health::run);
    control.publisher.refresh(&control);
    let mut plane = DataPlane::start(Setup {
        cpus: control.boot.cpus.iter().copied().map(Some).collect(),
        chosen,
        ring,
        listeners: (0u16..).zip(listeners).map(|(id, (_, _, socket))| (ListenerId(id), socket)).collect(),
        snapshot: control.publisher.snapshot(),
    })
    .map_err(plane_failed)?;
    let feeds = plane.take_access();
    control.set_plane(plane);
    let log = AccessLog::start(Arc::clone(&control), feeds, settings, access)
        .map_err(|error| hints::failed("start the access log's thread", &error, "ulimit -u"))?;
    control.set_access(log);
    spawn(&control, "publish", publish::run);
    spawn(&control, "discovery", discovery::run);
    spawn(&control, "metrics", metrics::run);
    let admin_files = admin.spawn(&control);
    let files = sockets::files(&control.config.borrow().listeners.listeners);
    banner::print(&control);
    shutdown::wait(&control, &mut signals).await;
    shutdown::finish(&control, &mut signals).await;
    drop((admin_files, files));
    Ok(())
}

/// The shards' error, with a remedy where the system's error has one.
fn plane_failed(error: PlaneError) -> anyhow::Error {
    match &error {
        PlaneError::Shard { shard, source: StartError::Os { what, source } } => {
            hints::failed(&format!("start shard {shard}: {what}"), source, "runtime.yaml")
        }
        _ => error.into(),
    }
}

fn spawn<F, T>(control: &Arc<Control>, name: &'static str, task: F)
where
    F: Fn(Arc<Control>) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let shared = Arc::clone(control);
    control.supervisor.spawn(name, move || task(Arc::clone(&shared)));
}

fn spawn_embedded(control: &Arc<Control>, listener: TcpListener) {
    let stop = control.supervisor.stopping();
    control.supervisor.spawn("embedded", move || {
        let (listener, stop) = (listener.try_clone(), stop.clone());
        async move {
            let served = async {
                let listener = tokio::net::TcpListener::from_std(listener?)?;
                embedded::serve(listener, stop.clone().cancelled_owned()).await
            };
            if let Err(error) = served.await {
                tracing::error!(%error, "the embedded node ended");
            }
            if stop.is_cancelled() {
                // The supervisor ends together with it; returning early would count as a failure.
                std::future::pending::<()>().await;
            }
        }
    });
}

/// What the system tells the process.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let handler = |kind| {
            signal(kind).map_err(|error| hints::failed("install a signal handler", &error, "ulimit -n"))
        };
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            hang_up: handler(SignalKind::hangup())?,
        })
    }

    /// The next thing asked for.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// Resolves when the process is asked to stop.
    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    fn config(sets: &[(&str, &str)]) -> Config {
        let source = sets.iter().fold(Source::default(), |source, (path, value)| source.set(*path, *value));
        load(&source).unwrap_or_else(|report| panic!("{report}")).config
    }

    #[test]
    fn buffers_and_driver_are_those_of_the_file() {
        let config = config(&[
            ("runtime.buffers.small", "{count: 64, size: 2KiB}"),
            ("runtime.buffers.large", "{count: 16, size: 16KiB}"),
            ("runtime.buffers.receive_window", "256KiB"),
        ]);
        let ring = ring_config(&config.runtime.buffers);
        assert_eq!((ring.small.count, ring.small.size), (64, 2048));
        assert_eq!((ring.large.count, ring.large.size), (16, 16384));
        assert_eq!(ring.recv_window_bytes, 256 * 1024);
        for (word, kinds) in [
            ("epoll", &[DriverChoice::Epoll][..]),
            ("io_uring", &[DriverChoice::IoUring]),
            ("auto", &[DriverChoice::Auto]),
        ] {
            let driver = self::config(&[("runtime.driver", word)]).runtime.driver;
            assert!(kinds.contains(&driver_choice(driver)), "{word}");
        }
    }

    #[test]
    fn processors_are_those_of_the_file() {
        let free = erlmcp_tuning::probe::cpus(&erlmcp_tuning::probe::Roots::default()).unwrap();
        let all = erlmcp_tuning::plan::cpus(&free, &erlmcp_tuning::plan::CpuWish::default()).unwrap();
        let one = all.shards[0].to_string();
        let plan = plan_cpus(&config(&[("runtime.cpus", &one), ("runtime.housekeeping", &one)])).unwrap();
        assert_eq!((plan.shards, plan.housekeeping), (vec![all.shards[0]], vec![all.shards[0]]));
        assert!(plan_cpus(&config(&[("runtime.cpus", "4095")])).is_err());
    }

    #[test]
    fn the_embedded_node_listens_where_and_when_it_is_wanted() {
        let nodes = ("load_balancer.nodes", "[{host: a, port: 80}]");
        let at =
            |sets: &[(&str, &str)]| bind_embedded(&config(sets)).unwrap().map(|l| l.local_addr().unwrap());
        assert!(at(&[]).is_some() && at(&[nodes]).is_none());
        assert!(at(&[("runtime.embedded.enabled", "never"), nodes]).is_none());
        let address = ("runtime.embedded.address", "127.0.0.9:0");
        let bound = at(&[("runtime.embedded.enabled", "always"), nodes, address]).unwrap();
        assert_eq!(bound.ip().to_string(), "127.0.0.9");
    }
}
