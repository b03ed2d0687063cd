//! A real server process that is stopped (SIGSTOP) in the middle of a run: what Gil Tene asks of a load generator, to
//! show the stall to each request that should have been served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use erlmcp_bench::child::{ChildError, Server, ServerSpec};
use erlmcp_bench::load::{
    Arrivals, Http, Interval, Observer, Protocol, Request, Spec, Stop, Target, Think, run,
};
use erlmcp_bench::ports::free_addr;
use erlmcp_ring::DriverChoice;
use rustix::process::Signal;

const LENGTH: Duration = Duration::from_millis(2_500);
const STALL: Duration = Duration::from_millis(800);
/// What a signal may need to reach all threads of the server.
const SIGNAL: Duration = Duration::from_millis(20);

/// Stops the server from the end of the fifth interval on, and lets it go on after the stall.
struct Stopper {
    server: Server,
    stopped: Option<Instant>,
    stall: Option<Duration>,
    intervals: u32,
    signaled: Vec<Result<(), ChildError>>,
}

impl Observer for Stopper {
    fn interval(&mut self, _: &Interval) {
        self.intervals += 1;
        match self.stopped {
            None if self.intervals == 5 => {
                self.signaled.push(self.server.signal(Signal::STOP));
                self.stopped = Some(Instant::now());
            }
            Some(stopped) if self.stall.is_none() && stopped.elapsed() >= STALL => {
                self.stall = Some(stopped.elapsed());
                self.signaled.push(self.server.signal(Signal::CONT));
            }
            _ => {}
        }
    }
}

fn spec(addr: SocketAddr, driver: DriverChoice) -> Spec {
    let http = Http { method: "GET".to_owned(), path: String::new(), headers: Vec::new(), body: Vec::new() };
    let target = Target {
        url: format!("http://{addr}/"),
        addrs: vec![addr],
        host: addr.to_string(),
        path: "/".to_owned(),
    };
    Spec {
        target,
        protocol: Protocol::Http(vec![Request { name: "get".to_owned(), weight: 1, what: http }]),
        arrivals: Arrivals::Constant(1_000.0),
        think: Think::No,
        connections: 8,
        threads: 1,
        cpus: Vec::new(),
        warmup: Duration::from_millis(100),
        duration: LENGTH,
        timeout: Duration::from_secs(10),
        interval: Duration::from_millis(100),
        seed: 1,
        driver,
        requests_max: None,
    }
}

#[test]
fn a_stopped_server_is_seen_by_all_that_should_have_been_served() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let addr = free_addr().expect("a port");
        let log = std::env::temp_dir().join(format!("erlmcp-stall-{}.log", std::process::id()));
        let command = ServerSpec::new(env!("CARGO_BIN_EXE_hello")).arg(addr.to_string());
        let mut server = command.start(&log).expect("starts");
        server.wait_for_port(addr, Duration::from_secs(10)).expect("listens");
        let mut stopper = Stopper { server, stopped: None, stall: None, intervals: 0, signaled: Vec::new() };
        let outcome = run(&spec(addr, driver), &mut stopper, &Stop::default()).expect("runs");
        stopper.server.kill().expect("ends");
        let _ = std::fs::remove_file(&log);

        assert!(stopper.signaled.iter().all(Result::is_ok), "{:?}", stopper.signaled);
        let stall = stopper.stall.expect("it went on again");
        // latency(p) = S - (1 - p) T, a lower bound: the backlog's drain comes on top.
        let bound = stall - LENGTH / 100 - SIGNAL;
        let quantile = |of: &hdrhistogram::Histogram<u64>| Duration::from_nanos(of.value_at_quantile(0.99));
        let (response, service) =
            (quantile(&outcome.latencies.response), quantile(&outcome.latencies.service));
        assert!(response >= bound, "{}: {response:?} of {bound:?}", outcome.driver);
        // Eight of 2,500 requests were under way: the service time's 99th percentile does not know of the stall.
        assert!(service < STALL / 2, "{}: {service:?}", outcome.driver);
        assert_eq!(outcome.totals.due, 2_500);
        assert_eq!(outcome.totals.errors.total(), 0, "{:?}", outcome.totals);
        assert!(outcome.pacing.waited >= 700, "{}", outcome.pacing.waited);
    }
}
