//! One trial: a load for a time, and what came of it.
//!
//! Owns the trait behind which either the real load generator or a simulated system stands, so that the search is tested
//! against systems whose truth is known. Never judges: goals do.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Progress;
use super::plan::ShardRun;

/// Share of the due requests that may still be on their way at the end of a trial of a server that keeps up.
const UNANSWERED_SHARE_MAX: f64 = 0.01;

/// What a trial is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// Requests per second, Poisson arrivals; `None` is a closed loop.
    pub rate: Option<f64>,
    /// Virtual clients.
    pub connections: u32,
    /// Measured.
    pub duration: Duration,
    /// Of the schedule. Each trial has its own, or noise would repeat itself.
    pub seed: u64,
}

/// How far a trial may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The generator did what was asked.
    Valid,
    /// With reserve: reasons.
    Degraded(Vec<String>),
    /// The generator, not the server, was measured: reasons. Such a trial decides nothing.
    Invalid(Vec<String>),
}

/// What a server's process used during a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ServerUse {
    /// CPU time per request, microseconds.
    pub cpu_us_per_request: f64,
    /// Open files in the middle of the trial.
    pub descriptors: u64,
    /// Proportional set size in the middle of the trial, bytes.
    pub memory_bytes: u64,
}

/// What a trial measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was asked.
    pub ask: Ask,
    /// Requests due by the schedule.
    pub due: u64,
    /// Whole good replies.
    pub completed: u64,
    /// Failures.
    pub errors: u64,
    /// Bytes received and sent.
    pub bytes: u64,
    /// Time measured; shorter than asked when the trial was cut.
    pub elapsed: Duration,
    /// Wall time that the trial took, warm-up and connecting included.
    pub took: Duration,
    /// From the intended start, nanoseconds.
    pub response: Histogram<u64>,
    /// From the send, nanoseconds.
    pub service: Histogram<u64>,
    /// What the server's process used, where it is known.
    pub server: Option<ServerUse>,
    /// The generator had hardly a moment to wait: in a closed loop the rate is its own, not the server's.
    pub generator_bound: bool,
    /// How far it may be believed.
    pub evidence: Evidence,
}

impl Measured {
    /// Good replies per second.
    #[must_use]
    pub fn achieved(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Failures over all that ended, 0..=1; 1 where nothing ended.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let ended = self.completed + self.errors;
        if ended == 0 { 1.0 } else { self.errors as f64 / ended as f64 }
    }

    /// Whether no more was left unanswered than each connection's one request and a hundredth of all.
    #[must_use]
    pub fn keeps_up(&self) -> bool {
        let unanswered = self.due.saturating_sub(self.completed + self.errors);
        unanswered as f64 <= f64::from(self.ask.connections) + self.due as f64 * UNANSWERED_SHARE_MAX
    }
}

/// Why no further trial can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// The user asked for the end.
    #[error("stopped")]
    Stopped,
    /// The load generator or the server could not be run.
    #[error("{0}")]
    Failed(String),
}

/// Where the systems under load come from.
pub trait Rig {
    /// The system, ready for trials: the target itself, or one with another number of shards, which is started where it has
    /// a command and ended when the trial is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    fn system(&mut self, run: Option<&ShardRun>) -> Result<Box<dyn Trial + '_>, TrialError>;
}

/// A system under load.
pub trait Trial {
    /// Runs one trial, bounded in time by the asked duration and a constant.
    ///
    /// # Errors
    /// When no further trial makes sense; what a single trial shows of a bad server is no error.
    fn run(&mut self, ask: &Ask, progress: &mut dyn Progress) -> Result<Measured, TrialError>;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load::new_histogram;

    /// A trial of one second with these response times (nanoseconds, count) and errors.
    pub(in crate::capacity) fn measured(rate: f64, times: &[(u64, u64)], errors: u64) -> Measured {
        let mut response = new_histogram();
        for &(value, count) in times {
            response.record_n(value, count).expect("within bounds");
        }
        let completed = response.len();
        Measured {
            ask: Ask { rate: Some(rate), connections: 1, duration: Duration::from_secs(1), seed: 0 },
            due: completed + errors,
            completed,
            errors,
            bytes: 0,
            elapsed: Duration::from_secs(1),
            took: Duration::from_secs(1),
            service: response.clone(),
            response,
            server: None,
            generator_bound: false,
            evidence: Evidence::Valid,
        }
    }

    #[test]
    fn one_request_a_connection_and_a_hundredth_may_be_on_their_way() {
        let mut trial = measured(100.0, &[(1_000_000, 990)], 0);
        trial.due = 1_000;
        assert!(trial.keeps_up());
        trial.due = 1_002;
        assert!(!trial.keeps_up());
        trial.ask.connections = 64;
        assert!(trial.keeps_up());
    }

    #[test]
    fn nothing_answered_is_all_failed() {
        assert!((measured(1.0, &[], 0).error_share() - 1.0).abs() < f64::EPSILON);
        assert!((measured(1.0, &[(5_000, 3)], 1).error_share() - 0.25).abs() < f64::EPSILON);
    }
}
