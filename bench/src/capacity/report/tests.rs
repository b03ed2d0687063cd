//! Reports of plans of a simulated server: complete, well-formed, and silent about what is not known.

use super::*;
use crate::capacity::measure::simulated::{Server, spec};
use crate::capacity::nodes::Peak;
use crate::capacity::search::SearchSpec;
use crate::capacity::{NodeSize, PlanSpec, ShardRun, Silent, plan_on};
use crate::report::tests::check_page;

fn full_spec() -> PlanSpec {
    let mut spec = spec("p99 < 5 ms and errors < 1 %");
    spec.keep = true;
    spec.peak = Some(Peak { rate_per_s: 40_000.0, growth: 0.3, headroom: 0.2, failed: 1, zones: 3 });
    spec.node = NodeSize { cores: Some(1.0), bandwidth_bits_per_s: Some(1e9), ..NodeSize::default() };
    spec.load.target.url = "http://<simulated>&'\"/".to_owned();
    let target = spec.load.target.clone();
    spec.shard_runs =
        [1, 2, 4].map(|shards| ShardRun { shards, target: target.clone(), command: None }).to_vec();
    spec
}

fn full() -> Plan {
    let first = plan_on(&full_spec(), &mut Server::new(10_000.0), &mut Silent).expect("a plan");
    let again = PlanSpec { baseline: first.record, ..full_spec() };
    plan_on(&again, &mut Server::new(6_000.0), &mut Silent).expect("a plan")
}

/// Stopped after one trial: nearly nothing is known.
fn cut() -> Plan {
    let mut server = Server { trials_max: 1, ..Server::new(10_000.0) };
    plan_on(&full_spec(), &mut server, &mut Silent).expect("a partial plan")
}

/// The generator spoils all open-loop trials.
fn spoiled() -> Plan {
    let mut server = Server { generator_max: 0.0, ..Server::new(10_000.0) };
    let mut spec = spec("p99 < 5 ms");
    spec.search = SearchSpec { trials_max: 8, ..spec.search };
    plan_on(&spec, &mut server, &mut Silent).expect("a plan")
}

#[test]
fn text_tells_everything_in_order() {
    let text = text(&full());
    let mut rest = text.as_str();
    for part in [
        "Certificate  VALID",
        "trials: ",
        "Highest rate within the goals",
        "p99 < 5 ms and errors < 1 %",
        "In a closed loop 64 connections",
        "Load steps",
        "p99.9",
        "Good replies peak at",
        "Queue model",
        "Predicted against measured",
        "held out",
        "ten connections a shard",
        "Scaling over connections",
        "σ, contention",
        "extrapolated",
        "Scaling over shards",
        "Nodes",
        "What each resource asks for",
        "-20 %",
        "Against the baseline",
        "REGRESSED",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or too early in\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn json_is_complete_and_has_a_version() {
    let value: serde_json::Value = serde_json::from_str(&json(&full()).expect("written")).expect("read back");
    assert_eq!(
        (value["schema"].as_str(), value["version"].as_u64()),
        (Some(SCHEMA), Some(u64::from(VERSION)))
    );
    assert_eq!(value["regressed"], true);
    for path in [
        "/all/lower_per_s",
        "/all/goals/0",
        "/each/1/end/why",
        "/search_trials/0/achieved_per_s",
        "/steps/8/response/p99_ms",
        "/queue/backtest/rows/0/predicted/p99/value_ms",
        "/queue/at_lower/5/0",
        "/scaling/0/usl/sigma/low",
        "/scaling/1/points/0/1",
        "/nodes/resources/0/exact",
        "/comparison/metrics/0/p_value",
        "/host/kernel",
        "/took_s",
    ] {
        assert!(value.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
    }
}

#[test]
fn pages_are_well_formed_and_load_nothing() {
    let page = html(&full());
    check_page(&page);
    for id in ["load-latency", "predicted", "law-connections", "law-shards"] {
        let label = format!("aria-labelledby=\"{id}-title {id}-desc\"");
        assert_eq!(page.matches(&label).count(), 1, "{id}");
        let after = &page[page.find(&label).expect("drawn")..];
        assert!(
            after[..after.find("</section>").expect("a section ends")].contains("<table>"),
            "{id} has no table"
        );
    }
    assert!(page.contains("http://&lt;simulated&gt;&amp;&#39;&quot;/") && !page.contains("<simulated>"));
}

#[test]
fn little_known_is_little_told() {
    for plan in [cut(), spoiled()] {
        check_page(&html(&plan));
        let text = text(&plan);
        assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
        json(&plan).expect("written");
    }
    assert!(text(&cut()).contains("PARTIAL"));
}

/// What an INVALID trial seemed to measure stands nowhere.
#[test]
fn spoiled_trials_have_no_percentile() {
    let plan = spoiled();
    let spoiled: Vec<_> = plan.search_trials.iter().filter(|trial| !trial.is_evidence()).collect();
    assert!(
        !spoiled.is_empty()
            && spoiled.iter().all(|trial| trial.response.is_none() && trial.service.is_none())
    );
    let text = text(&plan);
    assert!(text.contains("not judged") && text.contains("hardly a moment to wait"), "{text}");
}
