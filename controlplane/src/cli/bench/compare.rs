//! `erlmcp bench compare`: the gateway and its peers on this machine.
//!
//! Owns flags and printing. What is measured and how is [`erlmcp_bench::compare`]'s.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use erlmcp_bench::compare::{self, LoadBy, Plan, Program, Programs, Scenario, Step, Who};

use super::args::{parse_time, parse_time_or_zero};
use crate::cli::interrupt::stop_on_signals;
use crate::cli::progress::Progress;
use crate::cli::{Outcome, print};

/// Flags of `bench compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Servers and load are started here, on the loopback, and pinned; whoever is not installed is named as absent.\n\
The reference programs `hello` and `floor` are looked for beside `erlmcp`: build them with `cargo build --release -p erlmcp-bench`.\n\n\
Examples:\n  erlmcp bench compare --quick\n      shows that everyone answers\n  \
erlmcp bench compare small-64 small-1000 --rounds 9 --json\n      nine interleaved rounds of two scenarios"
)]
pub(in crate::cli) struct CompareArgs {
    /// small, 64k, 1m, new, idle, tls, tls-new, websocket or runtimes, with a number of connections behind `-` where wanted [default: the whole set].
    #[arg(value_name = "SCENARIO", value_parser = str::parse::<Scenario>)]
    scenarios: Vec<Scenario>,
    /// Who takes part; the first is what ratios refer to [default: all that are installed].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = str::parse::<Who>)]
    candidates: Vec<Who>,
    /// Interleaved rounds per scenario [default: 7].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Measured time per candidate and round [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,
    /// Load before it [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_zero)]
    warmup: Option<Duration>,
    /// Leave out latency at a fixed rate.
    #[arg(long)]
    no_latency: bool,
    /// Nobody writes an access log.
    #[arg(long)]
    no_access_log: bool,
    /// One short round that shows that everyone answers, nothing about speed.
    #[arg(long)]
    quick: bool,
    /// What puts the load on.
    #[arg(long, value_name = "LOAD", default_value = "own")]
    load: LoadArg,
    /// Another Envoy than that in PATH.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Configuration files and logs of the servers [default: a folder in the temporary directory].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document instead of Markdown.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadArg {
    /// This program's generator.
    Own,
    /// wrk: closed loops only.
    Wrk,
}

pub(super) fn run(args: &CompareArgs) -> Outcome {
    let plan = plan(args)?;
    let stop = stop_on_signals()?;
    let mut progress = Progress::start();
    let mut tell = |step: &Step<'_>| {
        let Step { scenario, number, scenarios, done, total, text } = step;
        let before = (*number as f64 - 1.0) + f64::from(*done) / f64::from(*total).max(1.0);
        progress.at(before / *scenarios as f64, || format!("{scenario} {done}/{total}: {text}"));
    };
    let report = compare::run(&plan, &mut tell, &stop);
    drop(progress);
    let report = report.context("compare servers")?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).context("write the report as JSON")?;
        print(&json)?;
    } else {
        print(&report.markdown())?;
    }
    Ok(report.cut.is_none())
}

fn plan(args: &CompareArgs) -> anyhow::Result<Plan> {
    let own = std::env::current_exe().context("find this program")?;
    let beside = own.parent().context("find this program's folder")?;
    let mut programs = Programs::find(beside, None);
    programs.gateway = Some(Program::new(&own));
    if let Some(envoy) = &args.envoy {
        programs.envoy = Some(Program::new(envoy));
    }
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("erlmcp-compare-{}", std::process::id())));
    let mut plan = Plan::new(folder, programs);
    if args.quick {
        plan = plan.quick();
    }
    if !args.scenarios.is_empty() {
        plan.scenarios.clone_from(&args.scenarios);
    }
    if !args.candidates.is_empty() {
        plan.candidates.clone_from(&args.candidates);
    }
    plan.rounds = args.rounds.unwrap_or(plan.rounds);
    plan.duration = args.duration.unwrap_or(plan.duration);
    plan.warmup = args.warmup.unwrap_or(plan.warmup);
    plan.latency = !args.no_latency;
    plan.access_log = !args.no_access_log;
    plan.load = match args.load {
        LoadArg::Own => LoadBy::Own,
        LoadArg::Wrk => LoadBy::Wrk,
    };
    Ok(plan)
}
