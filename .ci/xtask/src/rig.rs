//! `cargo xtask rig`: builds what is measured, then compares it as `erlmcp bench compare` does.
//!
//! Owns the building and the places of the built programs. Everything else is [`erlmcp_bench::compare`]'s. It reports and
//! never judges a speed; it fails only when somebody does not answer.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use erlmcp_bench::compare::{self, Kind, LoadBy, Plan, Program, Programs, Scenario, Step, Who};
use erlmcp_bench::load::Stop;

use crate::{run, workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// Arguments of `cargo xtask rig`.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios: small, 64k, 1m, new, idle, tls, tls-new, websocket, runtimes, each also with -CONNECTIONS, such as
    /// small-1000; all when none is given, runtimes only with --quick or when named
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    /// One round of one second each: shows that everyone answers, nothing about speed
    #[arg(long)]
    quick: bool,
    /// Who takes part: floor, erlmcp, erlmcp-io_uring, erlmcp-epoll, nginx, haproxy, haproxy-cap, envoy; the first is
    /// what ratios refer to
    #[arg(long, value_delimiter = ',')]
    only: Vec<Who>,
    /// Rounds per scenario
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds per server and round
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The gateway's binary [default: the one that is built]
    #[arg(long, env = "ERLMCP_BIN")]
    gateway: Option<PathBuf>,
    /// Load by wrk, to cross-check the own generator; no latency then
    #[arg(long)]
    wrk: bool,
    /// No latency at a fixed rate
    #[arg(long)]
    no_latency: bool,
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
    build(args)?;
    let progress = &mut |step: &Step<'_>| {
        let Step { scenario, number, scenarios, done, total, text } = step;
        println!("{number}/{scenarios} {scenario} {done}/{total} {text}");
    };
    let report = compare::run(&plan(args)?, progress, &Stop::default())?;
    println!("\n{}", report.markdown());
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&report).context("write the report as JSON")?;
        fs::write(file, json + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(true)
}

fn build(args: &Args) -> Result<()> {
    let mut build = match args.gateway {
        None => workspace::release_build(),
        Some(_) => workspace::cargo(&["build", "--release", "--locked", "--package", "erlmcp-bench"]),
    };
    ensure!(run::shown(&mut build, BUILD_LIMIT)?, "cannot build what is measured");
    if scenarios(args).iter().any(|scenario| scenario.kind == Kind::Runtimes) {
        let features = ["--package", "erlmcp-bench", "--features", "runtimes"];
        let mut build = workspace::cargo(&["build", "--release", "--locked"]);
        ensure!(run::shown(build.args(features), BUILD_LIMIT)?, "cannot build the servers on other runtimes");
    }
    Ok(())
}

/// A quick run shows everything once; a real one measures the runtimes, which two more have to be built for, on request.
fn scenarios(args: &Args) -> Vec<Scenario> {
    match (args.scenarios.as_slice(), args.quick) {
        ([], true) => Scenario::defaults().into_iter().chain([Scenario::of(Kind::Runtimes)]).collect(),
        ([], false) => Scenario::defaults(),
        (named, _) => named.to_vec(),
    }
}

fn plan(args: &Args) -> Result<Plan> {
    let mut programs = Programs::find(&workspace::target().join("release"), Some(&workspace::tools()));
    if let Some(gateway) = &args.gateway {
        ensure!(gateway.is_file(), "no gateway at {}", gateway.display());
        programs.gateway = Some(Program::new(gateway));
    }
    let plan = Plan::new(workspace::target().join("rig"), programs);
    let mut plan = Plan {
        rounds: args.rounds,
        duration: Duration::from_secs(args.seconds),
        latency: !args.no_latency,
        load: if args.wrk { LoadBy::Wrk } else { LoadBy::Own },
        access_log: !args.no_access_log,
        ..plan
    };
    plan.scenarios = scenarios(args);
    if !args.only.is_empty() {
        plan.candidates.clone_from(&args.only);
    }
    Ok(if args.quick { plan.quick() } else { plan })
}
