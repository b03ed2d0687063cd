//! Whole runs against small real servers. No test asserts a speed: what is asserted of time are lower bounds, and upper
//! ones only where a stall or a sleep of the server is larger than any scheduling noise by far.

mod servers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use erlmcp_ring::DriverChoice;

use super::*;
use servers::{OK, Server, Then, reply};

const MS: Duration = Duration::from_millis(1);

fn get(name: &str, path: &str, weight: u32) -> Request<Http> {
    let what =
        Http { method: "GET".to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    Request { name: name.to_owned(), weight, what }
}

fn spec(addr: SocketAddr) -> Spec {
    Spec {
        target: Target {
            url: format!("http://{addr}/"),
            addrs: vec![addr],
            host: addr.to_string(),
            path: "/".to_owned(),
        },
        protocol: Protocol::Http(vec![get("get", "", 1)]),
        arrivals: Arrivals::Closed,
        think: Think::No,
        connections: 4,
        threads: 1,
        cpus: Vec::new(),
        warmup: Duration::ZERO,
        duration: 1_000 * MS,
        timeout: 5_000 * MS,
        interval: 200 * MS,
        seed: 1,
        driver: DriverChoice::Auto,
        requests_max: None,
    }
}

fn run_quietly(spec: &Spec) -> Outcome {
    run(spec, &mut (), &Stop::default()).expect("runs")
}

/// What must hold of every outcome.
fn check_sums(outcome: &Outcome) {
    let totals = &outcome.totals;
    assert!(totals.due >= totals.completed + totals.errors.total(), "{totals:?}");
    assert!(totals.sent <= totals.due, "{totals:?}");
    assert_eq!(outcome.latencies.service.len(), totals.completed);
    let by_request: u64 = outcome.requests.iter().map(|request| request.completed).sum();
    assert_eq!(by_request, totals.completed);
    if outcome.spec.arrivals != Arrivals::Closed {
        let unanswered = totals.due - totals.completed - totals.errors.total();
        let timeouts = totals.errors.of(ErrorKind::Timeout);
        assert_eq!(outcome.latencies.response.len(), totals.completed + timeouts + unanswered, "{totals:?}");
        assert_eq!(outcome.lag.len(), totals.sent);
    }
}

#[test]
fn a_closed_loop_counts_exactly_on_both_drivers() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let server = Server::hello();
        let spec = Spec {
            driver,
            threads: 2,
            connections: 5,
            requests_max: Some(1_001),
            duration: 20_000 * MS,
            ..spec(server.addr)
        };
        let outcome = run_quietly(&spec);
        check_sums(&outcome);
        assert_eq!(
            (outcome.totals.due, outcome.totals.sent, outcome.totals.completed),
            (1_001, 1_001, 1_001)
        );
        assert_eq!((outcome.totals.errors.total(), outcome.totals.connects), (0, 5));
        assert_eq!(outcome.totals.bytes_in, 1_001 * OK.len() as u64);
        assert_eq!(server.requests.load(Ordering::Relaxed), 1_001);
        assert_eq!(outcome.connect.len(), 5);
        assert!(outcome.cut.is_none() && outcome.measured < spec.duration);
    }
}
