//! Outcomes for tests: a healthy run of given latencies, to be made ill field by field.

use std::time::{Duration, UNIX_EPOCH};

use erlmcp_ring::DriverChoice;
use hdrhistogram::Histogram;

use crate::load::{
    Arrivals, Http, Interval, Latencies, Machine, Outcome, Pacing, Point, Protocol, Request, RequestOutcome,
    Spec, StreamOutcome, Target, Think, ThreadUse, Totals, new_histogram,
};
use crate::stats::Rng;

/// Seconds that it measures.
pub(crate) const SECONDS: u64 = 20;
/// Requests a second.
pub(crate) const RATE: u64 = 2_000;

pub(crate) fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = new_histogram();
    for value in values {
        histogram.record(value).expect("in range");
    }
    histogram
}

fn spec() -> Spec {
    let http = Http { method: "GET".into(), path: String::new(), headers: Vec::new(), body: Vec::new() };
    Spec {
        target: Target {
            url: "http://127.0.0.1:8080/mcp?a=1&b=<2>".into(),
            addrs: vec!["127.0.0.1:8080".parse().expect("an address")],
            host: "127.0.0.1:8080".into(),
            path: "/mcp".into(),
        },
        protocol: Protocol::Http(vec![Request { name: "get".into(), weight: 1, what: http }]),
        arrivals: Arrivals::Constant(RATE as f64),
        think: Think::No,
        connections: 64,
        threads: 1,
        cpus: vec![1],
        warmup: Duration::from_secs(2),
        duration: Duration::from_secs(SECONDS),
        timeout: Duration::from_secs(5),
        interval: Duration::from_secs(1),
        seed: 1,
        driver: DriverChoice::Auto,
        requests_max: None,
    }
}

/// Exponential service times of 500 µs beyond 100 µs, lag of some microseconds, no error.
pub(crate) fn outcome() -> Outcome {
    let count = SECONDS * RATE;
    let mut rng = Rng::new(42);
    let service: Vec<u64> = (0..count).map(|_| 100_000 + rng.exponential(500_000.0) as u64).collect();
    let lag: Vec<u64> = (0..count).map(|_| 2_000 + rng.below(20_000)).collect();
    let latencies = Latencies {
        response: histogram(service.iter().zip(&lag).map(|(service, lag)| service + lag)),
        service: histogram(service.iter().copied()),
    };
    let totals = Totals {
        due: count,
        sent: count,
        completed: count,
        bytes_in: count * 200,
        bytes_out: count * 100,
        connects: 64,
        ..Totals::default()
    };
    let gap = 1_000_000_000 / RATE;
    let in_flight_seconds = service.iter().map(|service| *service as f64 / 1e9).sum();
    Outcome {
        spec: spec(),
        started: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        measured: Duration::from_secs(SECONDS),
        cut: None,
        driver: "io_uring",
        totals,
        requests: vec![RequestOutcome {
            name: "get".into(),
            completed: count,
            errors: totals.errors,
            latencies: latencies.clone(),
        }],
        latencies,
        lag: histogram(lag),
        connect: histogram((0..64).map(|_| 50_000)),
        streams: None,
        pacing: Pacing {
            gaps: (0..5_000).map(|_| gap - 5_000 + rng.below(10_000)).collect(),
            in_flight_seconds,
            waited: 0,
        },
        machine: machine(),
        series: (0..SECONDS).map(point).collect(),
    }
}

fn machine() -> Machine {
    let thread = ThreadUse {
        cpu: Some(1),
        cpu_share: 0.5,
        busy_share: 0.2,
        run_delay_share: 0.001,
        involuntary_switches: 12,
    };
    Machine {
        threads: vec![thread],
        steal_share: Some(0.0),
        throttled: None,
        retransmits: Some(0),
        softnet_drops: Some(0),
        ports: (64, 28_000),
        cpu_us_per_request: 4.5,
    }
}

fn point(second: u64) -> Point {
    Point {
        at: second as f64,
        asked: RATE as f64,
        achieved: RATE as f64,
        errors: 0.0,
        p50: 0.45,
        p99: 2.4,
        max: 4.0 + second as f64 * 0.1,
        backlog: 0,
    }
}

/// Streams with time to first event, gaps and a stall.
pub(crate) fn streams() -> StreamOutcome {
    StreamOutcome {
        streams: 500,
        events: 5_000,
        stalls: 1,
        first_event: histogram((1..=500).map(|at| at * 10_000)),
        gap: histogram((1..=5_000).map(|at| at * 1_000)),
    }
}

/// The interval of second `at`, with replies between 1 and 2 ms times `factor`.
pub(crate) fn interval(at: u64, factor: u64) -> Interval {
    let values: Vec<u64> = (0..RATE).map(|reply| (1_000_000 + reply * 500) * factor).collect();
    Interval {
        start: Duration::from_secs(at),
        length: Duration::from_secs(1),
        totals: Totals { due: RATE, sent: RATE, completed: RATE, ..Totals::default() },
        latencies: Latencies {
            response: histogram(values.iter().map(|value| value + 10_000)),
            service: histogram(values.iter().copied()),
        },
        lag: histogram((0..RATE).map(|_| 10_000)),
        backlog: 0,
        in_flight: 3,
        asked_rate: Some(RATE as f64),
    }
}
