//! Flags and scenarios joined, from the words of a command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use erlmcp_bench::load::{Arrivals, Era, Protocol, Spec, Think};

use super::args::RunArgs;
use super::resolve::Resolved;
use super::spec::{Refusal, Wanted};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
}

fn wanted(words: &[&str]) -> (RunArgs, Result<Wanted, Refusal>) {
    let args = Cli::try_parse_from(std::iter::once(&"run").chain(words)).unwrap().run;
    let wanted = Wanted::new(&args.load, &args.pace);
    (args, wanted)
}

fn spec(words: &[&str]) -> (Spec, Vec<String>) {
    let (args, wanted) = wanted(words);
    let wanted = wanted.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let resolved = Resolved { addrs: vec![SocketAddr::from(([127, 0, 0, 1], 1))], notes: Vec::new() };
    (wanted.spec(&args.load, &resolved), wanted.notes)
}

fn usage(words: &[&str]) -> String {
    match wanted(words).1 {
        Err(Refusal::Usage(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A scenario file that is gone after the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("erlmcp-bench-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // One that stays behind in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_bare_url_runs_a_closed_loop_of_64_clients_on_one_thread() {
    let (spec, notes) = spec(&["http://127.0.0.1:3000/a?b"]);
    let Protocol::Http(requests) = &spec.protocol else { panic!("{spec:?}") };
    assert_eq!(
        (requests.len(), requests[0].what.method.as_str(), requests[0].what.path.as_str()),
        (1, "GET", "")
    );
    assert_eq!((spec.connections, spec.threads, spec.arrivals.clone()), (64, 1, Arrivals::Closed));
    assert_eq!((spec.warmup, spec.duration), (Duration::from_secs(2), Duration::from_secs(30)));
    assert_eq!((spec.target.host.as_str(), spec.target.path.as_str()), ("127.0.0.1:3000", "/a?b"));
    assert!(notes.is_empty() && spec.cpus.is_empty() && spec.think == Think::No);
}

#[test]
fn the_url_decides_the_protocol_and_says_so() {
    let (mcp, notes) = spec(&["http://h:1/mcp?x"]);
    let Protocol::Mcp(mcp) = mcp.protocol else { panic!("no MCP") };
    assert_eq!((mcp.era, mcp.calls[0].what.method.as_str()), (Era::Stateless, "tools/list"));
    assert!(notes[0].contains("MCP is spoken"), "{notes:?}");
    assert!(matches!(spec(&["ws://h:1/mcp"]).0.protocol, Protocol::WebSocket { .. }));
    assert!(matches!(spec(&["tcp://h:1"]).0.protocol, Protocol::Tcp(_)));
    assert!(matches!(spec(&["--protocol", "http", "http://h:1/mcp"]).0.protocol, Protocol::Http(_)));
    // A body of the user's own is no call of ours.
    assert!(matches!(spec(&["--body", "x", "http://h:1/mcp"]).0.protocol, Protocol::Http(_)));
    assert!(matches!(spec(&["--protocol", "sse", "http://h:1/mcp"]).0.protocol, Protocol::Sse { .. }));
}

#[test]
fn flags_fill_the_order() {
    let words = [
        "--rate",
        "5k/s",
        "--poisson",
        "--connections",
        "10",
        "--cpus",
        "2,3",
        "--duration",
        "5",
        "--warmup",
        "0s",
        "--timeout",
        "250ms",
        "--interval",
        "500ms",
        "--seed",
        "7",
        "--requests",
        "99",
        "--driver",
        "epoll",
        "--method",
        "PUT",
        "--body",
        "abc",
        "--header",
        "Host: other",
        "--header",
        "A:b",
        "http://h:1/",
    ];
    let (spec, _) = spec(&words);
    assert_eq!(spec.arrivals, Arrivals::Poisson(5000.0));
    assert_eq!((spec.connections, spec.threads, spec.cpus.as_slice()), (10, 2, &[2, 3][..]));
    assert_eq!((spec.duration, spec.warmup), (Duration::from_secs(5), Duration::ZERO));
    assert_eq!((spec.timeout, spec.interval), (Duration::from_millis(250), Duration::from_millis(500)));
    assert_eq!((spec.seed, spec.requests_max, spec.driver), (7, Some(99), erlmcp_ring::DriverChoice::Epoll));
    assert_eq!(spec.target.host, "other");
    let Protocol::Http(requests) = &spec.protocol else { panic!("{spec:?}") };
    let what = &requests[0].what;
    assert_eq!((what.method.as_str(), what.body.as_slice()), ("PUT", &b"abc"[..]));
    assert_eq!(what.headers, [("A".to_owned(), "b".to_owned())]);
}

#[test]
fn a_scenario_gives_what_flags_do_not() {
    let file = File::new(
        "mix",
        "target: http://h:1/mcp\n\
         traffic:\n  protocol: mcp\n  headers: {authorization: a, X-A: b}\n  requests:\n  - {tool: echo, arguments: {text: hi}}\n\
         arrivals: {kind: poisson, rate: 10}\nconnections: 4\nduration: 3s\n",
    );
    let (from_file, _) = spec(&["--scenario", file.path()]);
    assert_eq!((from_file.arrivals.clone(), from_file.connections), (Arrivals::Poisson(10.0), 4));
    let words = [
        "--rate",
        "20",
        "--scenario",
        file.path(),
        "--era",
        "2025-11-25",
        "--header",
        "Authorization: c",
        "http://i:2/",
    ];
    let (spec, _) = spec(&words);
    assert_eq!((spec.arrivals, spec.connections), (Arrivals::Poisson(20.0), 4));
    assert_eq!((spec.target.host.as_str(), spec.duration), ("i:2", Duration::from_secs(3)));
    let Protocol::Mcp(mcp) = &spec.protocol else { panic!("no MCP") };
    assert_eq!(mcp.era, Era::Sessions);
    let pairs =
        [("Authorization", "c"), ("X-A", "b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(mcp.headers, pairs);
    let params = serde_json::json!({ "name": "echo", "arguments": { "text": "hi" } });
    assert_eq!((mcp.calls[0].name.as_str(), &mcp.calls[0].what.params), ("echo", &params));
}

#[test]
fn steps_last_as_long_as_they_do_and_a_request_s_header_stands_above_all_s() {
    let file = File::new(
        "steps",
        "traffic: {protocol: http, headers: {a: all, B: all}, requests: [{headers: {A: own}}]}\n\
         arrivals: {kind: steps, steps: [{rate: 1, length: 2s}, {rate: 2, length: 3s}]}\n",
    );
    let (found, _) = spec(&["--scenario", file.path(), "http://h:1/"]);
    assert_eq!(found.duration, Duration::from_secs(5));
    let Protocol::Http(requests) = &found.protocol else { panic!("no HTTP") };
    let pairs = [("A", "own"), ("B", "all")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(requests[0].what.headers, pairs);
    assert!(usage(&["--scenario", file.path(), "--duration", "9", "http://h:1/"]).contains("--duration"));
    let (closed, _) = spec(&["--scenario", file.path(), "--duration", "9", "--closed", "http://h:1/"]);
    assert_eq!((closed.arrivals, closed.duration), (Arrivals::Closed, Duration::from_secs(9)));
    assert!(usage(&["--scenario", file.path()]).contains("no URL"));
}

#[test]
fn what_does_not_go_together_is_usage() {
    for (words, why) in [
        (&["--threads", "3", "--connections", "2", "http://h/"][..], "3 threads share 2"),
        (&["--protocol", "tcp", "http://h/"], "tcp://HOST:PORT"),
        (&["--protocol", "http", "tcp://h:1"], "http://HOST"),
        (&["--protocol", "mcp", "ws://h"], "http://HOST"),
        (&["--era", "2025-11-25", "http://h/"], "--era is of MCP"),
        (&["--method", "POST", "ws://h/"], "are of HTTP"),
        (&["--header", "content-length: 3", "http://h/"], "itself"),
        (&["--header", "a: 3", "tcp://h:1"], "tcp has no headers"),
    ] {
        let said = usage(words);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    let thinking = File::new("think", "traffic: {protocol: http}\nthink: {kind: fixed, time: 1ms}\n");
    assert!(usage(&["--scenario", thinking.path(), "--rate", "5", "http://h/"]).contains("think"));
}

#[test]
fn bad_scenarios_and_bodies_are_said_with_everything() {
    let file = File::new("bad", "trafic: {}\nconnections: 0\n");
    let Err(Refusal::Bad(error)) = wanted(&["--scenario", file.path(), "http://h/"]).1 else {
        panic!("taken")
    };
    let text = error.to_string();
    assert!(text.contains(":1:1: trafic: unknown key") && text.contains(":2:14: connections: `0`"), "{text}");
    let Err(Refusal::Bad(error)) = wanted(&["--body", "@/no/such", "http://h/"]).1 else { panic!("taken") };
    assert!(error.to_string().contains("/no/such"), "{error}");
}
