//! What checks have found, per endpoint. Pure: outcomes in, changes of state out.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::desired::CheckPlan;
use crate::endpoints::EndpointKey;
use crate::metrics::Durations;
use crate::supervise::lock;

/// What the checks say of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing yet: it counts as fit.
    Unknown,
    /// Fit.
    Up,
    /// Unfit.
    Down,
}

impl Status {
    /// Word in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One endpoint's checks.
#[derive(Debug, Clone)]
pub struct NodeHealth {
    /// What they say.
    pub status: Status,
    /// Whether it was ever up.
    pub was_up: bool,
    /// Equal outcomes in a row that speak against `status`.
    pub against: u32,
    /// Checks that were good.
    pub checks_good: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// Why the last check failed; `None` when it was good.
    pub error: Option<String>,
    /// How long the last check took.
    pub took: Duration,
    /// How long all of them took.
    pub durations: Durations,
    /// When `status` last changed.
    pub since: SystemTime,
}

impl Default for NodeHealth {
    fn default() -> Self {
        Self {
            status: Status::Unknown,
            was_up: false,
            against: 0,
            checks_good: 0,
            checks_failed: 0,
            error: None,
            took: Duration::ZERO,
            durations: Durations::default(),
            since: SystemTime::now(),
        }
    }
}

impl NodeHealth {
    /// Takes one outcome in; returns the new status when it changed.
    pub fn apply(&mut self, plan: &CheckPlan, outcome: Result<(), String>) -> Option<Status> {
        let good = outcome.is_ok();
        *(if good { &mut self.checks_good } else { &mut self.checks_failed }) += 1;
        self.error = outcome.err();
        let (next, threshold) = match (self.status, good) {
            (Status::Unknown, true) => (Status::Up, 1),
            (Status::Unknown, false) => (Status::Down, 1),
            (Status::Up, false) => (Status::Down, plan.unhealthy_threshold),
            // A node that starts after us has nothing to prove.
            (Status::Down, true) if !self.was_up => (Status::Up, 1),
            (Status::Down, true) => (Status::Up, plan.healthy_threshold),
            (Status::Up, true) | (Status::Down, false) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < threshold {
            return None;
        }
        (self.status, self.against, self.since) = (next, 0, SystemTime::now());
        self.was_up |= next == Status::Up;
        Some(next)
    }
}

/// Every endpoint's checks; outlives the task that makes them.
#[derive(Debug, Default)]
pub struct HealthTable(Mutex<BTreeMap<EndpointKey, NodeHealth>>);

impl HealthTable {
    /// Takes one outcome in. Returns the new status, and why, when it changed.
    pub fn record(
        &self,
        key: &EndpointKey,
        plan: &CheckPlan,
        outcome: Result<(), String>,
        took: Duration,
    ) -> Option<(Status, Option<String>)> {
        let mut table = lock(&self.0);
        let node = table.entry(key.clone()).or_default();
        node.took = took;
        node.durations.record(took);
        node.apply(plan, outcome).map(|status| (status, node.error.clone()))
    }

    /// Forgets all endpoints but these.
    pub fn keep(&self, live: impl Fn(&EndpointKey) -> bool) {
        lock(&self.0).retain(|key, _| live(key));
    }

    /// What is known of an endpoint.
    pub fn get(&self, key: &EndpointKey) -> NodeHealth {
        lock(&self.0).get(key).cloned().unwrap_or_default()
    }

    /// What the checks say of an endpoint.
    pub fn status(&self, key: &EndpointKey) -> Status {
        lock(&self.0).get(key).map_or(Status::Unknown, |node| node.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::CheckKind;

    fn plan() -> CheckPlan {
        CheckPlan {
            kind: CheckKind::Connect,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            healthy_threshold: 3,
            unhealthy_threshold: 2,
        }
    }

    /// Statuses after each outcome; `+` is good.
    fn run(outcomes: &str) -> Vec<Status> {
        let mut node = NodeHealth::default();
        let after = |node: &mut NodeHealth, good: char| {
            node.apply(&plan(), if good == '+' { Ok(()) } else { Err("x".into()) });
            node.status
        };
        outcomes.chars().map(|good| after(&mut node, good)).collect()
    }

    #[test]
    fn the_first_check_decides_and_thresholds_count_from_then_on() {
        use Status::{Down, Up};
        assert_eq!(run("+"), [Up]);
        assert_eq!(run("-"), [Down]);
        assert_eq!(run("+--"), [Up, Up, Down]);
        assert_eq!(run("+--+++"), [Up, Up, Down, Down, Down, Up]);
    }

    #[test]
    fn a_node_that_was_never_up_needs_one_good_check() {
        use Status::{Down, Up};
        assert_eq!(run("---+-"), [Down, Down, Down, Up, Up]);
    }

    #[test]
    fn only_outcomes_in_a_row_count() {
        use Status::{Down, Up};
        assert_eq!(run("+-+-"), [Up; 4]);
        assert_eq!(run("+--++-++"), [Up, Up, Down, Down, Down, Down, Down, Down]);
        assert_eq!(run("+--++-+++"), [Up, Up, Down, Down, Down, Down, Down, Down, Up]);
    }

    #[test]
    fn a_change_says_why() {
        let table = HealthTable::default();
        let address = "127.0.0.1:1".parse().unwrap();
        let key = EndpointKey { group: "g".into(), node: "n".into(), address };
        let took = Duration::from_millis(2);
        let change = table.record(&key, &plan(), Err("refused".into()), took);
        assert_eq!(change, Some((Status::Down, Some("refused".into()))));
        assert_eq!(table.record(&key, &plan(), Err("refused".into()), took), None);
        assert_eq!((table.get(&key).checks_failed, table.status(&key)), (2, Status::Down));
        table.keep(|_| false);
        assert_eq!(table.status(&key), Status::Unknown);
    }
}
