//! Flags of `erlmcp plan`, parsed one by one. What they mean together is [`super::spec`]'s.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use erlmcp_bench::capacity::Goal;
use erlmcp_config::model::scenario::{Rate, TargetUrl};
use erlmcp_config::units::parse_bytes;

use crate::cli::bench::args::{LoadArgs, parse_rate, parse_time, parse_time_or_zero};

/// Most sizes of a scaling law, as the planner has it.
const SIZES_MAX: usize = 64;

/// Flags of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Takes minutes: the search, load steps, the scaling law, and, with --baseline or --save, reference trials.\n\
Exit code 1 when something regressed, the plan was stopped, or nothing could be measured.\n\nExamples:\n  \
erlmcp plan --goal 'p99 < 5ms' --goal 'errors < 0.01%' http://10.0.0.5:8080/mcp\n      the highest rate within both goals\n  \
erlmcp plan --goal 'p99 < 5ms' --peak 200k/s --growth 30% --headroom 20% --failed 1 --zones 3 http://10.0.0.5:8080/mcp\n      how many such nodes\n  \
erlmcp plan --goal 'p99 < 5ms' --baseline before.json --save now.json http://10.0.0.5:8080/mcp\n      has anything become worse"
)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(super) load: LoadArgs,
    /// What a rate has to keep to, such as `p99 < 5ms` or `errors < 0.01%`; beside the scenario's goals. May be repeated.
    #[arg(long = "goal", value_name = "GOAL", value_parser = parse_goal)]
    pub(super) goals: Vec<String>,
    /// Virtual clients: the largest of these searches, all of them measure the scaling law [default: 64, and powers of two up to it].
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: Vec<u32>,
    /// Leave the scaling law over connections out.
    #[arg(long)]
    pub(super) no_scaling: bool,
    /// Length of the short trials.
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "5s")]
    pub(super) trial: Duration,
    /// Length of the trials that count in the end.
    #[arg(long = "final", value_name = "TIME", value_parser = parse_time, default_value = "20s")]
    pub(super) final_trial: Duration,
    /// Load before each trial.
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_zero, default_value = "500ms")]
    pub(super) warmup: Duration,
    /// Most time for the search.
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "20m")]
    pub(super) time_max: Duration,
    /// How near the bounds of the highest rate are to come.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "5%")]
    pub(super) width: f64,
    /// Highest rate that is tried.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) rate_max: Option<Rate>,
    /// Simulate a twentieth of the queue model's requests: for a look.
    #[arg(long)]
    pub(super) quick: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// An earlier result to compare with.
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// A significant difference beyond this is a regression.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "5%", requires = "baseline")]
    pub(super) threshold: f64,
    /// Keep the result for a later --baseline.
    #[arg(long, value_name = "FILE")]
    pub(super) save: Option<PathBuf>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// Write a page with plots.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// What is known of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "The server")]
pub(super) struct ServerArgs {
    /// Its shards, for the queue model.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), default_value = "1")]
    pub(super) shards: u32,
    /// How it places connections on them.
    #[arg(long, value_name = "HOW", default_value = "least-loaded")]
    pub(super) placement: PlacementArg,
    /// The same server with N shards, for the scaling law over shards. May be repeated.
    #[arg(long = "shard-url", value_name = "N=URL", value_parser = parse_shard_url)]
    pub(super) shard_urls: Vec<ShardUrl>,
    /// Starts each of these servers and ends it after its trials; `{shards}` and `{address}` are put in, blanks part the words.
    #[arg(long, value_name = "COMMAND", requires = "shard_urls")]
    pub(super) start: Option<String>,
    /// Its process, where it runs on this machine: CPU, memory and descriptors are measured.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) server_pid: Option<u32>,
    /// Physical cores that it may use, for warnings about hyper-threads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) physical_cores: Option<u32>,
    /// Cores of one NUMA node, for warnings about remote memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) numa_cores: Option<u32>,
}

/// What the cluster has to bear, and what a node of it has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Number of nodes")]
pub(super) struct ClusterArgs {
    /// Requests per second of the whole cluster at its peak: asks for the number of nodes.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) peak: Option<Rate>,
    /// Growth until the plan is made anew.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "0%", requires = "peak")]
    pub(super) growth: f64,
    /// Share of each node that stays unused at the peak.
    #[arg(long, value_name = "PERCENT", value_parser = parse_share, default_value = "20%", requires = "peak")]
    pub(super) headroom: f64,
    /// Nodes that may be down at the peak, besides a lost zone.
    #[arg(long, value_name = "N", default_value = "1", requires = "peak")]
    pub(super) failed: u64,
    /// Zones that the nodes are spread over, of which one may be lost; 0 or 1 plans for none.
    #[arg(long, value_name = "N", default_value = "0", requires = "peak")]
    pub(super) zones: u64,
    /// CPU cores of a node for the server.
    #[arg(long, value_name = "N", value_parser = parse_positive, requires = "peak")]
    pub(super) node_cores: Option<f64>,
    /// Open files that it may have.
    #[arg(long, value_name = "N", requires = "peak")]
    pub(super) node_descriptors: Option<u64>,
    /// Memory of a node for the server, such as 8Gi.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, requires = "peak")]
    pub(super) node_memory: Option<u64>,
    /// Local ports of a node towards one upstream address.
    #[arg(long, value_name = "N", requires = "peak")]
    pub(super) node_ports: Option<u64>,
    /// Network of a node, both directions together, such as 10Gbit.
    #[arg(long, value_name = "BITS", value_parser = parse_bits, requires = "peak")]
    pub(super) node_bandwidth: Option<f64>,
}

/// How connections come to shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlacementArg {
    /// As the gateway does it.
    LeastLoaded,
    /// By the kernel's hash, as servers with SO_REUSEPORT do.
    Random,
}

/// A server with so many shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardUrl {
    pub(super) shards: u32,
    pub(super) url: TargetUrl,
}

impl PlanArgs {
    /// Refuses more sizes than the planner takes.
    pub(super) fn too_many(&self) -> bool {
        self.connections.len() > SIZES_MAX || self.server.shard_urls.len() > SIZES_MAX
    }
}

fn parse_goal(text: &str) -> Result<String, String> {
    Goal::parse_all(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// `30%`, or `0.3`.
fn parse_share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let value: Option<f64> =
        number.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.map(|value| value / scale).ok_or_else(|| "it must be a share such as 30% or 0.3".to_owned())
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "it must be a number above zero".to_owned())
}

/// `10Gbit`, `25G`, `100Mbit`: bits per second, in powers of a thousand as networks count.
fn parse_bits(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("bit").unwrap_or(text);
    let units = [('k', 1e3), ('M', 1e6), ('G', 1e9), ('T', 1e12)];
    let found = units.iter().find_map(|(unit, scale)| Some((number.strip_suffix(*unit)?, *scale)));
    let (digits, scale) = found.unwrap_or((number, 1.0));
    parse_positive(digits)
        .map(|value| value * scale)
        .map_err(|_| "it must be bits per second such as 10Gbit".to_owned())
}

fn parse_shard_url(text: &str) -> Result<ShardUrl, String> {
    let (shards, url) =
        text.split_once('=').ok_or("it must be N=URL, such as 2=http://127.0.0.1:8082/mcp")?;
    let shards =
        shards.parse().ok().filter(|shards| *shards > 0).ok_or("the number of shards is above zero")?;
    Ok(ShardUrl { shards, url: url.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_bits() {
        assert_eq!((parse_share("30%"), parse_share("0.3"), parse_share("0 %")), (Ok(0.3), Ok(0.3), Ok(0.0)));
        assert!(parse_share("-1%").is_err() && parse_share("much").is_err() && parse_share("inf").is_err());
        assert_eq!(
            (parse_bits("10Gbit"), parse_bits("25G"), parse_bits("800")),
            (Ok(1e10), Ok(2.5e10), Ok(800.0))
        );
        assert!(parse_bits("0G").is_err() && parse_bits("fast").is_err());
    }

    #[test]
    fn servers_with_shards() {
        let found = parse_shard_url("2=http://a:1/mcp").unwrap();
        assert_eq!((found.shards, found.url.port), (2, 1));
        assert!(parse_shard_url("http://a").is_err() && parse_shard_url("0=http://a").is_err());
        assert!(parse_goal("p99 < 5ms").is_ok() && parse_goal("p99 > 5ms").is_err());
    }
}
