//! Every scenario once, with the peers that set-up installs: everyone answers, and what must be told is told. Says
//! nothing about speed.

#![expect(clippy::unwrap_used, reason = "the helpers of tests; a failure is to stop the test where it is")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use erlmcp_bench::compare::{self, Kind, LoadBy, Plan, Program, Programs, Report, Step, Who};
use erlmcp_bench::load::Stop;

/// A plan with the built reference programs and the installed peers, without the gateway.
fn plan(name: &str, scenarios: &[&str]) -> Plan {
    let beside = Path::new(env!("CARGO_BIN_EXE_hello")).parent().unwrap();
    let programs = Programs::find(beside, None);
    for (name, program) in [("nginx", &programs.nginx), ("haproxy", &programs.haproxy)] {
        assert!(program.is_some(), "no {name}: `cargo xtask setup` installs what tests need");
    }
    let folder = std::env::temp_dir().join(format!("erlmcp-compare-{}-{name}", std::process::id()));
    let mut plan = Plan::new(folder, Programs { gateway: None, envoy: None, ..programs }).quick();
    plan.duration = Duration::from_millis(300);
    plan.warmup = Duration::from_millis(50);
    plan.scenarios = scenarios.iter().map(|name| name.parse().unwrap()).collect();
    plan
}

fn run(plan: &Plan) -> (Report, Vec<String>) {
    let mut steps = Vec::new();
    let mut progress = |step: &Step<'_>| steps.push(format!("{} {}", step.scenario, step.text));
    let report = compare::run(plan, &mut progress, &Stop::default()).unwrap();
    std::fs::remove_dir_all(&plan.folder).unwrap();
    (report, steps)
}

#[test]
fn everyone_answers_in_every_plain_scenario() {
    let scenarios = ["small-4", "small-80", "64k-4", "1m-2", "new-4"];
    let (report, steps) = run(&plan("plain", &scenarios));
    assert_eq!(report.cut, None);
    for (table, asked) in report.tables.iter().zip(scenarios) {
        assert_eq!((table.scenario.to_string().as_str(), table.load), (asked, LoadBy::Own));
        let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
        let capped = asked == "small-80";
        let expected: &[&str] = &["floor", "nginx", "haproxy", "haproxy-cap"][..if capped { 4 } else { 3 }];
        assert_eq!(names, expected, "{asked}");
        assert!(table.fixed_rate.is_some_and(|rate| rate > 0.0), "{asked}");
        for row in &table.rows {
            assert!(row.cpu_us.median > 0.0 && row.pss.median > 0.0 && row.errors == 0, "{asked}: {row:?}");
            assert!(row.latency.as_ref().is_some_and(|latency| latency.requests > 0), "{asked}: {row:?}");
        }
        let absent: Vec<&str> = table.absent.iter().map(|absent| absent.name.as_str()).collect();
        assert_eq!(absent, ["erlmcp", "envoy"]);
        assert_eq!(steps.iter().filter(|step| step.starts_with(asked)).count(), 2 * expected.len());
    }
    assert!(report.markdown().contains("Absent: envoy: not found; install it"), "{}", report.markdown());
}

#[test]
fn peers_serve_tls_websocket_and_idle_streams() {
    let (report, _) = run(&plan("rest", &["tls-4", "tls-new-4", "websocket-4", "idle-14"]));
    let rows = |kind: Kind| {
        let table = report.tables.iter().find(|table| table.scenario.kind == kind).unwrap();
        let names: Vec<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
        (table, names)
    };
    for kind in [Kind::Tls, Kind::TlsNew] {
        let (table, names) = rows(kind);
        assert_eq!((table.load, names), (LoadBy::Wrk, vec!["nginx", "haproxy"]), "{table:?}");
        assert!(table.no_latency.is_some() && table.absent.iter().any(|absent| absent.name == "floor"));
    }
    let (table, names) = rows(Kind::Websocket);
    assert_eq!((table.load, names), (LoadBy::Own, vec!["nginx", "haproxy"]), "{table:?}");
    let idle = &report.idle[0];
    assert_eq!(idle.rows.iter().map(|row| row.streams).collect::<Vec<_>>(), [(4, 14); 2]);
}

#[test]
fn wrk_can_put_the_load_on_too() {
    let plan =
        Plan { load: LoadBy::Wrk, candidates: vec![Who::Floor], ..plan("wrk", &["small-2", "websocket"]) };
    let (report, _) = run(&plan);
    let [small, websocket] = report.tables.as_slice() else { panic!("{report:?}") };
    assert!(small.load == LoadBy::Wrk && small.rows[0].samples[0].requests > 0, "{small:?}");
    assert!(websocket.rows.is_empty() && websocket.absent.iter().any(|absent| absent.reason.contains("wrk")));
}

#[test]
fn stopping_keeps_what_was_measured() {
    let mut plan = plan("stop", &["small-2", "64k-2"]);
    plan.rounds = 50;
    plan.candidates = vec![Who::Floor];
    let stop = Stop::default();
    let mut steps = 0;
    let mut progress = |_: &Step<'_>| {
        steps += 1;
        if steps == 2 {
            stop.stop();
        }
    };
    let report = compare::run(&plan, &mut progress, &stop).unwrap();
    std::fs::remove_dir_all(&plan.folder).unwrap();
    assert_eq!(report.cut.as_deref(), Some("interrupted"));
    assert_eq!((report.tables.len(), report.tables[0].rows[0].samples.len()), (1, 2));
    assert!(report.markdown().starts_with("**Partial: interrupted**"));
}

#[test]
fn a_server_that_does_not_start_is_named_with_its_log() {
    let mut plan = plan("broken", &["small-2"]);
    plan.candidates = vec![Who::Haproxy];
    plan.programs.haproxy = Some(Program::new("sh").args(["-c", "echo no such luck; exit 3"]));
    let failed = compare::run(&plan, &mut |_: &Step<'_>| {}, &Stop::default()).unwrap_err().to_string();
    std::fs::remove_dir_all(&plan.folder).unwrap();
    assert!(failed.contains("haproxy") && failed.contains("no such luck"), "{failed}");
}

#[test]
fn runtimes_take_part_when_they_were_built() {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_null")).parent().unwrap().to_path_buf();
    let mut plan = plan("runtimes", &["runtimes-4"]);
    plan.programs.runtimes = Some(folder.clone());
    let (report, _) = run(&plan);
    let table = &report.tables[0];
    for (name, program) in [("ring", "null"), ("tokio", "runtime-tokio"), ("glommio", "runtime-glommio")] {
        let took_part = table.rows.iter().any(|row| row.name == name);
        let told = table.absent.iter().any(|absent| absent.name == name);
        assert_eq!((took_part, told), (folder.join(program).is_file(), !took_part), "{name}");
    }
    assert_eq!(table.rows[0].name, "ring");
}
