//! The load generator's MCP, SSE, WebSocket and TCP clients against servers made by hand, which hold them to the rules
//! of their protocols: a server that sees one broken says so, and the test fails. Real sockets, bounded runs, no speeds.
#![expect(clippy::expect_used, reason = "a broken expectation fails the test")]

mod mcp;
mod server;
mod sse;
mod tcp;
mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use erlmcp_bench::load::{
    Arrivals, Outcome, Protocol, Request, RequestOutcome, RunError, Spec, Stop, Target, Think, run,
};
use erlmcp_ring::DriverChoice;

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Auto, DriverChoice::Epoll];

/// A closed loop that ends after so many requests.
fn spec(addr: SocketAddr, protocol: Protocol, connections: u32, requests_max: u64) -> Spec {
    Spec {
        target: Target {
            url: format!("test://{addr}/mcp"),
            addrs: vec![addr],
            host: addr.to_string(),
            path: "/mcp".to_owned(),
        },
        protocol,
        arrivals: Arrivals::Closed,
        think: Think::No,
        connections,
        threads: 1,
        cpus: Vec::new(),
        warmup: Duration::ZERO,
        duration: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        interval: Duration::from_millis(200),
        seed: 1,
        driver: DriverChoice::Auto,
        requests_max: Some(requests_max),
    }
}

fn outcome(spec: &Spec) -> Outcome {
    let outcome = run(spec, &mut (), &Stop::default()).expect("runs");
    assert!(outcome.cut.is_none(), "{:?}", outcome.cut);
    assert!(outcome.measured < spec.duration, "the requests did not come to an end");
    outcome
}

fn refused(spec: &Spec) -> RunError {
    run(spec, &mut (), &Stop::default()).expect_err("no client can connect")
}

/// One of a mix of equals.
fn one<T>(name: &str, what: T) -> Request<T> {
    Request { name: name.to_owned(), weight: 1, what }
}

fn of<'o>(outcome: &'o Outcome, name: &str) -> &'o RequestOutcome {
    outcome.requests.iter().find(|request| request.name == name).expect("a request of that name")
}
