//! A simulated server for tests of the sequence and of its report: its truth is known.

use std::time::Duration;

use erlmcp_ring::DriverChoice;

use crate::capacity::plan::{PlanSpec, ShardRun};
use crate::capacity::queue::Effort;
use crate::capacity::trial::{Ask, Evidence, Measured, Rig, ServerUse, Trial, TrialError};
use crate::capacity::{Goal, Progress};
use crate::load::{self, Http, Protocol, Request, Target, Think};
use crate::stats::Rng;

/// A path of 200 µs and one shard with exponential service.
pub(in crate::capacity) struct Server {
    pub(in crate::capacity) capacity: f64,
    pub(in crate::capacity) seed: u64,
    /// Stops after so many trials.
    pub(in crate::capacity) trials_max: usize,
    pub(in crate::capacity) trials: usize,
    pub(in crate::capacity) generator_max: f64,
}

impl Server {
    pub(in crate::capacity) fn new(capacity: f64) -> Self {
        Self { capacity, seed: 0, trials_max: usize::MAX, trials: 0, generator_max: f64::INFINITY }
    }
}

impl Rig for Server {
    fn system(&mut self, run: Option<&ShardRun>) -> Result<Box<dyn Trial + '_>, TrialError> {
        let shards = run.map_or(1.0, |run| f64::from(run.shards));
        Ok(Box::new(System { server: self, shards }))
    }
}

struct System<'a> {
    server: &'a mut Server,
    shards: f64,
}

const PATH_S: f64 = 200e-6;

impl Trial for System<'_> {
    fn run(&mut self, ask: &Ask, _: &mut dyn Progress) -> Result<Measured, TrialError> {
        let server = &mut *self.server;
        if server.trials == server.trials_max {
            return Err(TrialError::Stopped);
        }
        server.trials += 1;
        server.seed += 1;
        let mut rng = Rng::new(server.seed);
        // More shards contend: 3 % each.
        let capacity = server.capacity * self.shards / (1.0 + 0.03 * (self.shards - 1.0));
        let closed = f64::from(ask.connections) / (PATH_S + 1.0 / server.capacity);
        let offered = ask.rate.unwrap_or(f64::INFINITY);
        // A closed loop saturates softly, with a little contention.
        let saturated = closed * capacity / (closed + capacity) * (0.005 * rng.normal()).exp();
        let achieved = if ask.rate.is_some() { offered.min(capacity) } else { saturated };
        let [mut response, mut service] = [load::new_histogram(), load::new_histogram()];
        let mut wait = 0.0;
        for _ in 0..8_000 {
            let busy = rng.exponential(1e9 / capacity);
            let whole = PATH_S * 1e9 + busy;
            service.saturating_record(whole as u64);
            response.saturating_record((wait + whole) as u64);
            if ask.rate.is_some() {
                wait = f64::max(wait + busy - rng.exponential(1e9 / offered), 0.0);
            }
        }
        let seconds = ask.duration.as_secs_f64();
        let spoiled = ask.rate.is_some_and(|rate| rate > server.generator_max);
        let reason = vec!["a thread of the generator had hardly a moment to wait".to_owned()];
        Ok(Measured {
            ask: *ask,
            due: (ask.rate.unwrap_or(achieved) * seconds) as u64,
            completed: (achieved * seconds) as u64,
            errors: 0,
            bytes: (achieved * seconds) as u64 * 500,
            elapsed: ask.duration,
            took: ask.duration,
            response,
            service,
            server: Some(ServerUse {
                cpu_us_per_request: 1e6 / capacity,
                descriptors: 40 + 64,
                memory_bytes: 0,
            }),
            generator_bound: false,
            evidence: if spoiled { Evidence::Invalid(reason) } else { Evidence::Valid },
        })
    }
}

pub(in crate::capacity) fn load_spec(url: &str, addrs: Vec<std::net::SocketAddr>) -> load::Spec {
    let get = Http { method: "GET".to_owned(), path: String::new(), headers: Vec::new(), body: Vec::new() };
    load::Spec {
        target: Target { url: url.to_owned(), addrs, host: "localhost".to_owned(), path: "/".to_owned() },
        protocol: Protocol::Http(vec![Request { name: "get".to_owned(), weight: 1, what: get }]),
        arrivals: load::Arrivals::Closed,
        think: Think::No,
        connections: 64,
        threads: 1,
        cpus: Vec::new(),
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        interval: Duration::from_millis(100),
        seed: 1,
        driver: DriverChoice::Auto,
        requests_max: None,
    }
}

pub(in crate::capacity) fn spec(goals: &str) -> PlanSpec {
    let load = load_spec("http://simulated/", vec![([127, 0, 0, 1], 1).into()]);
    let goals = Goal::parse_all(goals).expect("goals");
    let spec = PlanSpec::new(load, goals, Duration::from_secs(5), Duration::from_secs(20));
    PlanSpec { effort: Effort::QUICK, ..spec }
}
