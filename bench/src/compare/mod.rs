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
mod scenario;
mod sheet;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

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

use crate::child::{Server, ServerSpec};
use crate::idle;
use crate::load::Stop;
use crate::peers::{self, Candidate};
use crate::ports::free_addr;
use lineup::{Field, Gateway, Lineup};
use measure::Bench;
use placement::Confined;

/// Upstreams behind every proxy.
const UPSTREAMS: usize = 2;
/// From an upstream's start until it listens.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(10);
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
    let upstreams = start_upstreams(plan)?;
    let addrs: Vec<SocketAddr> = upstreams.iter().map(|(_, addr)| *addr).collect();
    let certificate = match scenarios.iter().any(|scenario| scenario.kind.is_tls()) {
        true => peers::make_certificate(&plan.folder.join("tls")).map_err(|cause| cause.to_string()),
        false => Err("no scenario has TLS".to_owned()),
    };
    let field = Field {
        plan,
        upstreams: &addrs,
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
    for (at, &scenario) in scenarios.iter().enumerate() {
        if stop.is_stopped() {
            break;
        }
        let setup = |cause| CompareError::Setup { scenario, cause };
        let lineup = field.lineup(scenario).map_err(setup)?;
        let place = Place { scenario, number: at + 1, scenarios: scenarios.len() };
        match scenario.kind {
            Kind::Idle => report.idle.push(idle_table(plan, lineup, place, progress, stop)?),
            _ => report.tables.push(table(plan, lineup, place, progress, stop)?),
        }
    }
    if stop.is_stopped() {
        report.cut = Some("interrupted".to_owned());
    }
    Ok(report)
}

/// A scenario's place among the others.
#[derive(Clone, Copy)]
struct Place {
    scenario: Scenario,
    number: usize,
    scenarios: usize,
}

impl Place {
    fn tell(self, progress: &mut dyn Progress, done: u32, total: u32, text: &str) {
        let Self { scenario, number, scenarios } = self;
        progress.step(&Step { scenario, number, scenarios, done, total, text });
    }
}

fn shortened(plan: &Plan, scenario: Scenario) -> Scenario {
    let most = if plan.quick { QUICK_CONNECTIONS } else { u32::MAX };
    Scenario { connections: scenario.connections.min(most), ..scenario }
}

fn start_upstreams(plan: &Plan) -> Result<Vec<(Server, SocketAddr)>, CompareError> {
    let program = plan.programs.hello.as_ref().ok_or(CompareError::NoUpstream)?;
    let start = |number: usize| {
        let addr =
            free_addr().map_err(|cause| CompareError::Folder { folder: plan.folder.clone(), cause })?;
        let failed = |cause| CompareError::Server { name: "hello".into(), cause };
        let cpu = plan.placement.upstream(number).to_string();
        let spec = ServerSpec::new(&program.file).args(&program.args).arg(addr.to_string()).cpus(cpu);
        let mut server = spec.start(plan.folder.join(format!("hello{number}.log"))).map_err(failed)?;
        server.wait_for_port(addr, UPSTREAM_LIMIT).map_err(failed)?;
        Ok((server, addr))
    };
    (0..UPSTREAMS).map(start).collect()
}

fn table(
    plan: &Plan,
    lineup: Lineup,
    place: Place,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Table, CompareError> {
    let Lineup { candidates, mut absent } = lineup;
    let Place { scenario, .. } = place;
    let by = generator::choose(plan.load, scenario.kind);
    let empty = |absent| Table {
        scenario,
        load: plan.load,
        fixed_rate: None,
        no_latency: None,
        rows: Vec::new(),
        absent,
    };
    let by = match by {
        Ok(by) => by,
        Err(reason) => {
            absent.push(Absent { name: "everyone else".to_owned(), reason });
            return Ok(empty(absent));
        }
    };
    if candidates.is_empty() {
        return Ok(empty(absent));
    }
    let bench = Bench { plan, scenario, by, stop };
    let with_latency = plan.latency && by == LoadBy::Own;
    let turns = plan.rounds * candidates.len() as u32;
    let total = if with_latency { 2 * turns } else { turns };

    let mut done = 0;
    let samples = interleaved(plan.rounds, &candidates, |round, candidate| {
        let sample = bench.sample(candidate)?;
        done += 1;
        if let Some(sample) = &sample {
            let text = format!(
                "{} round {round}/{}: {:.2} us/request, {:.0}/s",
                candidate.name, plan.rounds, sample.cpu_us, sample.rate
            );
            place.tell(progress, done, total, &text);
        }
        Ok(sample)
    })?;
    let names: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
    let mut rows = figures::rows(&names, &samples);
    let fixed_rate = figures::fixed_rate(&rows).filter(|_| with_latency && !stop.is_stopped());
    if let Some(rate) = fixed_rate {
        let paced = interleaved(plan.rounds, &candidates, |round, candidate| {
            let paced = bench.paced(candidate, rate)?;
            done += 1;
            let text = format!("{} round {round}/{}: latency at {rate:.0}/s", candidate.name, plan.rounds);
            place.tell(progress, done, total, &text);
            Ok(paced)
        })?;
        for row in &mut rows {
            let at = names.iter().position(|name| *name == row.name);
            row.latency = at.and_then(|at| Latency::of(&paced[at]));
        }
    }
    let no_latency = match by {
        LoadBy::Wrk if plan.latency => Some("wrk has closed loops only".to_owned()),
        _ => None,
    };
    Ok(Table { scenario, load: by, fixed_rate, no_latency, rows, absent })
}

/// Everyone in turn, round by round; ends early when a turn yields nothing, with what there is.
fn interleaved<T>(
    rounds: u32,
    candidates: &[Candidate],
    mut turn: impl FnMut(u32, &Candidate) -> Result<Option<T>, CompareError>,
) -> Result<Vec<Vec<T>>, CompareError> {
    let mut all: Vec<Vec<T>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds as usize {
        // Each round starts with another candidate: none always follows the same neighbour's heat.
        for offset in 0..candidates.len() {
            let index = (offset + round) % candidates.len();
            match turn(round as u32 + 1, &candidates[index])? {
                Some(one) => all[index].push(one),
                None => return Ok(all),
            }
        }
    }
    Ok(all)
}

fn idle_table(
    plan: &Plan,
    lineup: Lineup,
    place: Place,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<IdleTable, CompareError> {
    let Place { scenario, .. } = place;
    let Lineup { candidates, absent } = lineup;
    // Two readings: the difference is what one more stream takes, without what the first of them brings about.
    let streams = ((scenario.connections * 2 / 7).max(1), scenario.connections.max(2));
    let mut rows = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        if stop.is_stopped() {
            break;
        }
        let log = plan.folder.join(format!("{scenario}-{}.log", candidate.name));
        let row = idle::run(candidate, scenario.kind.path(), streams, &log)?;
        let text = format!("{}: {:.0} bytes a stream", candidate.name, row.total());
        place.tell(progress, at as u32 + 1, candidates.len() as u32, &text);
        rows.push(row);
    }
    Ok(IdleTable { scenario, rows, absent })
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

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let one = |name: &&str| Candidate {
            name: (*name).to_owned(),
            server: ServerSpec::new("true"),
            addr,
            access_log: None,
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn every_round_starts_with_another() {
        let mut order = String::new();
        let all = interleaved(3, &candidates(&["a", "b", "c"]), |round, candidate| {
            order.push_str(&candidate.name);
            Ok(Some(round))
        });
        assert_eq!(order, "abcbcacab");
        assert_eq!(all.unwrap(), vec![vec![1, 2, 3]; 3]);
    }

    #[test]
    fn a_turn_that_yields_nothing_ends_it_with_what_there_is() {
        let mut turns = 0;
        let all = interleaved(9, &candidates(&["a", "b"]), |_, _| {
            turns += 1;
            Ok((turns < 4).then_some(turns))
        });
        assert_eq!(all.unwrap(), vec![vec![1], vec![2, 3]]);
    }

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
