//! Scenario files of `erlmcp bench`: the shipped ones, every error at its place, recorded starts.

use crate::common::Folder;
use erlmcp_config::model::scenario::{Arrivals, Era, Rate, Think, Traffic};
use erlmcp_config::scenario::{LoadedScenario, load, of_protocol};
use erlmcp_config::{Env, Report};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn env() -> Env {
    Arc::new(|name| (name == "TOKEN").then(|| "hunter2".to_owned()))
}

fn written(text: &str) -> (Folder, Result<LoadedScenario, Report>) {
    let folder = Folder::new(&[("s.yaml", text)]);
    let loaded = load(&folder.path().join("s.yaml"), &env());
    (folder, loaded)
}

/// What is said about a refused file, without the folder's path.
fn findings(text: &str) -> String {
    let (folder, loaded) = written(text);
    loaded.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn every_shipped_scenario_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let loaded = load(&path, &env()).unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.report.diagnostics.is_empty(), "{}", loaded.report);
        assert!(loaded.scenario.target.is_some(), "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["http.yaml", "mcp-mix.yaml", "ramp.yaml", "sse.yaml"]);
}

#[test]
fn the_shipped_mix_says_what_its_comments_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/mcp-mix.yaml");
    let scenario = load(&path, &env()).unwrap().scenario;
    let Traffic::Mcp { era, requests, .. } = &scenario.traffic else { panic!("{scenario:?}") };
    assert_eq!(*era, Era::Stateless);
    assert_eq!(requests[0].call(), ("tools/list".to_owned(), serde_json::json!({})));
    let arguments = serde_json::json!({ "name": "echo", "arguments": { "text": "hello" } });
    assert_eq!(requests[1].call(), ("tools/call".to_owned(), arguments));
    assert_eq!((requests[0].weight, requests[1].weight), (3, 1));
    assert_eq!(scenario.arrivals, Arrivals::Poisson { rate: Rate(500.0) });
    assert_eq!(scenario.timeout, Duration::from_secs(5));
}

#[test]
fn every_protocol_has_a_default() {
    for protocol in ["http", "mcp", "sse", "websocket", "tcp", "new-connection"] {
        let loaded = of_protocol(protocol).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.scenario.traffic.protocol(), protocol);
        assert_eq!(loaded.scenario.arrivals, Arrivals::Closed);
        assert_eq!(loaded.scenario.connections, 64);
        assert_eq!(loaded.written, ["traffic"]);
    }
    assert!(of_protocol("gopher").unwrap_err().to_string().contains("known here: http, mcp, sse"));
}

#[test]
fn everything_wrong_is_said_at_once_at_its_place() {
    let text = "\
target: https://a/
traffic:
  protocol: mcp
  era: 2024-11-05
  headers: {Host: a, 'x y': b}
  requests:
    - {tool: echo, params: {}}
    - {method: a, tool: b}
    - {weight: 0, method: ping}
    - {}
    - {method: ping, arguments: {}}
arrivals: {kind: constant, rate: 10/d}
think: {kind: fixed, time: 5}
conections: 3
duration: soon
";
    let expected = "\
s.yaml:1:9: target: `https://a/` is not the URL of a target, the generator speaks no TLS: name a plain http:// or ws:// listener, write it like `http://127.0.0.1:8080/mcp`
s.yaml:4:8: traffic.era: `2024-11-05` is none of the known ones, did you mean `2025-11-25`?
s.yaml:5:13: traffic.headers.Host: the generator writes this header itself, two of it would be refused, remove it
s.yaml:5:22: traffic.headers.x y: wanted a header name as the key, it must hold only the characters of RFC 9110 section 5.6.2, such as `x-tenant`
s.yaml:7:20: traffic.requests[0].params: not used with `tool`, a tool takes `arguments`, rename it, or give `method`
s.yaml:8:19: traffic.requests[1].tool: both `method` and `tool`, one request is one call, keep one of them
s.yaml:9:16: traffic.requests[2].weight: `0` is out of bounds, it must lie from 1 to 1000000, correct the value
s.yaml:10:7: traffic.requests[3]: neither `method` nor `tool`, nothing says what to call, add `method: tools/list`, or `tool: NAME` with `arguments`
s.yaml:11:22: traffic.requests[4].arguments: not used with `method`, a method takes `params`, rename it, or give `tool`
s.yaml:11:7: traffic.requests[4].name: `ping` is also the name of traffic.requests[2], reports tell requests by their names, give one of them another `name`
s.yaml:12:34: arrivals.rate: `10/d` is not a rate such as 500, 500/s or 20k/s, after `/` stands s, m or h, write it like `500/s`
s.yaml:13:28: think.time: `5` is not a time such as 250us, 5ms or 1.5s, it needs a unit: ns, us, ms, s, m or h, write it like `5ms`
s.yaml:13:1: think: clients of an open loop do not think, only a closed loop waits for replies, remove `think`, or let `arrivals.kind` be `closed`
s.yaml:14:1: conections: unknown key, nothing reads it, did you mean `connections`?
s.yaml:15:11: duration: wanted a duration such as 100ms, 5s or 30m, found `soon`, correct the value
";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&findings(text)), sorted(expected));
}

#[test]
fn what_cannot_hold_together_is_refused() {
    for (text, expected) in [
        ("", "s.yaml:1:1: traffic: missing, it has no default, add it"),
        ("traffic: {protocol: http, requests: []}", "s.yaml:1:27: traffic.requests: an empty list"),
        (
            "traffic: {protocol: tcp, headers: {a: b}}",
            "traffic.headers: unknown key, nothing reads it, known here: requests",
        ),
        (
            "traffic: {protocol: sse, hold: 1s, stall: 1s}",
            "s.yaml:1:36: traffic.stall: not shorter than `hold`",
        ),
        (
            "traffic: {protocol: http}\narrivals: {kind: ramp, from: 0, to: 0}",
            "both ends of the ramp are zero",
        ),
        ("traffic: {protocol: http}\narrivals: {kind: constant, rate: 0}", "a rate of zero starts nothing"),
        ("traffic: {protocol: http}\narrivals: {kind: steps, steps: []}", "arrivals.steps: an empty list"),
        (
            "traffic: {protocol: http}\nduration: 5s\narrivals: {kind: steps, steps: [{rate: 1, length: 1s}]}",
            "s.yaml:2:1: duration: not used with these arrivals, the lengths of the steps say how long",
        ),
        (
            "traffic: {protocol: http}\nthink: {kind: uniform, from: 2ms, to: 1ms}",
            "s.yaml:2:24: think.from: the shortest",
        ),
        ("traffic: {protocol: http}\narrivals: {kind: replay, file: no.txt}", "no.txt cannot be read"),
        (
            "traffic: {protocol: mcp, requests: [{tool: a, arguments: [1]}]}",
            "arguments: wanted a mapping of keys, found a list",
        ),
        (
            "traffic: {protocol: mcp, requests: [{tool: a, arguments: {b: '${NONE}'}}]}",
            "arguments.b: environment variable NONE",
        ),
        ("traffic: {protocol: mcp", "no valid YAML"),
    ] {
        let found = findings(text);
        assert!(found.contains(expected), "{text}\n{found}");
    }
    let missing = load(Path::new("/no/such.yaml"), &env()).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such.yaml: cannot be read"), "{missing}");
}

#[test]
fn arguments_keep_their_kinds_and_take_the_environment() {
    let (_folder, loaded) = written(
        "traffic: {protocol: mcp, requests: [{tool: t, arguments: {i: -3, f: 1.5, b: true, n: null, s: '7', w: off, \
         v: e5x, d: 2026-07-28, e: '${TOKEN}', l: [1, {a: {}}], big: 18446744073709551615}}]}",
    );
    let Traffic::Mcp { requests, .. } = loaded.unwrap().scenario.traffic else { panic!("no MCP") };
    let expected = serde_json::json!({
        "i": -3, "f": 1.5, "b": true, "n": null, "s": "7", "w": "off", "v": "e5x", "d": "2026-07-28", "e": "hunter2",
        "l": [1, { "a": {} }], "big": u64::MAX
    });
    assert_eq!(requests[0].call().1["arguments"], expected);
}

#[test]
fn recorded_starts_count_from_the_first_to_the_nanosecond() {
    let starts = "# from an access log\n1719849600.000000001\n\n1719849600.5\r\n1719849601000ms\n";
    let scenario = "traffic: {protocol: http}\narrivals: {kind: replay, file: starts.txt}\n";
    let folder = Folder::new(&[("s.yaml", scenario), ("starts.txt", starts)]);
    let loaded = load(&folder.path().join("s.yaml"), &env()).unwrap_or_else(|report| panic!("{report}"));
    let Arrivals::Replay { starts, .. } = loaded.scenario.arrivals else { panic!("no replay") };
    assert_eq!(starts, [0, 499_999_999, 999_999_999].map(Duration::from_nanos));
    for (bad, expected) in [
        ("2\n1\nx\n", "starts.txt:2:1: earlier than the line before it"),
        ("2\n1\nx\n", "starts.txt:3:1: `x` is no start"),
        ("# nothing\n", "starts.txt: no recorded start"),
        (&"1".repeat(100), "starts.txt:1:1: a line of more than 64 bytes"),
    ] {
        folder.write("starts.txt", bad.as_bytes());
        let report = load(&folder.path().join("s.yaml"), &env()).unwrap_err().to_string();
        assert!(report.contains(expected), "{bad}: {report}");
    }
}

#[test]
fn think_times_below_a_millisecond() {
    let (_folder, loaded) = written("traffic: {protocol: http}\nthink: {kind: exponential, mean: 250us}\n");
    let Some(Think::Exponential { mean }) = loaded.unwrap().scenario.think else { panic!("no think time") };
    assert_eq!(mean.0, Duration::from_micros(250));
}
