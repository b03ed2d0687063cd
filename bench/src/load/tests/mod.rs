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

pub(super) fn spec(addr: SocketAddr) -> Spec {
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

fn quantile(histogram: &hdrhistogram::Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}

#[test]
fn an_open_loop_keeps_its_schedule_on_both_drivers() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let server = Server::hello();
        let spec = Spec {
            driver,
            threads: 2,
            connections: 8,
            arrivals: Arrivals::Constant(500.0),
            warmup: 100 * MS,
            ..spec(server.addr)
        };
        let outcome = run_quietly(&spec);
        check_sums(&outcome);
        // Of the arrivals within the second none is lost, and none is invented.
        assert_eq!(outcome.totals.due, 500);
        assert!(outcome.totals.completed >= 490, "{:?}", outcome.totals);
        assert_eq!(server.requests.load(Ordering::Relaxed), outcome.totals.sent + 50);
        assert_eq!(outcome.measured, 1_000 * MS);
        let asked: Vec<f64> = outcome.series.iter().map(|point| point.asked).collect();
        assert_eq!(asked, [500.0; 5]);
        // Requests were spread over time as asked: each thread starts one every 4 ms.
        let mean = outcome.pacing.gaps.iter().sum::<u64>() / outcome.pacing.gaps.len() as u64;
        assert!((3_900_000..4_100_000).contains(&mean), "{mean}");
    }
}

/// A server that answers nothing from `from` to `to` after its first request.
fn stalling(from: Duration, to: Duration) -> Server {
    let first = std::sync::OnceLock::new();
    Server::start(move |_, stream| {
        let since = first.get_or_init(Instant::now).elapsed();
        if (from..to).contains(&since) {
            std::thread::sleep(to - since);
        }
        reply(stream, OK)
    })
}

#[test]
fn a_stall_is_in_the_response_times_of_all_that_should_have_started_meanwhile() {
    let (stall, length) = (600 * MS, 1_600 * MS);
    let server = stalling(400 * MS, 400 * MS + stall);
    let spec = Spec { arrivals: Arrivals::Constant(1_000.0), duration: length, ..spec(server.addr) };
    let outcome = run_quietly(&spec);
    check_sums(&outcome);
    // latency(p) = S - (1 - p) T at least, and a millisecond for the server's own clock.
    let bound = stall - length / 100 - MS;
    let response = quantile(&outcome.latencies.response, 0.99);
    assert!(response >= bound, "{response:?} of {bound:?}");
    // Four requests were under way: 0.25 %.
    let service = quantile(&outcome.latencies.service, 0.99);
    assert!(service < stall / 2 && service < response / 2, "{service:?}");
    assert!(outcome.latencies.service.max() >= 500_000_000);
    assert!(outcome.pacing.waited >= 500, "{}", outcome.pacing.waited);
    assert!(outcome.series.iter().any(|point| point.backlog >= 100));
}

#[test]
fn a_stall_until_the_end_is_recorded_as_far_as_it_has_come() {
    let server = stalling(500 * MS, 3_000 * MS);
    let spec = Spec { arrivals: Arrivals::Constant(1_000.0), ..spec(server.addr) };
    let outcome = run_quietly(&spec);
    check_sums(&outcome);
    assert_eq!(outcome.totals.due, 1_000);
    assert!(outcome.totals.completed <= 600, "{:?}", outcome.totals);
    let response = quantile(&outcome.latencies.response, 0.99);
    assert!(response >= 480 * MS, "{response:?}");
    assert!(quantile(&outcome.latencies.service, 0.99) < 400 * MS);
}

#[test]
fn time_outs_end_requests_and_their_connections() {
    let server = Server::start(|n, stream| {
        if n % 10 == 9 {
            std::thread::sleep(400 * MS);
        }
        reply(stream, OK)
    });
    let spec = Spec { arrivals: Arrivals::Constant(100.0), timeout: 100 * MS, ..spec(server.addr) };
    let outcome = run_quietly(&spec);
    check_sums(&outcome);
    let timeouts = outcome.totals.errors.of(ErrorKind::Timeout);
    assert!((7..=10).contains(&timeouts), "{:?}", outcome.totals);
    assert_eq!(outcome.totals.errors.total(), timeouts);
    assert!(outcome.totals.connects >= 4 + timeouts - 1, "{:?}", outcome.totals);
    assert!(outcome.latencies.response.max() >= 100_000_000);
    assert!(outcome.latencies.service.max() < 400_000_000);
}

#[test]
fn known_service_times_are_found_within_a_bucket_and_noise_only_upward() {
    let server = Server::start(|n, stream| {
        std::thread::sleep(if n % 2 == 0 { 5 * MS } else { 20 * MS });
        reply(stream, OK)
    });
    let spec = Spec { connections: 2, requests_max: Some(100), ..spec(server.addr) };
    let outcome = run_quietly(&Spec { duration: 20_000 * MS, ..spec });
    check_sums(&outcome);
    let service = &outcome.latencies.service;
    // A bucket's value is its upper end, so that it is never below what was recorded in it.
    assert!(service.min() >= service.lowest_equivalent(5_000_000), "{}", service.min());
    assert!((5 * MS..15 * MS).contains(&quantile(service, 0.25)), "{:?}", quantile(service, 0.25));
    assert!((20 * MS..30 * MS).contains(&quantile(service, 0.75)), "{:?}", quantile(service, 0.75));
    assert_eq!(service, &outcome.latencies.response);
}

#[test]
fn a_mix_is_recorded_by_request() {
    let server = Server::hello();
    let protocol = Protocol::Http(vec![get("often", "/a", 3), get("rare", "/b", 1)]);
    let outcome = run_quietly(&Spec { protocol, requests_max: Some(400), ..spec(server.addr) });
    check_sums(&outcome);
    let counts: Vec<(&str, u64)> =
        outcome.requests.iter().map(|request| (request.name.as_str(), request.completed)).collect();
    assert_eq!((counts[0].0, counts[1].0), ("often", "rare"));
    // Binomial with mean 300, standard deviation 8.7, and the same with each run of this seed.
    assert!((250..350).contains(&counts[0].1), "{counts:?}");
}

#[test]
fn bodies_of_any_framing_are_read_to_their_ends() {
    let server = Server::start(|n, stream| match n % 5 {
        0 => reply(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        1 => {
            reply(stream, b"HTTP/1.1 200 OK\r\n\r\nuntil the close");
            Then::Close
        }
        2 => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
            bytes.resize(bytes.len() + 100_000, b'x');
            reply(stream, &bytes)
        }
        3 => reply(stream, b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        _ => {
            reply(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            Then::Close
        }
    });
    let outcome = run_quietly(&Spec { requests_max: Some(100), duration: 20_000 * MS, ..spec(server.addr) });
    check_sums(&outcome);
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (100, 0));
    // Two of five replies ended their connection.
    assert!((37..=44).contains(&outcome.totals.connects), "{:?}", outcome.totals);
    assert!(outcome.totals.bytes_in > 20 * 100_000);
}

#[test]
fn refusals_garbage_and_cut_replies_are_told_apart() {
    let server = Server::start(|n, stream| match n % 4 {
        0 => reply(stream, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        1 => reply(stream, b"SSH-2.0-OpenSSH_9.2\r\n"),
        2 => {
            reply(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
            Then::Close
        }
        _ => reply(stream, OK),
    });
    let outcome = run_quietly(&Spec { requests_max: Some(400), duration: 20_000 * MS, ..spec(server.addr) });
    check_sums(&outcome);
    let errors = &outcome.totals.errors;
    let counts = [ErrorKind::Refused, ErrorKind::Garbage, ErrorKind::Closed].map(|kind| errors.of(kind));
    assert_eq!((counts, outcome.totals.completed), ([100; 3], 100));
    assert_eq!(outcome.requests[0].errors, *errors);
}

#[test]
fn nobody_listening_ends_the_run_at_once_with_the_reason() {
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let begun = Instant::now();
    let spec = Spec { connections: 500, duration: 60_000 * MS, ..spec(addr) };
    let error = run(&spec, &mut (), &Stop::default()).expect_err("nobody listens");
    assert!(matches!(error, RunError::NoConnection { kind: ErrorKind::Connect, .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("http://{addr}/")), "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(begun.elapsed() < 20_000 * MS);
}

#[test]
fn a_server_that_goes_away_leaves_errors_and_no_storm() {
    let server = Server::hello();
    let over = Arc::new(AtomicBool::new(false));
    let proxy = {
        let over = Arc::clone(&over);
        Server::start(
            move |_, stream| if over.load(Ordering::Relaxed) { Then::Close } else { reply(stream, OK) },
        )
    };
    drop(server);
    let addr = proxy.addr;
    let ender = std::thread::spawn(move || {
        std::thread::sleep(300 * MS);
        over.store(true, Ordering::Relaxed);
        drop(proxy);
    });
    let outcome = run_quietly(&spec(addr));
    ender.join().expect("ends");
    check_sums(&outcome);
    assert!(outcome.totals.completed > 0);
    let refused = outcome.totals.errors.of(ErrorKind::Connect);
    // Four clients, each with pauses of 5, 10, 20, ... ms in 0.7 s.
    assert!((4..=4 * 8).contains(&refused), "{:?}", outcome.totals);
}

/// Keeps what it hears, and stops the run when it has heard of a number of intervals.
#[derive(Default)]
struct Listener {
    intervals: Vec<(Duration, Duration, u64)>,
    due: u64,
    phases: Vec<Phase>,
    stop: Option<(Stop, usize)>,
}

impl Observer for Listener {
    fn interval(&mut self, interval: &Interval) {
        self.intervals.push((interval.start, interval.length, interval.totals.completed));
        self.due += interval.totals.due;
        if let Some((stop, after)) = &self.stop
            && self.intervals.len() >= *after
        {
            stop.stop();
        }
    }

    fn progress(&mut self, progress: &Progress) {
        assert!(progress.completed + progress.errors <= progress.sent);
        self.phases.push(progress.phase);
    }
}

#[test]
fn a_stopped_run_keeps_what_it_has_and_says_that_it_is_partial() {
    let server = Server::hello();
    let stop = Stop::default();
    let mut listener = Listener { stop: Some((stop.clone(), 2)), ..Listener::default() };
    let begun = Instant::now();
    let spec = Spec { duration: 60_000 * MS, arrivals: Arrivals::Constant(200.0), ..spec(server.addr) };
    let outcome = run(&spec, &mut listener, &stop).expect("runs");
    assert!(begun.elapsed() < 20_000 * MS);
    check_sums(&outcome);
    assert!(outcome.cut.as_ref().is_some_and(|cut| cut.contains("of 60.0 s")), "{:?}", outcome.cut);
    assert!(outcome.measured >= 400 * MS && outcome.measured < 20_000 * MS);
    assert!(outcome.totals.completed >= 70, "{:?}", outcome.totals);
    let error = run(&spec, &mut listener, &stop).expect_err("stopped before it began");
    assert!(matches!(error, RunError::Stopped), "{error:?}");
}

#[test]
fn intervals_follow_each_other_and_add_up() {
    let server = Server::hello();
    let mut listener = Listener::default();
    let spec = Spec {
        threads: 2,
        warmup: 300 * MS,
        duration: 700 * MS,
        arrivals: Arrivals::Poisson(500.0),
        ..spec(server.addr)
    };
    let outcome = run(&spec, &mut listener, &Stop::default()).expect("runs");
    check_sums(&outcome);
    let bounds: Vec<_> = listener.intervals.iter().map(|(start, length, _)| (*start, *length)).collect();
    let wanted =
        [(0, 200), (200, 200), (400, 200), (600, 100)].map(|(start, length)| (start * MS, length * MS));
    assert_eq!(bounds, wanted);
    let completed: u64 = listener.intervals.iter().map(|(_, _, completed)| completed).sum();
    assert_eq!((completed, listener.due), (outcome.totals.completed, outcome.totals.due));
    assert_eq!(outcome.series.len(), 4);
    assert!(listener.phases.contains(&Phase::WarmingUp) && listener.phases.contains(&Phase::Measuring));
}

#[test]
fn new_connections_are_made_for_each_request_and_given_back() {
    let server = Server::start(|_, stream| {
        reply(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        Then::Close
    });
    let request = get("", "/", 1).what;
    let spec = Spec {
        protocol: Protocol::NewConnection(request),
        requests_max: Some(200),
        duration: 20_000 * MS,
        ..spec(server.addr)
    };
    let outcome = run_quietly(&spec);
    check_sums(&outcome);
    assert_eq!((outcome.totals.completed, outcome.totals.errors.total()), (200, 0));
    // Each client has tried one before the run.
    assert_eq!((outcome.totals.connects, outcome.connect.len()), (204, 204));
    assert_eq!(server.connections.load(Ordering::Relaxed), 204);
}

#[test]
fn a_replay_ends_with_its_last_reply() {
    let server = Server::hello();
    let starts = (0..50).map(|n| n * 4 * MS).collect();
    let outcome = run_quietly(&Spec { arrivals: Arrivals::Replay(starts), ..spec(server.addr) });
    check_sums(&outcome);
    assert_eq!((outcome.totals.due, outcome.totals.completed), (50, 50));
    assert!(outcome.measured >= 196 * MS && outcome.measured < 5_000 * MS);
}

#[test]
fn think_times_slow_a_closed_loop_down() {
    let server = Server::hello();
    let outcome = run_quietly(&Spec { think: Think::Fixed(20 * MS), ..spec(server.addr) });
    check_sums(&outcome);
    // Four clients, a request each 20 ms and a little: 200 at most, and one more each at the edges.
    assert!((50..=204).contains(&outcome.totals.completed), "{:?}", outcome.totals);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let good = spec(([127, 0, 0, 1], 9).into());
    let bad = [
        Spec { connections: 0, ..good.clone() },
        Spec { threads: 9, ..good.clone() },
        Spec { duration: Duration::ZERO, ..good.clone() },
        Spec { arrivals: Arrivals::Constant(0.0), ..good.clone() },
        Spec { arrivals: Arrivals::Poisson(f64::NAN), ..good.clone() },
        Spec { arrivals: Arrivals::Replay(vec![2 * MS, MS]), ..good.clone() },
        Spec { protocol: Protocol::Http(Vec::new()), ..good.clone() },
        Spec { target: Target { addrs: Vec::new(), ..good.target.clone() }, ..good.clone() },
    ];
    for spec in bad {
        let error = run(&spec, &mut (), &Stop::default()).expect_err("makes no sense");
        assert!(matches!(error, RunError::Spec(_)), "{error:?}");
    }
    let broken =
        Http { method: "GET".to_owned(), path: "/a b".to_owned(), headers: Vec::new(), body: Vec::new() };
    let request = Request { name: "broken".to_owned(), weight: 1, what: broken };
    let error = run(&Spec { protocol: Protocol::Http(vec![request]), ..good }, &mut (), &Stop::default());
    assert!(error.is_err_and(|error| error.to_string().contains("\"/a b\"")));
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_limit() {
    let spec = Spec { connections: u32::MAX, ..spec(([127, 0, 0, 1], 9).into()) };
    let error = run(&spec, &mut (), &Stop::default()).expect_err("too many");
    assert!(matches!(error, RunError::Descriptors { .. }), "{error:?}");
}
