//! What a plan is asked and what it answers: the interface of the command line.
//!
//! Owns the types alone. Never measures.

use std::time::Duration;

use serde::Serialize;

use super::baseline::{Baseline, BaselineError, Comparison};
use super::goals::Goal;
use super::nodes::{NodePlan, NodesError, Peak};
use super::queue::{Backtest, Effort, Model, Placement, Prediction};
use super::record::TrialRecord;
use super::search::{GoalResult, SearchSpec};
use super::usl::{Knees, Usl};
use crate::certificate::Verdict;
use crate::load;
use crate::report::Host;

/// A server with another number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRun {
    /// How many.
    pub shards: u32,
    /// Where it listens.
    pub target: load::Target,
    /// What starts it, program first; `None` where it runs already. It is ended after its trials.
    pub command: Option<Vec<String>>,
}

/// What a node of the planned cluster has; what is `None` is not planned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NodeSize {
    /// CPU cores for the server.
    pub cores: Option<f64>,
    /// Open files that the server may have.
    pub descriptors: Option<u64>,
    /// Memory for the server, bytes.
    pub memory_bytes: Option<u64>,
    /// Local ports towards one upstream address.
    pub ports: Option<u64>,
    /// Network, both directions together, bits per second.
    pub bandwidth_bits_per_s: Option<f64>,
}

/// What to plan.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    /// Target, protocol, mix, threads and driver of every trial; rate, connections, length and seed are the plan's.
    pub load: load::Spec,
    /// At least one.
    pub goals: Vec<Goal>,
    /// How to search; its `connections` are those of the load steps and the reference trials, too.
    pub search: SearchSpec,
    /// Closed-loop sizes for the scaling law, ascending; empty leaves it out.
    pub connections: Vec<u32>,
    /// Servers for the scaling law over shards; empty leaves it out.
    pub shard_runs: Vec<ShardRun>,
    /// Shards of the target, for the queue model.
    pub shards: u32,
    /// How the target places connections on them.
    pub placement: Placement,
    /// How much the queue model simulates.
    pub effort: Effort,
    /// Cores behind the sizes, for warnings.
    pub knees: Knees,
    /// Process of the server, where it runs on this machine: its CPU, memory and descriptors are measured.
    pub server_pid: Option<u32>,
    /// What the cluster has to bear; `None` leaves the number of nodes out.
    pub peak: Option<Peak>,
    /// What a node has.
    pub node: NodeSize,
    /// Earlier result to compare with.
    pub baseline: Option<Baseline>,
    /// Difference beyond which a significant one is a regression, 0.05 for 5 %.
    pub threshold: f64,
    /// Measure the reference trials even without a baseline: their result is to be kept.
    pub keep: bool,
}

impl PlanSpec {
    /// A plan with the defaults for everything but load, goals and the two trial lengths.
    #[must_use]
    pub fn new(load: load::Spec, goals: Vec<Goal>, trial: Duration, final_trial: Duration) -> Self {
        let search = SearchSpec { seed: load.seed, ..SearchSpec::new(load.connections, trial, final_trial) };
        Self {
            connections: sizes_up_to(load.connections),
            load,
            goals,
            search,
            shard_runs: Vec::new(),
            shards: 1,
            placement: Placement::LeastLoaded,
            effort: Effort::FULL,
            knees: Knees::default(),
            server_pid: None,
            peak: None,
            node: NodeSize::default(),
            baseline: None,
            threshold: 0.05,
            keep: false,
        }
    }
}

/// Powers of two up to `most`, and it; at least up to 16, so that the law has five sizes.
fn sizes_up_to(most: u32) -> Vec<u32> {
    let most = most.clamp(16, 1 << 16);
    let mut sizes: Vec<u32> = (0..17).map(|power| 1 << power).take_while(|size| *size < most).collect();
    sizes.push(most);
    sizes
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The question makes no sense.
    #[error("{0}")]
    Spec(String),
    /// The load generator or a server could not be run.
    #[error("{0}")]
    Trial(String),
    /// The baseline is of something else.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// The number of nodes cannot be told.
    #[error(transparent)]
    Nodes(#[from] NodesError),
}

/// A scaling law over some size, and what it stands on.
#[derive(Clone, Debug, Serialize)]
pub struct ScalingReport {
    /// "connections" or "shards".
    pub over: &'static str,
    /// Closed-loop trials, by size.
    pub trials: Vec<TrialRecord>,
    /// Size and throughput of those that count.
    pub points: Vec<(f64, f64)>,
    /// The fit; `None` where the trials do not carry one.
    pub usl: Option<Usl>,
    /// Why there is none.
    pub refused: Option<String>,
}

/// What the queue model says.
#[derive(Clone, Debug, Serialize)]
pub struct QueueReport {
    /// Shards, connections and placement of the target.
    pub model: Model,
    /// Predicted against measured.
    pub backtest: Backtest,
    /// At the highest rate that meets the goals: as the target is, with the other placement, and with its figures varied.
    pub at_lower: Vec<(String, Prediction)>,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The machine that the generator ran on.
    pub host: Host,
    /// As the user wrote it.
    pub url: String,
    /// Virtual clients of search, steps and reference trials.
    pub connections: u32,
    /// For all goals together.
    pub all: GoalResult,
    /// For each goal alone, where there are several.
    pub each: Vec<GoalResult>,
    /// Trials of the search, in order.
    pub search_trials: Vec<TrialRecord>,
    /// Good replies per second of a closed loop, requests per second.
    pub saturation_per_s: Option<f64>,
    /// Load steps, ascending: the curve of latency against load.
    pub steps: Vec<TrialRecord>,
    /// The queue model and its back-test; `None` where the steps do not carry one.
    pub queue: Option<QueueReport>,
    /// Scaling laws.
    pub scaling: Vec<ScalingReport>,
    /// How many nodes.
    pub nodes: Option<NodePlan>,
    /// Trials at one rate, for the comparison.
    pub reference_trials: Vec<TrialRecord>,
    /// Then and now.
    pub comparison: Option<Comparison>,
    /// To be kept as a baseline; `None` where reference trials were not asked for or did not count.
    #[serde(skip)]
    pub record: Option<Baseline>,
    /// What to beware of.
    pub notes: Vec<String>,
    /// Worst verdict of the trials that count, over all parts.
    pub verdict: Verdict,
    /// The user stopped it: everything in here is partial.
    pub stopped: bool,
    /// Wall time, seconds.
    pub took_s: f64,
}

impl Plan {
    /// Whether something regressed: the command exits 1.
    #[must_use]
    pub fn regressed(&self) -> bool {
        self.comparison.as_ref().is_some_and(|comparison| comparison.regressed)
    }
}
