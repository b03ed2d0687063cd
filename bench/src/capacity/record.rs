//! What is kept of a trial for the report: its figures, without its histograms.
//!
//! Owns the row of a trial. Times in milliseconds, rates per second, as the names say.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::goals::{Goal, Met};
use super::trial::{Evidence, Measured, ServerUse};
use crate::stats;

/// Quantiles of a histogram, milliseconds; `None` where its samples are too few to carry the quantile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Median.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p90_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
    /// 99.9 %.
    pub p999_ms: Option<f64>,
    /// Longest.
    pub max_ms: f64,
    /// Mean.
    pub mean_ms: f64,
}

impl Times {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |p: f64| {
            let carried = histogram.len() >= stats::samples_least(p);
            carried.then(|| histogram.value_at_quantile(p) as f64 / 1e6)
        };
        Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e6,
            mean_ms: histogram.mean() / 1e6,
        }
    }
}

/// A trial as reports show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialRecord {
    /// Why it was run.
    pub purpose: String,
    /// Requests per second asked for; `None` in a closed loop.
    pub asked_per_s: Option<f64>,
    /// Virtual clients.
    pub connections: u32,
    /// Measured, seconds.
    pub duration_s: f64,
    /// Good replies per second.
    pub achieved_per_s: f64,
    /// Requests measured: good and failed ones.
    pub samples: u64,
    /// Received and sent, over the requests.
    pub bytes_per_request: f64,
    /// Failures over all that ended, 0..=1.
    pub error_share: f64,
    /// From the intended start; `None` of a trial that decides nothing, for its times are not the server's.
    pub response: Option<Times>,
    /// From the send; `None` likewise.
    pub service: Option<Times>,
    /// What the server's process used, where it is known.
    pub server: Option<ServerUse>,
    /// The generator was the bottleneck.
    pub generator_bound: bool,
    /// Whether each goal was met, in their order; empty where no goal was asked.
    pub met: Vec<bool>,
    /// VALID, DEGRADED or INVALID.
    pub verdict: &'static str,
    /// Why not VALID.
    pub reasons: Vec<String>,
}

impl TrialRecord {
    /// The row of a trial.
    #[must_use]
    pub fn new(purpose: &str, trial: &Measured, goals: &[Goal]) -> Self {
        let (verdict, reasons) = match &trial.evidence {
            Evidence::Valid => ("VALID", Vec::new()),
            Evidence::Degraded(reasons) => ("DEGRADED", reasons.clone()),
            Evidence::Invalid(reasons) => ("INVALID", reasons.clone()),
        };
        let met = Met::judge(goals, trial);
        let trusted = !matches!(trial.evidence, Evidence::Invalid(_));
        let times = |histogram| trusted.then(|| Times::of(histogram));
        Self {
            purpose: purpose.to_owned(),
            asked_per_s: trial.ask.rate,
            connections: trial.ask.connections,
            duration_s: trial.elapsed.as_secs_f64(),
            achieved_per_s: trial.achieved(),
            samples: trial.completed + trial.errors,
            bytes_per_request: trial.bytes as f64 / (trial.completed + trial.errors).max(1) as f64,
            error_share: trial.error_share(),
            response: times(&trial.response),
            service: times(&trial.service),
            server: trial.server,
            generator_bound: trial.generator_bound,
            met: (0..goals.len()).map(|i| met.all_of(1 << i)).collect(),
            verdict,
            reasons,
        }
    }

    /// Whether it decides anything.
    #[must_use]
    pub fn is_evidence(&self) -> bool {
        self.verdict != "INVALID"
    }
}
