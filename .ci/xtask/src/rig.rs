//! `cargo xtask rig`: the gateway beside HAProxy, nginx and the bare forwarder, interleaved, on this machine.
//!
//! Owns the scenarios and who takes part in each. The measuring is [`erlmcp_bench`]'s. It reports and never judges a
//! speed; it fails only when somebody does not answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use erlmcp_bench::child::{Server, ServerSpec};
use erlmcp_bench::compare::{self, Candidate, Comparison, Plan};
use erlmcp_bench::idle::{self, Idle};
use erlmcp_bench::peers::{self, Setting};
use erlmcp_bench::ports::free_addr;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{run, workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const START_LIMIT: Duration = Duration::from_secs(10);
/// The measured server has this processor for itself; load and upstreams share the other.
const SERVER_CPU: &str = "0";
const LOAD_CPU: &str = "1";
/// Pool cap per upstream of the capped HAProxy: the gateway's own default per upstream and shard.
const POOL_CAP: u32 = 32;
/// Event streams at the two readings of the idle scenario.
const IDLE_STREAMS: (u32, u32) = (1000, 3500);
const IDLE_STREAMS_QUICK: (u32, u32) = (20, 50);
/// Both sides of every stream in the proxy, with room: what the limit on descriptors must allow.
const DESCRIPTORS: u64 = 20_000;

/// Who is under load, and how.
struct Scenario {
    name: &'static str,
    path: &'static str,
    connections: u32,
    /// Whether HAProxy also takes part with the pool cap.
    capped: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "small-64", path: "/", connections: 64, capped: false },
    Scenario { name: "small-1000", path: "/", connections: 1000, capped: true },
    Scenario { name: "64k", path: "/64k", connections: 32, capped: false },
    Scenario { name: "1m", path: "/1m", connections: 8, capped: false },
];
const IDLE: &str = "idle";

/// Arguments of `cargo xtask rig`.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios: small-64, small-1000, 64k, 1m, idle; all when none is given
    scenarios: Vec<String>,
    /// One round of one second each: shows that everyone answers, nothing about speed
    #[arg(long)]
    quick: bool,
    /// Rounds per scenario
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Seconds per server and round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// The gateway's binary
    #[arg(long, env = "ERLMCP_BIN", help = "The gateway's binary [default: target/release/erlmcp]")]
    gateway: Option<PathBuf>,
    /// Measure the peers alone
    #[arg(long)]
    no_gateway: bool,
    /// The gateway's driver; given twice, it takes part twice
    #[arg(long, default_value = "auto")]
    driver: Vec<String>,
    /// Nobody writes an access log
    #[arg(long)]
    no_access_log: bool,
    /// Also write the results as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Builds the reference servers, measures, prints tables.
///
/// # Errors
/// When something cannot be built, started, or does not answer.
pub fn run(args: &Args) -> Result<bool> {
    let known = || SCENARIOS.iter().map(|scenario| scenario.name).chain([IDLE]);
    let unknown = args.scenarios.iter().find(|name| !known().any(|known| known == name.as_str()));
    let list = known().collect::<Vec<_>>().join(", ");
    ensure!(unknown.is_none(), "no scenario `{}`; there are: {list}", unknown.map_or("", String::as_str));
    raise_descriptors()?;
    let folder = workspace::target().join("rig");
    let rig = Rig::start(args, &folder)?;
    let wanted = |name: &str| args.scenarios.is_empty() || args.scenarios.iter().any(|wanted| wanted == name);

    let mut comparisons = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let comparison = rig.compare(scenario)?;
        println!("\n{}", comparison.table());
        comparisons.push(comparison);
    }
    let idles = if wanted(IDLE) { rig.idle()? } else { Vec::new() };
    if let Some(file) = &args.json {
        let all = serde_json::json!({ "comparisons": comparisons, "idle": idles });
        fs::write(file, format!("{all:#}\n")).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(true)
}

/// Everything that stays the same over the scenarios.
struct Rig<'a> {
    args: &'a Args,
    folder: &'a Path,
    upstreams: Vec<(Server, std::net::SocketAddr)>,
    floor: PathBuf,
    gateway: Option<PathBuf>,
}

impl<'a> Rig<'a> {
    fn start(args: &'a Args, folder: &'a Path) -> Result<Self> {
        let own_gateway = !args.no_gateway && args.gateway.is_none();
        let mut build = match own_gateway {
            true => workspace::release_build(),
            false => workspace::cargo(&["build", "--release", "--locked", "--package", "erlmcp-bench"]),
        };
        ensure!(run::shown(&mut build, BUILD_LIMIT)?, "cannot build what is measured");
        let built = workspace::target().join("release");
        let gateway = args.gateway.clone().unwrap_or_else(|| built.join("erlmcp"));
        let gateway = (!args.no_gateway).then_some(gateway);
        if let Some(missing) = gateway.as_ref().filter(|path| !path.is_file()) {
            anyhow::bail!("no gateway at {}", missing.display());
        }
        let mut upstreams = Vec::new();
        for number in 1..=2 {
            let addr = free_addr()?;
            let spec = ServerSpec::new(built.join("hello")).arg(addr.to_string()).cpus(LOAD_CPU);
            let mut server = spec.start(folder.join(format!("hello{number}.log")))?;
            server.wait_for_port(addr, START_LIMIT)?;
            upstreams.push((server, addr));
        }
        Ok(Self { args, folder, upstreams, floor: built.join("floor"), gateway })
    }

    fn compare(&self, scenario: &Scenario) -> Result<Comparison> {
        let (rounds, seconds) = if self.args.quick { (1, 1) } else { (self.args.rounds, self.args.seconds) };
        let plan = Plan {
            name: scenario.name.to_owned(),
            path: scenario.path.to_owned(),
            connections: scenario.connections,
            rounds: rounds.max(1),
            duration: Duration::from_secs(seconds),
            load_cpus: LOAD_CPU.to_owned(),
        };
        let mut candidates = self.candidates(true)?;
        if scenario.capped {
            candidates.push(self.with_setting(|setting| peers::haproxy(setting, Some(POOL_CAP)))?);
        }
        let comparison = compare::run(&plan, &candidates, self.folder, |line| println!("{line}"))?;
        let failing = comparison.rows.iter().find(|row| row.errors > 0 && self.args.quick);
        ensure!(failing.is_none(), "errors under load: {failing:?}");
        Ok(comparison)
    }

    fn idle(&self) -> Result<Vec<Idle>> {
        let streams = if self.args.quick { IDLE_STREAMS_QUICK } else { IDLE_STREAMS };
        println!(
            "\nidle: proportional set size, {} to {} event streams\n\n{}",
            streams.0,
            streams.1,
            idle::TABLE_HEAD
        );
        let mut rows = Vec::new();
        for candidate in self.candidates(false)? {
            let log = self.folder.join(format!("idle-{}.log", candidate.name));
            let row = idle::run(&candidate, "/sse", streams, &log)?;
            println!("{}", row.row());
            rows.push(row);
        }
        Ok(rows)
    }

    /// The gateway in each driver asked for, and the peers; the floor comes first, where it takes part.
    fn candidates(&self, with_floor: bool) -> Result<Vec<Candidate>> {
        let mut all = Vec::new();
        if with_floor {
            all.push(self.with_setting(|setting| peers::floor(setting, &self.floor))?);
        }
        if let Some(binary) = &self.gateway {
            for driver in &self.args.driver {
                all.push(self.gateway(binary, driver)?);
            }
        }
        all.push(self.with_setting(peers::nginx)?);
        all.push(self.with_setting(|setting| peers::haproxy(setting, None))?);
        Ok(all)
    }

    fn with_setting(
        &self,
        make: impl FnOnce(&Setting<'_>) -> std::io::Result<Candidate>,
    ) -> Result<Candidate> {
        let upstreams: Vec<_> = self.upstreams.iter().map(|(_, addr)| *addr).collect();
        let access_log = !self.args.no_access_log;
        let setting = Setting { folder: self.folder, cpu: SERVER_CPU, upstreams: &upstreams, access_log };
        make(&setting).context("set up a peer")
    }

    fn gateway(&self, binary: &Path, driver: &str) -> Result<Candidate> {
        let (addr, admin) = (free_addr()?, free_addr()?);
        let mut server = ServerSpec::new(binary)
            .args(["run", "--listen", &addr.to_string(), "--admin", &admin.to_string()])
            .args(["--cpus", SERVER_CPU, "--driver", driver]);
        for (_, upstream) in &self.upstreams {
            server = server.arg("--upstream").arg(format!("http://{upstream}"));
        }
        if self.args.no_access_log {
            server = server.args(["--set", "runtime.access_log.enabled=false"]);
        }
        let name = if driver == "auto" { "erlmcp".to_owned() } else { format!("erlmcp-{driver}") };
        Ok(Candidate { name, server, addr })
    }
}

/// Raises the soft limit on descriptors, which everything started here inherits.
fn raise_descriptors() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |value: Option<u64>| value.is_none_or(|value| value >= DESCRIPTORS);
    if enough(limit.current) {
        return Ok(());
    }
    ensure!(
        enough(limit.maximum),
        "at most {:?} descriptors here, {DESCRIPTORS} needed: `ulimit -Hn`",
        limit.maximum
    );
    let raised = Rlimit { current: Some(DESCRIPTORS), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("raise the limit on descriptors")
}
