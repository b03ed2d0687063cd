//! What is to be planned: flags and scenario as the planner's [`PlanSpec`].
//!
//! Owns what flags mean together. Resolves names and reads the baseline; sends nothing but probing connections.

use std::net::SocketAddr;

use anyhow::Context as _;
use erlmcp_bench::capacity::baseline::Baseline;
use erlmcp_bench::capacity::nodes::Peak;
use erlmcp_bench::capacity::queue::{Effort, Placement};
use erlmcp_bench::capacity::usl::Knees;
use erlmcp_bench::capacity::{Goal, NodeSize, PlanSpec, ShardRun};
use erlmcp_bench::load::{Target, Think};
use erlmcp_config::model::scenario::{Arrivals, TargetUrl};

use super::args::{ClusterArgs, PlacementArg, PlanArgs, ShardUrl};
use crate::cli::bench::args::PaceArgs;
use crate::cli::bench::resolve::{Resolved, look_up, resolve};
use crate::cli::bench::spec::{Refusal, Wanted};

/// The planner's order, and what the user should know about it.
pub(super) struct Order {
    pub(super) spec: PlanSpec,
    pub(super) notes: Vec<String>,
}

impl Order {
    /// From the flags.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn new(args: &PlanArgs) -> Result<Self, Refusal> {
        if args.too_many() {
            return Err(Refusal::Usage("too many sizes: a scaling law takes at most 64".to_owned()));
        }
        let most = args.connections.iter().max().copied();
        let pace = PaceArgs::plan(most, args.warmup);
        let wanted = Wanted::new(&args.load, &pace)?;
        let goals = goals(args, &wanted)?;
        let mut notes = wanted.notes.clone();
        if wanted.scenario.think.is_some() || wanted.scenario.arrivals != Arrivals::Closed {
            notes.push(
                "rates, lengths and pauses are the planner's own; the scenario's are not used".to_owned(),
            );
        }
        let resolved = resolve(&wanted.url)?;
        notes.extend(resolved.notes.iter().map(|note| format!("left out {note}")));
        let mut load = wanted.spec(&args.load, &resolved);
        load.think = Think::No;
        let mut spec = PlanSpec::new(load, goals, args.trial, args.final_trial);
        set_search(&mut spec, args);
        spec.shard_runs = shard_runs(args)?;
        spec.peak = args.cluster.peak.map(|rate| peak(rate.0, &args.cluster));
        spec.node = node(&args.cluster);
        spec.baseline =
            args.baseline.as_deref().map(Baseline::read).transpose().map_err(anyhow::Error::from)?;
        Ok(Self { spec, notes })
    }
}

/// Those of the flags and of the scenario, each once.
fn goals(args: &PlanArgs, wanted: &Wanted) -> Result<Vec<Goal>, Refusal> {
    let written: Vec<&str> = args.goals.iter().chain(&wanted.scenario.goals).map(String::as_str).collect();
    if written.is_empty() {
        return Err(Refusal::Usage(
            "no goal: give one, such as --goal 'p99 < 5ms', or write `goals` into the scenario".to_owned(),
        ));
    }
    Goal::parse_all(&written.join(", ")).map_err(|error| Refusal::Usage(error.to_string()))
}

fn set_search(spec: &mut PlanSpec, args: &PlanArgs) {
    spec.search.width = args.width;
    spec.search.time_max = args.time_max;
    spec.search.rate_max = args.rate_max.map_or(spec.search.rate_max, |rate| rate.0);
    spec.search.rate_start = spec.search.rate_start.min(spec.search.rate_max);
    if args.no_scaling {
        spec.connections = Vec::new();
    } else if args.connections.len() > 1 {
        spec.connections.clone_from(&args.connections);
        spec.connections.sort_unstable();
        spec.connections.dedup();
    }
    if args.quick {
        spec.effort = Effort::QUICK;
    }
    spec.shards = args.server.shards;
    spec.placement = match args.server.placement {
        PlacementArg::LeastLoaded => Placement::LeastLoaded,
        PlacementArg::Random => Placement::Random,
    };
    spec.knees = Knees { cores: args.server.physical_cores, node_cores: args.server.numa_cores };
    spec.server_pid = args.server.server_pid;
    spec.threshold = args.threshold;
    spec.keep = args.save.is_some();
}

fn shard_runs(args: &PlanArgs) -> Result<Vec<ShardRun>, Refusal> {
    let each = args.server.shard_urls.iter().map(|wanted| {
        let ShardUrl { shards, url } = wanted;
        let Some(start) = &args.server.start else {
            let Resolved { addrs, .. } = resolve(url)?;
            return Ok(ShardRun { shards: *shards, target: target(url, addrs), command: None });
        };
        let addrs = look_up(url)?;
        let first = *addrs.first().with_context(|| format!("`{}` has no address", url.host))?;
        let put_in = |word: &str| {
            word.replace("{shards}", &shards.to_string()).replace("{address}", &first.to_string())
        };
        let command = start.split_whitespace().map(put_in).collect();
        Ok(ShardRun { shards: *shards, target: target(url, vec![first]), command: Some(command) })
    });
    each.collect::<anyhow::Result<_>>().map_err(Refusal::from)
}

fn target(url: &TargetUrl, addrs: Vec<SocketAddr>) -> Target {
    Target { url: url.text.clone(), addrs, host: url.authority(), path: url.path.clone() }
}

const fn peak(rate_per_s: f64, cluster: &ClusterArgs) -> Peak {
    let ClusterArgs { growth, headroom, failed, zones, .. } = cluster;
    Peak { rate_per_s, growth: *growth, headroom: *headroom, failed: *failed, zones: *zones }
}

const fn node(cluster: &ClusterArgs) -> NodeSize {
    NodeSize {
        cores: cluster.node_cores,
        descriptors: cluster.node_descriptors,
        memory_bytes: cluster.node_memory,
        ports: cluster.node_ports,
        bandwidth_bits_per_s: cluster.node_bandwidth,
    }
}
