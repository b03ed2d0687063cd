//! All that the reports say of a run, as plain data with a stable JSON form.
//!
//! Units stand in the names. Fields are added, never renamed or given another meaning, without raising [`VERSION`]. An
//! INVALID run has no percentile here, so that no format can print one.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::collector::{Collector, Column};
use super::host::Host;
use super::quantiles::{Latency, MS, Quantiles};
use crate::certificate::Certificate;
use crate::load::{
    Arrivals, Era, ErrorKind, Errors, Machine, Outcome, Pacing, Point, Protocol, Spec, StreamOutcome, Target,
    Think, Totals,
};
use crate::stats;

/// Version of the JSON form.
pub const VERSION: u32 = 1;
/// Name of the JSON form.
pub const SCHEMA: &str = "erlmcp.bench.run";
/// Points of the percentile curve per halving of the distance to 1, as in `.hgrm`.
const CURVE_TICKS: u32 = 5;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// Why the run ended early; all figures are then partial.
    pub partial: Option<String>,
    /// Whether the figures may be believed.
    pub certificate: Certificate,
    /// Where the load went.
    pub target: TargetReport,
    /// What was asked.
    pub workload: Workload,
    /// When measuring began, seconds since 1970.
    pub started_unix_seconds: f64,
    /// How long was measured, seconds.
    pub measured_seconds: f64,
    /// What was counted.
    pub counts: Counts,
    /// The same a second.
    pub rates: Rates,
    /// Response and service times; `None` when the run is INVALID.
    pub latency: Option<Latency>,
    /// The generator's own delay: actual start less the moment from which the request could be sent; `None` in a closed
    /// loop.
    pub lag: Option<Quantiles>,
    /// Times to connect; `None` when there was none or the run is INVALID.
    pub connect: Option<Quantiles>,
    /// By request of the mix.
    pub requests: Vec<RequestReport>,
    /// Where replies stream.
    pub streams: Option<StreamReport>,
    /// How the generator fared.
    pub generator: Generator,
    /// The machine of the generator.
    pub host: Host,
    /// The percentile curve; empty when the run is INVALID.
    pub distribution: Vec<CurvePoint>,
    /// By interval.
    pub series: Vec<SeriesPoint>,
    /// Latency by time, for the heat map; not in JSON (the interval log has it without loss).
    #[serde(skip)]
    pub heat: Vec<Column>,
}

/// Where the load went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// As the user wrote it.
    pub url: String,
    /// Resolved.
    pub addresses: Vec<String>,
    /// Value of `Host`.
    pub host: String,
    /// Path with query.
    pub path: String,
}

impl From<&Target> for TargetReport {
    fn from(target: &Target) -> Self {
        Self {
            url: target.url.clone(),
            addresses: target.addrs.iter().map(ToString::to_string).collect(),
            host: target.host.clone(),
            path: target.path.clone(),
        }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Such as `http` or `mcp 2025-11-25`.
    pub protocol: String,
    /// When requests were to start.
    pub arrivals: ArrivalsReport,
    /// Pause between a reply and the next request, in words; empty for none.
    pub think: String,
    /// Virtual clients.
    pub connections: u32,
    /// Generator threads.
    pub threads: u32,
    /// Processors that they were pinned to.
    pub cpus: Vec<usize>,
    /// Driven and thrown away, seconds.
    pub warmup_seconds: f64,
    /// Asked length, seconds.
    pub duration_seconds: f64,
    /// Per request, seconds.
    pub timeout_seconds: f64,
    /// Length of an interval, seconds.
    pub interval_seconds: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// Asked number of requests, if any.
    pub requests_max: Option<u64>,
}

/// When requests were to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ArrivalsReport {
    /// When a reply has come.
    Closed,
    /// Evenly spaced.
    Constant {
        /// Requests a second.
        rate_per_second: f64,
    },
    /// Exponential gaps.
    Poisson {
        /// Mean requests a second.
        rate_per_second: f64,
    },
    /// Linear.
    Ramp {
        /// Requests a second at the start.
        from_per_second: f64,
        /// At the end.
        to_per_second: f64,
    },
    /// One rate after the other.
    Steps {
        /// In their order.
        steps: Vec<StepReport>,
    },
    /// Recorded.
    Replay {
        /// How many.
        arrivals: usize,
    },
}

/// A stretch of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Requests a second.
    pub rate_per_second: f64,
    /// How long, seconds.
    pub length_seconds: f64,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests due by the schedule.
    pub due: u64,
    /// Requests sent.
    pub sent: u64,
    /// Good replies.
    pub completed: u64,
    /// Failures by kind, kinds without one included.
    pub errors: BTreeMap<String, u64>,
    /// Failures of all kinds.
    pub errors_total: u64,
    /// Received.
    pub bytes_in: u64,
    /// Sent.
    pub bytes_out: u64,
    /// Connections made.
    pub connects: u64,
}

impl From<&Totals> for Counts {
    fn from(totals: &Totals) -> Self {
        Self {
            due: totals.due,
            sent: totals.sent,
            completed: totals.completed,
            errors: errors_by_kind(&totals.errors),
            errors_total: totals.errors.total(),
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            connects: totals.connects,
        }
    }
}

/// Failures by the name of their kind.
pub(super) fn errors_by_kind(errors: &Errors) -> BTreeMap<String, u64> {
    ErrorKind::ALL.into_iter().map(|kind| (kind.name().to_owned(), errors.of(kind))).collect()
}

/// Counts a second of measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Requests due; `None` in a closed loop.
    pub asked_per_second: Option<f64>,
    /// Requests sent.
    pub sent_per_second: f64,
    /// Good replies.
    pub completed_per_second: f64,
    /// Failures.
    pub errors_per_second: f64,
    /// Bytes received.
    pub bytes_in_per_second: f64,
    /// Bytes sent.
    pub bytes_out_per_second: f64,
}

/// One request of the mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestReport {
    /// As in the mix.
    pub name: String,
    /// Good replies.
    pub completed: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// `None` when the run is INVALID.
    pub latency: Option<Latency>,
}

/// Streamed replies and event streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Streams begun.
    pub streams: u64,
    /// Whole events.
    pub events: u64,
    /// Gaps beyond the bound.
    pub stalls: u64,
    /// From the send to the first event; `None` when the run is INVALID.
    pub first_event: Option<Quantiles>,
    /// Between events; `None` when the run is INVALID.
    pub gap: Option<Quantiles>,
}

/// How the generator and its machine fared while measuring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time over measured requests, microseconds.
    pub cpu_us_per_request: f64,
    /// Mean number of requests in flight.
    pub in_flight_mean: f64,
    /// Requests that waited for a connection.
    pub waited: u64,
    /// By thread.
    pub threads: Vec<ThreadReport>,
    /// Steal over all time of the processors in use, 0..=1.
    pub steal_share: Option<f64>,
    /// Periods in which the control group was throttled.
    pub throttled_periods: Option<u64>,
    /// TCP segments sent again on the machine.
    pub retransmitted_segments: Option<u64>,
    /// Packets dropped before the network stack.
    pub dropped_packets: Option<u64>,
    /// Most local ports in use towards the target.
    pub ports_used: u64,
    /// How many there are.
    pub ports_available: u64,
}

/// Use of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadReport {
    /// Where it was pinned.
    pub cpu: Option<usize>,
    /// CPU time over wall time.
    pub cpu_share: f64,
    /// Time working over wall time.
    pub busy_share: f64,
    /// Time ready without a processor over wall time.
    pub run_delay_share: f64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

/// A point of the percentile curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// 0..1.
    pub quantile: f64,
    /// Response time, milliseconds.
    pub response_ms: f64,
    /// Service time, milliseconds.
    pub service_ms: f64,
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    /// Its start since measuring began.
    pub at_seconds: f64,
    /// Asked rate; 0 in a closed loop.
    pub asked_per_second: f64,
    /// Good replies.
    pub achieved_per_second: f64,
    /// Failures.
    pub errors_per_second: f64,
    /// Response time; `None` when the run is INVALID or the interval had no reply.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
    /// See `p50_ms`.
    pub max_ms: Option<f64>,
    /// Requests due and not begun at its end.
    pub backlog: u64,
}

impl Report {
    /// Judges a run and puts all that is said of it together. The collector, where there was one, adds the heat map and
    /// widens the intervals by how much neighbours in time resemble each other.
    #[must_use]
    pub fn of(outcome: &Outcome, collector: Option<&Collector>, host: Host) -> Self {
        let certificate = Certificate::of(outcome);
        let trusted = certificate.is_trusted();
        let effect = |value| collector.map_or(1.0, |collector| collector.design_effect(value));
        let latency = Latency {
            response: Quantiles::with_effect(&outcome.latencies.response, effect),
            service: Quantiles::with_effect(&outcome.latencies.service, effect),
        };
        let seconds = outcome.measured.as_secs_f64();
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            partial: outcome.cut.clone(),
            target: (&outcome.spec.target).into(),
            workload: workload(&outcome.spec, outcome.driver),
            started_unix_seconds: outcome
                .started
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
            measured_seconds: seconds,
            counts: (&outcome.totals).into(),
            rates: rates(&outcome.totals, outcome.spec.arrivals != Arrivals::Closed, outcome.measured),
            latency: trusted.then_some(latency),
            lag: quantiles_of_some(&outcome.lag),
            connect: quantiles_of_some(&outcome.connect).filter(|_| trusted),
            requests: requests(outcome, trusted),
            streams: outcome.streams.as_ref().map(|streams| stream_report(streams, trusted)),
            generator: generator(&outcome.machine, &outcome.pacing, seconds),
            host,
            distribution: if trusted { distribution(outcome) } else { Vec::new() },
            series: outcome.series.iter().map(|point| series_point(point, trusted)).collect(),
            heat: collector.filter(|_| trusted).map(|kept| kept.columns().to_vec()).unwrap_or_default(),
            certificate,
        }
    }

    /// Whether the load was an open loop, so that response and service times differ.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.workload.arrivals != ArrivalsReport::Closed
    }
}

fn quantiles_of_some(histogram: &hdrhistogram::Histogram<u64>) -> Option<Quantiles> {
    (!histogram.is_empty()).then(|| Quantiles::of(histogram))
}

fn workload(spec: &Spec, driver: &str) -> Workload {
    Workload {
        protocol: protocol(&spec.protocol),
        arrivals: arrivals(&spec.arrivals),
        think: think(spec.think),
        connections: spec.connections,
        threads: spec.threads,
        cpus: spec.cpus.clone(),
        warmup_seconds: spec.warmup.as_secs_f64(),
        duration_seconds: spec.duration.as_secs_f64(),
        timeout_seconds: spec.timeout.as_secs_f64(),
        interval_seconds: spec.interval.as_secs_f64(),
        seed: spec.seed,
        driver: driver.to_owned(),
        requests_max: spec.requests_max,
    }
}

fn protocol(protocol: &Protocol) -> String {
    match protocol {
        Protocol::Http(_) => "HTTP/1.1".to_owned(),
        Protocol::Mcp(mcp) => format!("MCP {}", era(mcp.era)),
        Protocol::Sse { .. } => "SSE".to_owned(),
        Protocol::WebSocket { .. } => "WebSocket".to_owned(),
        Protocol::Tcp(_) => "JSON-RPC over TCP".to_owned(),
        Protocol::NewConnection(_) => "HTTP/1.1, a connection a request".to_owned(),
    }
}

const fn era(era: Era) -> &'static str {
    match era {
        Era::Sessions => "2025-11-25",
        Era::Stateless => "2026-07-28",
    }
}

fn arrivals(arrivals: &Arrivals) -> ArrivalsReport {
    match arrivals {
        Arrivals::Closed => ArrivalsReport::Closed,
        Arrivals::Constant(rate) => ArrivalsReport::Constant { rate_per_second: *rate },
        Arrivals::Poisson(rate) => ArrivalsReport::Poisson { rate_per_second: *rate },
        Arrivals::Ramp { from, to } => ArrivalsReport::Ramp { from_per_second: *from, to_per_second: *to },
        Arrivals::Steps(steps) => ArrivalsReport::Steps {
            steps: steps
                .iter()
                .map(|step| StepReport {
                    rate_per_second: step.rate,
                    length_seconds: step.length.as_secs_f64(),
                })
                .collect(),
        },
        Arrivals::Replay(starts) => ArrivalsReport::Replay { arrivals: starts.len() },
    }
}

fn think(think: Think) -> String {
    let words = |length: Duration| super::human::nanoseconds(length.as_secs_f64() * 1e9);
    match think {
        Think::No => String::new(),
        Think::Fixed(length) => words(length),
        Think::Uniform(from, to) => format!("{} to {}, uniform", words(from), words(to)),
        Think::Exponential(mean) => format!("exponential, mean {}", words(mean)),
    }
}

fn rates(totals: &Totals, open: bool, measured: Duration) -> Rates {
    let seconds = measured.as_secs_f64();
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    Rates {
        asked_per_second: open.then(|| per_second(totals.due)),
        sent_per_second: per_second(totals.sent),
        completed_per_second: per_second(totals.completed),
        errors_per_second: per_second(totals.errors.total()),
        bytes_in_per_second: per_second(totals.bytes_in),
        bytes_out_per_second: per_second(totals.bytes_out),
    }
}

fn requests(outcome: &Outcome, trusted: bool) -> Vec<RequestReport> {
    outcome
        .requests
        .iter()
        .map(|request| RequestReport {
            name: request.name.clone(),
            completed: request.completed,
            errors: errors_by_kind(&request.errors),
            latency: trusted.then(|| Latency::of(&request.latencies)),
        })
        .collect()
}

fn stream_report(streams: &StreamOutcome, trusted: bool) -> StreamReport {
    StreamReport {
        streams: streams.streams,
        events: streams.events,
        stalls: streams.stalls,
        first_event: trusted.then(|| Quantiles::of(&streams.first_event)),
        gap: trusted.then(|| Quantiles::of(&streams.gap)),
    }
}

fn generator(machine: &Machine, pacing: &Pacing, seconds: f64) -> Generator {
    Generator {
        cpu_us_per_request: machine.cpu_us_per_request,
        in_flight_mean: if seconds > 0.0 { pacing.in_flight_seconds / seconds } else { 0.0 },
        waited: pacing.waited,
        threads: machine
            .threads
            .iter()
            .map(|thread| ThreadReport {
                cpu: thread.cpu,
                cpu_share: thread.cpu_share,
                busy_share: thread.busy_share,
                run_delay_share: thread.run_delay_share,
                involuntary_switches: thread.involuntary_switches,
            })
            .collect(),
        steal_share: machine.steal_share,
        throttled_periods: machine.throttled,
        retransmitted_segments: machine.retransmits,
        dropped_packets: machine.softnet_drops,
        ports_used: machine.ports.0,
        ports_available: machine.ports.1,
    }
}

/// Both curves at the quantiles of the response times' `.hgrm`, as far as the samples carry them.
fn distribution(outcome: &Outcome) -> Vec<CurvePoint> {
    let (response, service) = (&outcome.latencies.response, &outcome.latencies.service);
    if response.is_empty() || service.is_empty() {
        return Vec::new();
    }
    let samples = response.len().min(service.len());
    let carried = |p: &f64| stats::Support::of(samples, *p, 1.0) != stats::Support::Insufficient;
    let quantiles: Vec<f64> = response
        .iter_quantiles(CURVE_TICKS)
        .map(|step| step.quantile_iterated_to())
        .filter(carried)
        .collect();
    let services = service.value_at_quantiles(quantiles.iter().copied());
    let responses = response.value_at_quantiles(quantiles.iter().copied());
    quantiles
        .iter()
        .zip(responses.zip(services))
        .map(|(quantile, (response, service))| CurvePoint {
            quantile: *quantile,
            response_ms: response as f64 / MS,
            service_ms: service as f64 / MS,
        })
        .collect()
}

fn series_point(point: &Point, trusted: bool) -> SeriesPoint {
    let told = |ms: f64| (trusted && point.achieved > 0.0).then_some(ms);
    SeriesPoint {
        at_seconds: point.at,
        asked_per_second: point.asked,
        achieved_per_second: point.achieved,
        errors_per_second: point.errors,
        p50_ms: told(point.p50),
        p99_ms: told(point.p99),
        max_ms: told(point.max),
        backlog: point.backlog,
    }
}
