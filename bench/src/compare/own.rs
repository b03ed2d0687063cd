//! Load by this crate's generator: one thread on a processor of its own.
//!
//! Owns the intervals between which the server is looked at. A closed loop runs for a quarter longer than asked, and its
//! first interval is thrown away: its end is the moment at which measuring begins, with all connections at work.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use erlmcp_ring::DriverChoice;

use super::generator::{Load, LoadError, Mark, Own, Seen};
use super::scenario::Kind;
use crate::certificate::Certificate;
use crate::load::{
    self, Arrivals, Http, Interval, Observer, Outcome, Protocol, Request, RunError, Spec, Stop, Target,
    Think, Totals,
};

/// Intervals of the measured time.
const INTERVALS: u32 = 4;
/// A reply that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of schedules; any number does.
const SEED: u64 = 1;
/// As long as the small reply.
const MESSAGE: &str = "Hello, World!";

/// Puts the load on and waits for its end.
pub(super) fn run(
    load: &Load,
    mark: &mut dyn FnMut(Mark) -> io::Result<()>,
    stop: &Stop,
) -> Result<Seen, LoadError> {
    let spec = spec(load);
    let mut looks = Looks { mark, intervals: 0, sum: Sum::default(), failed: None };
    let outcome = load::run(&spec, &mut looks, stop);
    let Looks { sum, failed, .. } = looks;
    let outcome = match outcome {
        // Before anything was sent; whoever stopped it knows.
        Err(RunError::Stopped) => return Ok(sum.seen()),
        other => other?,
    };
    if let Some(error) = failed {
        return Err(LoadError::Look(error));
    }
    Ok(match load.rate {
        None => sum.seen(),
        Some(_) => paced(outcome),
    })
}

fn spec(load: &Load) -> Spec {
    let interval = load.duration / INTERVALS;
    let (arrivals, duration) = match load.rate {
        None => (Arrivals::Closed, load.duration + interval),
        Some(rate) => (Arrivals::Constant(rate), load.duration),
    };
    Spec {
        target: target(load.addr, load.kind.path()),
        protocol: protocol(load.kind),
        arrivals,
        think: Think::No,
        connections: load.connections,
        threads: 1,
        cpus: vec![load.cpu],
        warmup: load.warmup,
        duration,
        timeout: TIMEOUT,
        interval,
        seed: SEED,
        driver: DriverChoice::Auto,
        requests_max: None,
    }
}

/// A target on the loopback.
pub(crate) fn target(addr: SocketAddr, path: &str) -> Target {
    Target {
        url: format!("http://{addr}{path}"),
        addrs: vec![addr],
        host: addr.to_string(),
        path: path.to_owned(),
    }
}

/// A GET of the target's path, nothing added.
pub(crate) fn get() -> Http {
    Http { method: "GET".to_owned(), path: String::new(), headers: Vec::new(), body: Vec::new() }
}

/// A mix of one.
pub(crate) fn only<T>(name: &str, what: T) -> Vec<Request<T>> {
    vec![Request { name: name.to_owned(), weight: 1, what }]
}

fn protocol(kind: Kind) -> Protocol {
    match kind {
        Kind::New | Kind::TlsNew => Protocol::NewConnection(get()),
        Kind::Websocket => {
            Protocol::WebSocket { messages: only("message", MESSAGE.to_owned()), headers: Vec::new() }
        }
        Kind::Small | Kind::Large | Kind::Huge | Kind::Tls | Kind::Runtimes | Kind::Idle => {
            Protocol::Http(only("get", get()))
        }
    }
}

/// What was seen since the first mark.
#[derive(Default)]
struct Sum {
    totals: Totals,
    length: Duration,
    service: Option<hdrhistogram::Histogram<u64>>,
}

impl Sum {
    fn add(&mut self, interval: &Interval) {
        self.totals.completed += interval.totals.completed;
        self.totals.errors.merge(&interval.totals.errors);
        self.length += interval.length;
        match &mut self.service {
            // All histograms of a run have the same bounds.
            Some(service) => drop(service.add(&interval.latencies.service)),
            None => self.service = Some(interval.latencies.service.clone()),
        }
    }

    fn seen(self) -> Seen {
        let seconds = self.length.as_secs_f64();
        let requests = self.totals.completed;
        Seen {
            requests,
            errors: self.totals.errors.total(),
            rate: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
            p99_ms: self.service.map_or(0.0, |service| service.value_at_quantile(0.99) as f64 / 1e6),
            own: None,
        }
    }
}

fn paced(outcome: Outcome) -> Seen {
    let certificate = Certificate::of(&outcome);
    let doubts = certificate.failed().into_iter().cloned().collect();
    let seconds = outcome.measured.as_secs_f64();
    let requests = outcome.totals.completed;
    Seen {
        requests,
        errors: outcome.totals.errors.total(),
        rate: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
        p99_ms: outcome.latencies.service.value_at_quantile(0.99) as f64 / 1e6,
        own: Some(Own {
            doubts,
            trusted: certificate.is_trusted(),
            response: outcome.latencies.response,
            lag: outcome.lag,
        }),
    }
}

/// Calls the marks as intervals end.
struct Looks<'a> {
    mark: &'a mut dyn FnMut(Mark) -> io::Result<()>,
    intervals: u32,
    sum: Sum,
    failed: Option<io::Error>,
}

impl Observer for Looks<'_> {
    fn interval(&mut self, interval: &Interval) {
        self.intervals += 1;
        if self.intervals > 1 {
            self.sum.add(interval);
        }
        let mark = match self.intervals {
            1 => Mark::Begin,
            at if at == INTERVALS / 2 + 1 => Mark::Middle,
            at if at == INTERVALS + 1 => Mark::End,
            _ => return,
        };
        if let Err(error) = (self.mark)(mark) {
            self.failed.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::NullServer;

    fn load(addr: SocketAddr, rate: Option<f64>) -> Load {
        Load {
            addr,
            kind: Kind::Small,
            connections: 4,
            warmup: Duration::from_millis(50),
            duration: Duration::from_millis(400),
            rate,
            cpu: 0,
        }
    }

    #[test]
    fn a_closed_loop_counts_between_its_marks() {
        let server = NullServer::start(None, DriverChoice::Auto).unwrap();
        let mut marks = Vec::new();
        let mut mark = |at| {
            marks.push(at);
            Ok(())
        };
        let seen = run(&load(server.addr(), None), &mut mark, &Stop::default()).unwrap();
        assert_eq!(marks, [Mark::Begin, Mark::Middle, Mark::End]);
        assert!(seen.requests > 0 && seen.rate > 0.0 && seen.p99_ms > 0.0 && seen.own.is_none(), "{seen:?}");
        let seconds = seen.requests as f64 / seen.rate;
        assert!((0.39..0.6).contains(&seconds), "the first interval does not count: {seconds}");
    }

    #[test]
    fn an_open_loop_has_response_times() {
        let server = NullServer::start(None, DriverChoice::Auto).unwrap();
        let seen = run(&load(server.addr(), Some(500.0)), &mut |_| Ok(()), &Stop::default()).unwrap();
        let own = seen.own.unwrap();
        assert!(!own.response.is_empty() && !own.lag.is_empty());
    }

    #[test]
    fn a_look_that_fails_fails_the_run() {
        let server = NullServer::start(None, DriverChoice::Auto).unwrap();
        let mut mark = |_| Err(io::Error::other("it has gone"));
        let failed = run(&load(server.addr(), None), &mut mark, &Stop::default()).unwrap_err();
        assert!(failed.to_string().contains("it has gone"), "{failed}");
    }
}
