//! Several servers under the same load in turn, round by round: CPU time of the server per request, rate, memory, and
//! latency at a fixed rate.
//!
//! Owns the order of things. Rounds are interleaved, so that a drift of the machine hits everyone; ratios are taken
//! within a round. It reports and never judges a speed. [`Plan`] says what to do, [`run`] does it, [`Report`] is what
//! came of it.

mod error;
mod figures;
mod generator;
mod lineup;
mod measure;
pub(crate) mod own;
mod placement;
mod plan;
mod ready;
mod report;
mod rounds;
mod scenario;
mod sheet;
mod upstreams;

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use error::CompareError;
pub use figures::{Latency, Quantiles, Ratio, Row, Sample, Spread};
pub use generator::LoadError;
pub use placement::Placement;
pub use plan::{LoadBy, POOL_CAP, Plan, Program, Programs, UnknownCandidate, Who, which};
pub use ready::answers;
pub use report::{Absent, IdleTable, Method, Report, Table};
pub use scenario::{Kind, Scenario, UnknownScenario};
pub use sheet::Sheet;

use crate::load::Stop;
use crate::peers;
use lineup::{Field, Gateway};
use placement::Confined;
use rounds::Rounds;
use upstreams::Upstreams;

/// Descriptors beside those of connections: logs, listeners, epoll.
const DESCRIPTORS_SPARE: u64 = 1_000;
/// Asked for where the hard limit allows it: what HAProxy with its usual `maxconn` wants.
const DESCRIPTORS_MIN: u64 = 20_000;
/// Connections and idle streams of a quick comparison.
const QUICK_CONNECTIONS: u32 = 100;

/// Where a comparison stands.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The scenario, and which it is of how many, from 1.
    pub scenario: Scenario,
    /// See `scenario`.
    pub number: usize,
    /// See `scenario`.
    pub scenarios: usize,
    /// Steps of this scenario that are done, this one included, …
    pub done: u32,
    /// … of how many.
    pub total: u32,
    /// What was done, for people: candidate, round and figure.
    pub text: &'a str,
}

/// Is told of every step.
pub trait Progress {
    /// A step was done.
    fn step(&mut self, step: &Step<'_>);
}

impl<F: FnMut(&Step<'_>)> Progress for F {
    fn step(&mut self, step: &Step<'_>) {
        self(step);
    }
}

/// Runs all scenarios. When `stop` is set it ends within the round under way, and the report is marked partial.
///
/// # Errors
/// [`CompareError`] for the first candidate that cannot be measured. Whoever is not installed is absent, not an error.
pub fn run(plan: &Plan, progress: &mut dyn Progress, stop: &Stop) -> Result<Report, CompareError> {
    let folder = |cause| CompareError::Folder { folder: plan.folder.clone(), cause };
    fs::create_dir_all(&plan.folder).map_err(folder)?;
    let scenarios: Vec<Scenario> = plan.scenarios.iter().map(|scenario| shortened(plan, *scenario)).collect();
    raise_descriptors(&scenarios)?;
    let cpu = plan.placement.load;
    let _confined = Confined::to(cpu).map_err(|cause| CompareError::Processor { cpu, cause })?;
    let upstreams = Upstreams::start(plan)?;
    let certificate = match scenarios.iter().any(|scenario| scenario.kind.is_tls()) {
        true => peers::make_certificate(&plan.folder.join("tls")).map_err(|cause| cause.to_string()),
        false => Err("no scenario has TLS".to_owned()),
    };
    let field = Field {
        plan,
        upstreams: upstreams.addrs(),
        gateway: Gateway::ask(plan.programs.gateway.as_ref()),
        certificate: certificate.as_ref().map_err(String::as_str),
    };
    let wrk = scenarios.iter().any(|scenario| generator::choose(plan.load, scenario.kind) == Ok(LoadBy::Wrk));
    let mut report = Report {
        machine: Sheet::read(&plan.programs, wrk),
        method: Method::of(plan),
        tables: Vec::new(),
        idle: Vec::new(),
        cut: None,
    };
    let mut rounds = Rounds { plan, upstreams: &upstreams, progress, stop, scenarios: scenarios.len() };
    for (at, &scenario) in scenarios.iter().enumerate() {
        if stop.is_stopped() {
            break;
        }
        let setup = |cause| CompareError::Setup { scenario, cause };
        let lineup = field.lineup(scenario).map_err(setup)?;
        match scenario.kind {
            Kind::Idle => report.idle.push(rounds.idle(scenario, at + 1, lineup)?),
            _ => report.tables.push(rounds.table(scenario, at + 1, lineup)?),
        }
    }
    if stop.is_stopped() {
        report.cut = Some("interrupted".to_owned());
    }
    Ok(report)
}

fn shortened(plan: &Plan, scenario: Scenario) -> Scenario {
    let most = if plan.quick { QUICK_CONNECTIONS } else { u32::MAX };
    Scenario { connections: scenario.connections.min(most), ..scenario }
}

/// Raises the soft limit on descriptors, which everything started here inherits.
fn raise_descriptors(scenarios: &[Scenario]) -> Result<(), CompareError> {
    let most = scenarios.iter().map(|scenario| scenario.connections).max().unwrap_or(0);
    let limit = getrlimit(Resource::Nofile);
    let (needed, wanted) = descriptors(most, limit.maximum)?;
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    // The kernel refuses nothing up to the hard limit.
    setrlimit(Resource::Nofile, raised).map_err(|_| CompareError::Descriptors { needed, allowed: wanted })
}

/// Descriptors without which nothing is measured, and those to ask for.
fn descriptors(connections: u32, hard: Option<u64>) -> Result<(u64, u64), CompareError> {
    let needed = 2 * u64::from(connections) + DESCRIPTORS_SPARE;
    let allowed = hard.unwrap_or(u64::MAX);
    match allowed < needed {
        true => Err(CompareError::Descriptors { needed, allowed }),
        false => Ok((needed, needed.max(DESCRIPTORS_MIN).min(allowed))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_upstream_program_nothing_is_measured() {
        let folder = std::env::temp_dir().join(format!("erlmcp-compare-{}", std::process::id()));
        let plan = Plan::new(&folder, Programs::default());
        let failed = run(&plan, &mut |_: &Step<'_>| {}, &Stop::default()).unwrap_err();
        assert!(failed.to_string().contains("cargo build"), "{failed}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn descriptors_are_asked_for_up_to_the_hard_limit() {
        assert_eq!(descriptors(64, None).unwrap(), (1128, 20_000));
        assert_eq!(descriptors(64, Some(4096)).unwrap(), (1128, 4096));
        assert_eq!(descriptors(20_000, Some(65_536)).unwrap(), (41_000, 41_000));
        let failed = descriptors(1000, Some(1024)).unwrap_err();
        assert!(failed.to_string().contains("ulimit -Hn"), "{failed}");
    }
}
