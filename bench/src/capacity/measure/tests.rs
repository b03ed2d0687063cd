//! The whole sequence: against a simulated server whose truth is known, and once against a real one.

use super::simulated::{Server, load_spec, spec};
use super::*;
use crate::capacity::nodes::Peak;
use crate::capacity::{Goal, NodeSize, Silent};
use crate::load;
use crate::null::NullServer;
use erlmcp_ring::DriverChoice;

/// p99 of 5 ms at 1.2 ms beyond the path: 4.8 ms = ln(100) / (capacity - rate).
#[test]
fn a_plan_of_a_known_server_is_right_in_every_part() {
    let mut spec = spec("p99 < 5 ms and errors < 1 %");
    spec.keep = true;
    spec.peak = Some(Peak { rate_per_s: 40_000.0, growth: 0.3, headroom: 0.2, failed: 1, zones: 3 });
    spec.node = NodeSize { cores: Some(1.0), bandwidth_bits_per_s: Some(1e9), ..NodeSize::default() };
    let target = spec.load.target.clone();
    spec.shard_runs =
        [1, 2, 4].map(|shards| ShardRun { shards, target: target.clone(), command: None }).to_vec();
    let mut progress = Parts::default();
    let plan = plan_on(&spec, &mut Server::new(10_000.0), &mut progress).expect("a plan");
    let truth = 10_000.0 - 100_f64.ln() / 4.8e-3;
    let lower = plan.all.lower_per_s.expect("a rate");
    assert!((lower / truth - 1.0).abs() < 0.06, "{lower}, truth {truth}");
    assert_eq!(plan.each.len(), 2);
    assert_eq!(plan.steps.len(), STEPS.len());
    let [at, beyond] = [6, 8]
        .map(|step: usize| plan.steps[step].response.expect("evidence").p99_ms.expect("enough samples"));
    assert!(beyond > 10.0 * at, "an overload shows: {beyond} ms, {at} ms");
    let queue = plan.queue.as_ref().expect("a queue model");
    assert!((queue.backtest.occupancy_us / 100.0 - 1.0).abs() < 0.1, "{}", queue.backtest.occupancy_us);
    assert!(queue.backtest.off_by.expect("held-out steps") < 1.25, "{:?}", queue.backtest);
    assert_eq!(queue.at_lower.len(), 6);
    let over: Vec<&str> = plan.scaling.iter().map(|scaling| scaling.over).collect();
    assert_eq!(over, ["connections", "shards"]);
    let connections = plan.scaling[0].usl.as_ref().expect("a fit");
    // C / (C R + 1 / capacity): sigma is the share of the time that the shard is busy with one connection, a third.
    assert!((connections.sigma.value - 1.0 / 4.0).abs() < 0.03, "{:?}", connections.sigma);
    let shards = plan.scaling[1].usl.as_ref().expect("a fit");
    assert!(shards.predict(8.0).is_ok() && shards.predict(9.0).is_err());
    let nodes = plan.nodes.as_ref().expect("nodes");
    // 52,000/s of 0.8 times about 9,000 are 8; one more failed and a third lost: 14.
    assert_eq!(nodes.nodes, 14, "{nodes:?}");
    assert!(plan.comparison.is_none() && !plan.regressed());
    assert_eq!(plan.record.as_ref().expect("to be kept").metrics.len(), 5);
    assert_eq!(plan.verdict, Verdict::Valid);
    assert_eq!(
        progress.parts,
        [
            "saturation",
            "search",
            "load steps",
            "queue model",
            "scaling over connections",
            "reference trials",
            "scaling over shards"
        ]
    );
    assert_eq!(progress.began, progress.ended);
}

#[derive(Default)]
struct Parts {
    parts: Vec<String>,
    began: usize,
    ended: usize,
}

impl Progress for Parts {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Part(name) => self.parts.push((*name).to_owned()),
            Event::TrialBegan { .. } => self.began += 1,
            Event::TrialEnded(_) => self.ended += 1,
            Event::Live(_) | Event::Note(_) => {}
        }
    }
}

#[test]
fn a_slower_server_regresses_against_its_baseline() {
    let mut first = spec("p99 < 5 ms");
    first.keep = true;
    first.connections.clear();
    let kept = plan_on(&first, &mut Server::new(10_000.0), &mut Silent).expect("a plan").record;
    let again = PlanSpec { baseline: kept.clone(), ..first.clone() };
    let same = plan_on(&again, &mut Server::new(10_000.0), &mut Silent).expect("a plan");
    assert!(!same.regressed(), "{:?}", same.comparison);
    let slower = plan_on(&again, &mut Server::new(8_000.0), &mut Silent).expect("a plan");
    assert!(slower.regressed());
    let other = PlanSpec { search: SearchSpec { connections: 65, ..again.search.clone() }, ..again };
    let mut server = Server::new(10_000.0);
    let error = plan_on(&other, &mut server, &mut Silent).expect_err("another subject");
    assert!(matches!(error, PlanError::Baseline(_)) && server.trials == 0, "{error}");
}

#[test]
fn a_stop_at_any_trial_keeps_what_is_known() {
    let mut spec = spec("p99 < 5 ms");
    spec.keep = true;
    let mut whole = Server::new(10_000.0);
    plan_on(&spec, &mut whole, &mut Silent).expect("a plan");
    for trials_max in (0..whole.trials).step_by(7) {
        let mut server = Server { trials_max, ..Server::new(10_000.0) };
        let plan = plan_on(&spec, &mut server, &mut Silent).expect("a partial plan");
        assert!(plan.stopped && plan.notes.iter().any(|note| note.contains("partial")), "after {trials_max}");
    }
}

#[test]
fn the_generator_s_limit_is_told_and_not_taken_for_the_server_s() {
    let mut spec = spec("p99 < 5 ms");
    spec.connections.clear();
    let mut server = Server { generator_max: 5_000.0, ..Server::new(10_000.0) };
    let plan = plan_on(&spec, &mut server, &mut Silent).expect("a plan");
    assert!(matches!(plan.all.end, End::Generator(_)));
    assert!(plan.notes.iter().any(|note| note.contains("the generator is the limit")), "{:?}", plan.notes);
    assert_eq!(plan.all.upper_per_s, None);
    assert!(plan.steps.len() < STEPS.len());
}

#[test]
fn questions_that_make_no_sense_are_refused_before_any_trial() {
    let refused = |change: &dyn Fn(&mut PlanSpec), cause: &str| {
        let mut spec = spec("p99 < 5 ms");
        change(&mut spec);
        let mut server = Server::new(10_000.0);
        let error = plan_on(&spec, &mut server, &mut Silent).expect_err(cause).to_string();
        assert!(error.contains(cause) && server.trials == 0, "{cause}: {error}");
    };
    refused(&|spec| spec.goals.clear(), "0 goals");
    refused(&|spec| spec.load.timeout = Duration::from_millis(5), "raise --timeout");
    refused(&|spec| spec.search.connections = 0, "no connections");
    refused(&|spec| spec.search.final_trial = Duration::from_secs(1), "final ones");
    refused(&|spec| spec.search.width = 0.9, "goal width");
    refused(&|spec| spec.search.rate_min = 0.0, "lowest rate");
    refused(&|spec| spec.connections = vec![0], "sizes");
    refused(&|spec| spec.threshold = -1.0, "threshold");
}

/// The generator itself against the null server: every part runs, and what comes out hangs together.
#[test]
fn a_real_server_is_planned() {
    let server = NullServer::start(None, DriverChoice::Auto).expect("the null server");
    let load = load_spec("http://null/", vec![server.addr()]);
    let goals = Goal::parse_all("p99 < 1 s and errors < 1 %").expect("goals");
    let [trial, last] = [250, 250].map(Duration::from_millis);
    let mut spec = PlanSpec::new(load::Spec { connections: 4, ..load }, goals, trial, last);
    // The debug build's generator shares two processors with other tests: low rates, few trials, wide bounds.
    spec.search = SearchSpec { rate_max: 400.0, trials_max: 8, width: 0.3, ..spec.search };
    spec.connections = vec![1, 2, 4];
    spec.effort = Effort::QUICK;
    spec.server_pid = Some(std::process::id());
    spec.keep = true;
    let plan = plan(&spec, &mut Silent, &Stop::default()).expect("a plan");
    assert!(plan.saturation_per_s.expect("a closed loop") > 100.0);
    assert!(
        plan.search_trials.len() > 1 && plan.steps.iter().all(|step| step.samples > 0),
        "{:?}",
        plan.steps
    );
    // The null server's process is this one, whose generator threads have ended: its CPU time cannot be told apart.
    assert!(plan.search_trials[0].server.expect("its process is known").descriptors > 0);
    assert_eq!(plan.scaling[0].trials.len(), 2 * 3);
    assert_eq!(plan.reference_trials.len() % REFERENCE_TRIALS as usize, 0);
    let stop = Stop::default();
    stop.stop();
    assert!(super::plan(&spec, &mut Silent, &stop).expect("a partial plan").stopped);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let addr = crate::ports::free_addr().expect("a free port");
    let load = load_spec("http://nobody/", vec![addr]);
    let spec = PlanSpec::new(
        load,
        Goal::parse_all("p99 < 1 s").expect("a goal"),
        Duration::from_millis(50),
        Duration::from_millis(50),
    );
    let error = plan(&spec, &mut Silent, &Stop::default()).expect_err("nobody listens").to_string();
    assert!(error.contains("http://nobody/") && error.contains("is the server running"), "{error}");
}
