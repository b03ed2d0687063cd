//! Floor and ceiling of the generator on this machine, against a null server of its own.
//!
//! Owns the null server and the runs against it. What it finds is what the generator and the kernel's loopback add to any
//! measurement here: a latency near the floor, or a rate near the ceiling, is theirs and not a server's. It judges each
//! run by the certificate and nothing else.

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use erlmcp_ring::probe::{self, ProbeError};
use erlmcp_ring::{DriverChoice, Shard, ShardConfig, StartError, spawn_shard};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::certificate::{Certificate, Verdict};
use crate::compare::own::{get, only, target};
use crate::compare::{Placement, Programs, Sheet};
use crate::load::{self, Arrivals, Outcome, Protocol, RunError, Spec, Stop, Think, new_histogram};
use crate::null::{NullError, NullServer};

/// A reply of the null server that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of schedules; any number does.
const SEED: u64 = 1;
/// Each measured sleep.
const SLEEP: Duration = Duration::from_millis(1);

/// What a calibration is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Null server on `server`, generator on `load`.
    pub placement: Placement,
    /// How both talk to the kernel.
    pub driver: DriverChoice,
    /// Measured time of each run.
    pub duration: Duration,
    /// Before it.
    pub warmup: Duration,
    /// Of the closed loop and of the runs at fixed rates.
    pub connections: u32,
    /// Of the floor, requests per second over one connection.
    pub floor_rate: f64,
    /// At which the generator's lag is measured, requests per second.
    pub rates: Vec<f64>,
    /// Sleeps of a millisecond by which the timer is judged.
    pub sleeps: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            placement: Placement::detect(),
            driver: DriverChoice::Auto,
            duration: Duration::from_secs(3),
            warmup: Duration::from_millis(500),
            connections: 64,
            floor_rate: 500.0,
            rates: vec![1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0],
            sleeps: 500,
        }
    }
}

/// Quantiles of times, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Micros {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Longest.
    pub max_us: f64,
    /// Times that these stand on.
    pub count: u64,
}

impl Micros {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
            count: histogram.len(),
        }
    }
}

/// What the certificate says of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Its verdict.
    pub verdict: Verdict,
    /// Checks that failed: name, what was measured, what is accepted.
    pub failed: Vec<String>,
}

impl Judged {
    fn of(outcome: &Outcome) -> Self {
        let certificate = Certificate::of(outcome);
        let failed = certificate.failed().into_iter();
        let failed =
            failed.map(|check| format!("{} {} (accepted: {})", check.name, check.measured, check.limit));
        Self { failed: failed.collect(), verdict: certificate.verdict }
    }
}

/// Latency that no server can be below: one connection, a low rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// Requests per second.
    pub rate: f64,
    /// From the intended start.
    pub response: Micros,
    /// From the send.
    pub service: Micros,
    /// May these be believed?
    pub judged: Judged,
}

/// Rate that no server can be above: a closed loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    /// Connections.
    pub connections: u32,
    /// Good replies per second.
    pub rate: f64,
    /// CPU time of the generator's thread per request, microseconds.
    pub cpu_us_per_request: f64,
    /// Part of the time that the generator's thread worked, 0..=1; well below 1, the null server is the bottleneck.
    pub busy_share: f64,
}

/// How late the generator starts requests at a rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// Requests per second that were asked for.
    pub asked: f64,
    /// Good replies per second.
    pub achieved: f64,
    /// Actual less intended start.
    pub lag: Micros,
    /// May figures at this rate be believed?
    pub judged: Judged,
}

/// What a calibration found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The machine.
    pub machine: Sheet,
    /// Null server on `server`, generator on `load`.
    pub placement: Placement,
    /// The generator's driver (`io_uring` or `epoll`).
    pub driver: String,
    /// How much longer than a millisecond a wait of the ring takes that asks for one.
    pub oversleep: Micros,
    /// See [`Floor`].
    pub floor: Option<Floor>,
    /// See [`Ceiling`].
    pub ceiling: Option<Ceiling>,
    /// One per rate.
    pub lags: Vec<Lag>,
    /// Why it ended early, if it did: what is missing was not measured.
    pub cut: Option<String>,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// No null server.
    #[error(transparent)]
    Null(#[from] NullError),
    /// The driver that was asked for does not work here.
    #[error("cannot measure the timer: {0}")]
    Driver(#[from] ProbeError),
    /// The driver could not be set up.
    #[error("cannot measure the timer: {0}")]
    Shard(#[from] StartError),
    /// The thread that measures the timer.
    #[error("cannot measure the timer: {0}")]
    Thread(#[from] io::Error),
    /// It panicked.
    #[error("the thread that measures the timer has panicked; its message is above")]
    Panicked,
    /// A run against the null server failed.
    #[error("cannot run against the null server: {0}")]
    Run(#[from] RunError),
}

/// Calibrates. `progress` hears of each run before it begins. When `stop` is set it ends at once, and the result says so.
///
/// # Errors
/// [`CalibrateError`] when the null server or the generator cannot be run at all.
pub fn run(
    settings: &Settings,
    progress: &mut dyn FnMut(&str),
    stop: &Stop,
) -> Result<Calibration, CalibrateError> {
    progress("timer");
    let (driver, oversleep) = oversleep(settings)?;
    let server = NullServer::start(Some(settings.placement.server), settings.driver)?;
    let mut calibration = Calibration {
        machine: Sheet::read(&Programs::default(), false),
        placement: settings.placement.clone(),
        driver,
        oversleep,
        floor: None,
        ceiling: None,
        lags: Vec::new(),
        cut: None,
    };
    let mut measure = |arrivals, connections, what: &str| {
        progress(what);
        match load::run(&spec(settings, &server, arrivals, connections), &mut (), stop) {
            Ok(outcome) if outcome.cut.is_none() => Ok(Some(outcome)),
            // Half a run would be told as a whole one.
            Ok(_) | Err(RunError::Stopped) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let rate = settings.floor_rate;
    let floor = measure(Arrivals::Constant(rate), 1, &format!("floor at {rate:.0} requests/s"))?;
    calibration.floor = floor.as_ref().map(|outcome| floor_of(outcome, rate));
    let connections = settings.connections;
    let ceiling = match floor.is_some() {
        true => measure(Arrivals::Closed, connections, &format!("ceiling, {connections} connections"))?,
        false => None,
    };
    calibration.ceiling = ceiling.as_ref().map(ceiling_of);
    let mut go_on = ceiling.is_some();
    for &rate in &settings.rates {
        if !go_on {
            break;
        }
        let outcome =
            measure(Arrivals::Constant(rate), connections, &format!("lag at {rate:.0} requests/s"))?;
        go_on = outcome.is_some();
        calibration.lags.extend(outcome.as_ref().map(|outcome| lag_of(outcome, rate)));
    }
    if !go_on {
        let why = if stop.is_stopped() { "interrupted" } else { "a run ended early" };
        calibration.cut = Some(why.to_owned());
    }
    Ok(calibration)
}

fn spec(settings: &Settings, server: &NullServer, arrivals: Arrivals, connections: u32) -> Spec {
    Spec {
        target: target(server.addr(), "/"),
        protocol: Protocol::Http(only("get", get())),
        arrivals,
        think: Think::No,
        connections,
        threads: 1,
        cpus: vec![settings.placement.load],
        warmup: settings.warmup,
        duration: settings.duration,
        timeout: TIMEOUT,
        interval: settings.duration / 2,
        seed: SEED,
        driver: settings.driver,
        requests_max: None,
    }
}

fn floor_of(outcome: &Outcome, rate: f64) -> Floor {
    Floor {
        rate,
        response: Micros::of(&outcome.latencies.response),
        service: Micros::of(&outcome.latencies.service),
        judged: Judged::of(outcome),
    }
}

fn ceiling_of(outcome: &Outcome) -> Ceiling {
    // Of the threads alone: the null server is in the same process.
    let cpu: f64 = outcome.machine.threads.iter().map(|thread| thread.cpu_share).sum();
    let busy: f64 = outcome.machine.threads.iter().map(|thread| thread.busy_share).sum();
    let seconds = outcome.measured.as_secs_f64();
    let requests = (outcome.totals.completed as f64).max(1.0);
    Ceiling {
        connections: outcome.spec.connections,
        rate: achieved(outcome),
        cpu_us_per_request: cpu * seconds * 1e6 / requests,
        busy_share: busy / (outcome.machine.threads.len() as f64).max(1.0),
    }
}

fn lag_of(outcome: &Outcome, asked: f64) -> Lag {
    Lag { asked, achieved: achieved(outcome), lag: Micros::of(&outcome.lag), judged: Judged::of(outcome) }
}

fn achieved(outcome: &Outcome) -> f64 {
    let seconds = outcome.measured.as_secs_f64();
    if seconds > 0.0 { outcome.totals.completed as f64 / seconds } else { 0.0 }
}

/// Waits of the ring on the generator's processor, with the timer slack that the generator has.
fn oversleep(settings: &Settings) -> Result<(String, Micros), CalibrateError> {
    let (driver, sleeps) = (settings.driver, settings.sleeps);
    let thread = spawn_shard("timer", Some(settings.placement.load), move || {
        // Where the kernel refuses, the sleeps are as long as they are.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let config = ShardConfig::default();
        let mut shard = Shard::new(&config, &probe::choose(driver, &config)?)?;
        let mut over = new_histogram();
        for _ in 0..sleeps {
            let start = Instant::now();
            shard.turn(Some(SLEEP));
            let nanos = start.elapsed().saturating_sub(SLEEP).as_nanos();
            // Beyond the histogram's hour nothing is told apart.
            over.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        Ok((shard.handle().driver().to_string(), Micros::of(&over)))
    })?;
    thread.join().map_err(|_| CalibrateError::Panicked)?
}

impl Calibration {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Sheet { cpu, cpus, kernel, .. } = &self.machine;
        let Placement { server, load, .. } = &self.placement;
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(text, "machine    {cpus} × {cpu}, {kernel}");
        let _ = writeln!(text, "generator  {} on processor {load}, null server on {server}", self.driver);
        if server == load {
            text.push_str("           both share a processor: these figures are as much the null server's\n");
        }
        let micros = |of: &Micros| {
            let Micros { p50_us, p99_us, p999_us, max_us, .. } = of;
            format!("p50 {p50_us:.1}  p99 {p99_us:.1}  p99.9 {p999_us:.1}  max {max_us:.1} µs")
        };
        let _ = writeln!(text, "oversleep  {}, beyond 1 ms", micros(&self.oversleep));
        if let Some(Floor { rate, response, service, judged }) = &self.floor {
            let _ = writeln!(
                text,
                "floor      {rate:.0} requests/s over 1 connection: {}",
                judged.verdict.name()
            );
            if judged.verdict != Verdict::Invalid {
                let _ = writeln!(text, "  response {}", micros(response));
                let _ = writeln!(text, "  service  {}", micros(service));
            }
            reasons(&mut text, judged);
        }
        if let Some(Ceiling { connections, rate, cpu_us_per_request, busy_share }) = &self.ceiling {
            let _ = writeln!(
                text,
                "ceiling    {rate:.0} requests/s over {connections} connections, closed loop; generator \
                 {cpu_us_per_request:.2} µs of CPU a request, busy {:.0} %",
                busy_share * 100.0
            );
        }
        for Lag { asked, achieved, lag, judged } in &self.lags {
            let (micros, verdict) = (micros(lag), judged.verdict.name());
            let _ =
                writeln!(text, "lag        at {asked:.0}/s ({achieved:.0}/s achieved): {micros}: {verdict}");
            reasons(&mut text, judged);
        }
        if let Some(cut) = &self.cut {
            let _ = writeln!(text, "partial    {cut}");
        }
        text
    }
}

fn reasons(text: &mut String, judged: &Judged) {
    for reason in &judged.failed {
        let _ = writeln!(text, "           {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short() -> Settings {
        Settings {
            duration: Duration::from_millis(300),
            warmup: Duration::from_millis(20),
            connections: 4,
            rates: vec![200.0, 1_000.0],
            sleeps: 20,
            ..Settings::default()
        }
    }

    #[test]
    fn everything_is_measured_on_both_drivers() {
        for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
            let mut runs = Vec::new();
            let settings = Settings { driver, ..short() };
            let found = run(&settings, &mut |what| runs.push(what.to_owned()), &Stop::default()).unwrap();
            assert_eq!(runs.len(), 5, "{runs:?}");
            assert_eq!((found.oversleep.count, found.cut.as_deref(), found.lags.len()), (20, None, 2));
            let floor = found.floor.as_ref().unwrap();
            assert!(floor.response.count > 0 && floor.response.p50_us >= floor.service.p50_us / 2.0);
            let ceiling = found.ceiling.as_ref().unwrap();
            assert!(ceiling.rate > 0.0 && ceiling.cpu_us_per_request > 0.0, "{ceiling:?}");
            let text = found.text();
            for part in ["oversleep  p50", "floor      500 requests/s", "ceiling    ", "lag        at 1000/s"]
            {
                assert!(text.contains(part), "no {part:?} in\n{text}");
            }
            let json = serde_json::to_value(&found).unwrap();
            assert_eq!(json["lags"][1]["asked"], 1000.0);
        }
    }

    #[test]
    fn stopping_keeps_what_was_measured() {
        let stop = Stop::default();
        let mut progress = |what: &str| {
            if what.starts_with("ceiling") {
                stop.stop();
            }
        };
        let found = run(&short(), &mut progress, &stop).unwrap();
        assert!(found.floor.is_some() && found.ceiling.is_none() && found.lags.is_empty());
        assert_eq!(found.cut.as_deref(), Some("interrupted"));
        assert!(found.text().contains("partial    interrupted"), "{}", found.text());
    }

    #[test]
    fn an_invalid_floor_is_not_told() {
        let mut found = run(&short(), &mut |_| {}, &Stop::default()).unwrap();
        if let Some(floor) = &mut found.floor {
            floor.judged = Judged { verdict: Verdict::Invalid, failed: vec!["too busy".to_owned()] };
        }
        let text = found.text();
        assert!(text.contains("1 connection: INVALID") && text.contains("too busy"), "{text}");
        assert!(!text.contains("  response "), "{text}");
    }
}
