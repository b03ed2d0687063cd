//! `erlmcp tune cpus`.

use clap::{Args, Subcommand};
use erlmcp_tuning::{cpu_list, plan, probe};
use serde_json::json;

use super::{Outcome, print, print_json};

/// What to look at.
#[derive(Debug, Subcommand)]
pub(super) enum TuneCommand {
    /// Say which processors `run` would use for what, and what restricts them.
    Cpus(CpusArgs),
}

/// How to report.
#[derive(Debug, Args)]
pub(super) struct CpusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &TuneCommand) -> Outcome {
    let TuneCommand::Cpus(args) = command;
    let roots = probe::Roots::default();
    let found = probe::cpus(&roots)?;
    let limits = probe::limits(&roots)?;
    let plan = plan::cpus(&found, &plan::CpuWish::default())?;
    if args.json {
        print_json(&json!({
            "affinity": found.affinity, "cpuset": found.cpuset, "online": found.online,
            "shards": plan.shards, "housekeeping": plan.housekeeping,
            "descriptors": { "soft": limits.descriptors.soft, "hard": limits.descriptors.hard },
            "locked_memory_bytes": { "soft": limits.locked_memory_bytes.soft, "hard": limits.locked_memory_bytes.hard },
        }))?;
        return Ok(true);
    }
    let list = |set: &Option<std::collections::BTreeSet<usize>>| {
        set.as_ref().map_or_else(|| "not restricted".to_owned(), cpu_list::format)
    };
    let limit = |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
    print(&format!(
        "affinity       {}\ncpuset         {}\nonline         {}\nshards         {}\nhousekeeping   {}\n\
         descriptors    {} (at most {})\nlocked memory  {} bytes (at most {})",
        cpu_list::format(&found.affinity),
        list(&found.cpuset),
        list(&found.online),
        cpu_list::format(&plan.shards),
        cpu_list::format(&plan.housekeeping),
        limit(limits.descriptors.soft),
        limit(limits.descriptors.hard),
        limit(limits.locked_memory_bytes.soft),
        limit(limits.locked_memory_bytes.hard),
    ))?;
    Ok(true)
}
