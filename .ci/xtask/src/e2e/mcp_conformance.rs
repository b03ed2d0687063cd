//! The official conformance suite, direct and through the gateway: the gateway must make no difference.
//!
//! Owns the comparison. Both eras, both drivers, scenario by scenario and check by check. Direct, every scenario must
//! pass but those of extensions that the node does not claim; through the gateway, every check must end as it did direct.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Context, Outcome, mcp};
use crate::{run, setup};

/// A revision of the protocol and how many scenarios its requirements have at least: fewer mean a run that was cut off.
const REVISIONS: [(&str, usize); 2] = [("2025-11-25", 30), ("2026-07-28", 37)];
/// Scenarios of the tasks extension, which the node does not claim; they run unscored.
const UNCLAIMED: &str = "tasks-";
/// One run of all scenarios of a revision.
const RUN_LIMIT: Duration = Duration::from_secs(180);

/// Check names and how often each ended in each way, `INFO` left out: those only tell what was seen.
type Checks = BTreeMap<(String, String), usize>;
/// The scenarios of one run.
type Scenarios = BTreeMap<String, Checks>;

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut table = String::new();
    for driver in mcp::DRIVERS {
        let gateway = mcp::gateway(context, driver)?;
        let node = mcp::embedded_node(&gateway)?;
        for (revision, scenarios_min) in REVISIONS {
            let direct_url = format!("http://{node}{}", mcp::PATH);
            let direct = scenarios(context, revision, &direct_url, &format!("direct-{driver}-{revision}"))?;
            let through = scenarios(
                context,
                revision,
                &gateway.url(mcp::PATH),
                &format!("gateway-{driver}-{revision}"),
            )?;
            let name = format!("{driver} {revision}");
            outcome.check(format!("{name}: scenarios ran"), direct.len() >= scenarios_min, || {
                format!("only {} direct", direct.len())
            });
            for (scenario, checks) in direct.iter().filter(|(scenario, _)| !scenario.starts_with(UNCLAIMED)) {
                let bad = failures(checks);
                outcome.check(format!("{name}: direct {scenario}"), bad.is_empty(), || bad.join(", "));
            }
            for (scenario, difference) in differences(&direct, &through) {
                outcome.check(
                    format!("{name}: same through the gateway {scenario}"),
                    difference.is_empty(),
                    || difference.join("; "),
                );
            }
            outcome.note(format!("{name}: direct {}; through {}", counts(&direct), counts(&through)));
            let _ = write!(table, "{}", rows(&name, &direct, &through));
        }
    }
    let path = context.write("table.txt", &table)?;
    outcome.note(format!("per scenario: {}", path.display()));
    Ok(outcome)
}

/// Runs all scenarios that `revision` requires against `url`.
fn scenarios(context: &Context, revision: &str, url: &str, name: &str) -> Result<Scenarios> {
    let results = context.scratch.join(name);
    let mut command = Command::new(setup::node(&context.tools));
    command.arg(setup::conformance(&context.tools)).args([
        "server",
        "--url",
        url,
        "--requirements",
        revision,
    ]);
    command.arg("-o").arg(&results);
    // It exits with 1 when a scored scenario fails, which the comparison finds and names.
    let log = context.log(name);
    if let Err(error) = run::logged(&mut command, RUN_LIMIT, &log) {
        let text = fs::read_to_string(&log).unwrap_or_default();
        ensure!(text.contains("=== SUMMARY ==="), "the conformance runner did not run to its end: {error:#}");
    }
    collect(&results)
}

/// Reads `RESULTS/server-SCENARIO-TIMESTAMP/checks.json` of every scenario.
fn collect(results: &Path) -> Result<Scenarios> {
    let mut scenarios = Scenarios::new();
    let folders = fs::read_dir(results).with_context(|| format!("list {}", results.display()))?;
    for folder in folders {
        let folder = folder?;
        let name = folder.file_name().to_string_lossy().into_owned();
        let scenario = scenario(&name).with_context(|| format!("no result of a server scenario: {name}"))?;
        let file = folder.path().join("checks.json");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let checks = parse(&text).with_context(|| format!("read {}", file.display()))?;
        ensure!(scenarios.insert(scenario.to_owned(), checks).is_none(), "{scenario} stands twice");
    }
    Ok(scenarios)
}

/// `server-ping-2026-11-24T13-16-49-870Z` is of the scenario `ping`.
fn scenario(folder: &str) -> Option<&str> {
    const TIMESTAMP: usize = "-2026-11-24T13-16-49-870Z".len();
    let rest = folder.strip_prefix("server-")?;
    let (name, timestamp) = rest.split_at_checked(rest.len().checked_sub(TIMESTAMP)?)?;
    (timestamp.starts_with('-') && timestamp.ends_with('Z') && !name.is_empty()).then_some(name)
}

fn parse(text: &str) -> Result<Checks> {
    let mut checks = Checks::new();
    let list: Vec<Value> = serde_json::from_str(text).context("parse")?;
    for check in &list {
        let field =
            |name: &str| check.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"));
        let status = field("status")?;
        if status != "INFO" {
            *checks.entry((field("id")?.to_owned(), status.to_owned())).or_insert(0) += 1;
        }
    }
    Ok(checks)
}

fn failures(checks: &Checks) -> Vec<String> {
    checks.keys().filter(|(_, status)| status == "FAILURE").map(|(id, _)| id.clone()).collect()
}

/// For each scenario of either run, what is not the same.
fn differences(direct: &Scenarios, through: &Scenarios) -> BTreeMap<String, Vec<String>> {
    let names: BTreeSet<_> = direct.keys().chain(through.keys()).collect();
    let none = Checks::new();
    names
        .into_iter()
        .map(|name| {
            let (left, right) = (direct.get(name).unwrap_or(&none), through.get(name).unwrap_or(&none));
            let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            let count = |checks: &Checks, key| checks.get(key).copied().unwrap_or(0);
            let different = keys
                .into_iter()
                .filter(|&key| count(left, key) != count(right, key))
                .map(|key| {
                    let (left, right) = (count(left, key), count(right, key));
                    format!("{} {}: {left} direct, {right} through", key.0, key.1)
                })
                .collect();
            (name.clone(), different)
        })
        .collect()
}

/// `33 scenarios, 83 checks pass, 0 fail`.
fn counts(scenarios: &Scenarios) -> String {
    let with = |wanted: &str| -> usize {
        scenarios.values().flatten().filter(|((_, status), _)| status == wanted).map(|(_, count)| count).sum()
    };
    format!("{} scenarios, {} checks pass, {} fail", scenarios.len(), with("SUCCESS"), with("FAILURE"))
}

/// A line per scenario: passed/failed direct and through.
fn rows(name: &str, direct: &Scenarios, through: &Scenarios) -> String {
    let cell = |scenarios: &Scenarios, scenario: &String| match scenarios.get(scenario) {
        Some(checks) => {
            let failed: usize =
                checks.iter().filter(|((_, status), _)| status == "FAILURE").map(|(_, count)| count).sum();
            format!("{}/{failed}", checks.values().sum::<usize>() - failed)
        }
        None => "-".to_owned(),
    };
    let mut rows = String::new();
    let names: BTreeSet<_> = direct.keys().chain(through.keys()).collect();
    for scenario in names {
        let (left, right) = (cell(direct, scenario), cell(through, scenario));
        let _ = writeln!(rows, "{name:<20} {scenario:<50} direct {left:<6} through {right}");
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(scenario: &str, checks: &str) -> Scenarios {
        Scenarios::from([(scenario.to_owned(), parse(checks).unwrap())])
    }

    #[test]
    fn folders_name_scenarios() {
        assert_eq!(scenario("server-ping-2026-11-24T13-16-49-870Z"), Some("ping"));
        assert_eq!(
            scenario("server-server-sse-polling-2026-11-24T13-16-50-542Z"),
            Some("server-sse-polling")
        );
        assert_eq!(scenario("client-ping-2026-11-24T13-16-49-870Z"), None);
        assert_eq!(scenario("server-x"), None);
    }

    #[test]
    fn a_check_that_ends_otherwise_or_is_missing_is_a_difference() {
        let good = run_of("a", r#"[{"id":"x","status":"SUCCESS"},{"id":"y","status":"INFO"}]"#);
        let bad = run_of("a", r#"[{"id":"x","status":"FAILURE"}]"#);
        let twice = run_of("a", r#"[{"id":"x","status":"SUCCESS"},{"id":"x","status":"SUCCESS"}]"#);
        assert!(differences(&good, &good)["a"].is_empty());
        assert_eq!(differences(&good, &bad)["a"].len(), 2);
        assert_eq!(differences(&good, &twice)["a"].len(), 1);
        assert_eq!(differences(&good, &Scenarios::new())["a"].len(), 1);
        assert_eq!(differences(&Scenarios::new(), &good)["a"].len(), 1);
        assert_eq!(failures(&bad["a"]), ["x"]);
        assert_eq!(counts(&twice), "1 scenarios, 2 checks pass, 0 fail");
    }
}
