//! What a run measured: histograms, counts, intervals, and how the generator itself fared.
//!
//! Times in histograms are nanoseconds. Histograms are merged, never averaged.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::spec::Spec;

/// Longest time that a histogram tells apart from longer ones: an hour, nanoseconds.
const VALUE_MAX: u64 = 3_600_000_000_000;
/// Shortest time, nanoseconds.
const VALUE_MIN: u64 = 1_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// An empty histogram as all of a run are: 1 µs to an hour, three significant digits.
///
/// # Panics
/// Never: the bounds are constants that the crate accepts, which a test shows.
#[must_use]
#[expect(clippy::expect_used, reason = "constants, see the test")]
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(VALUE_MIN, VALUE_MAX, DIGITS).expect("valid bounds")
}

/// Response and service times side by side.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From the intended start to the reply's last byte. In a closed loop the same as `service`.
    pub response: Histogram<u64>,
    /// From the send to the reply's last byte.
    pub service: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { response: new_histogram(), service: new_histogram() }
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The connection was refused or could not be made.
    Connect,
    /// No local port or descriptor was left.
    Exhausted,
    /// The peer closed or reset the connection before the whole reply.
    Closed,
    /// No whole reply within the time-out.
    Timeout,
    /// The reply was not of the protocol.
    Garbage,
    /// A status of 400 and above, or a JSON-RPC error.
    Refused,
    /// A session that the server no longer knew (MCP: 404), before another was begun.
    SessionLost,
}

impl ErrorKind {
    /// All of them, in the order of [`Errors`].
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Exhausted,
        Self::Closed,
        Self::Timeout,
        Self::Garbage,
        Self::Refused,
        Self::SessionLost,
    ];

    /// As reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Exhausted => "exhausted",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Garbage => "garbage",
            Self::Refused => "refused",
            Self::SessionLost => "session_lost",
        }
    }
}

/// Errors by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors([u64; ErrorKind::ALL.len()]);

impl Errors {
    /// Counts one.
    pub fn add(&mut self, kind: ErrorKind) {
        self.0[kind as usize] += 1;
    }

    /// Of this kind.
    #[must_use]
    pub fn of(&self, kind: ErrorKind) -> u64 {
        self.0[kind as usize]
    }

    /// Of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }
}

/// Counts of a run or of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were due by the schedule; in a closed loop those that a client began, sent or not.
    pub due: u64,
    /// Requests sent.
    pub sent: u64,
    /// Whole good replies.
    pub completed: u64,
    /// Failures by kind.
    pub errors: Errors,
    /// Bytes received and sent.
    pub bytes_in: u64,
    /// See `bytes_in`.
    pub bytes_out: u64,
    /// Connections made, the first of each client included.
    pub connects: u64,
}

impl Totals {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.sent += other.sent;
        self.completed += other.completed;
        self.errors.merge(&other.errors);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connects += other.connects;
    }
}

/// A stretch of a run, handed out as it ends; then forgotten, so that long runs stay small.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Since the start of measuring.
    pub start: Duration,
    /// Its length.
    pub length: Duration,
    /// What was counted in it.
    pub totals: Totals,
    /// What was measured in it.
    pub latencies: Latencies,
    /// As [`Outcome::lag`].
    pub lag: Histogram<u64>,
    /// Requests due and not begun at its end.
    pub backlog: u64,
    /// Requests begun and not answered at its end.
    pub in_flight: u64,
    /// Rate asked for in it, requests per second; `None` in a closed loop.
    pub asked_rate: Option<f64>,
}

/// One request of the mix.
#[derive(Clone, Debug)]
pub struct RequestOutcome {
    /// As in the mix.
    pub name: String,
    /// Whole good replies.
    pub completed: u64,
    /// Failures.
    pub errors: Errors,
    /// What was measured.
    pub latencies: Latencies,
}

/// What was measured of streamed replies and event streams.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// Streams begun.
    pub streams: u64,
    /// Whole events.
    pub events: u64,
    /// Gaps longer than the stall's bound.
    pub stalls: u64,
    /// From the send to the first event, nanoseconds.
    pub first_event: Histogram<u64>,
    /// Between events, nanoseconds.
    pub gap: Histogram<u64>,
}

/// Use of a generator thread while measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThreadUse {
    /// Where it was pinned.
    pub cpu: Option<usize>,
    /// CPU time of the thread over wall time, 0..=1, spinning included.
    pub cpu_share: f64,
    /// Part of the wall time that it spent working, waiting (asleep or spinning) excluded, 0..=1.
    pub busy_share: f64,
    /// Part of the wall time that it was runnable and did not run (schedstat), 0..=1.
    pub run_delay_share: f64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

/// How the generator and its machine fared while measuring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its threads.
    pub threads: Vec<ThreadUse>,
    /// Steal over all time of the processors in use, 0..=1; `None` where the kernel does not say.
    pub steal_share: Option<f64>,
    /// Periods in which the control group was throttled; `None` without a quota.
    pub throttled: Option<u64>,
    /// TCP segments sent again on this machine meanwhile; `None` where the kernel does not say.
    pub retransmits: Option<u64>,
    /// Packets dropped before the stack saw them (`softnet_stat`).
    pub softnet_drops: Option<u64>,
    /// Most local ports in use towards the target, and how many there are.
    pub ports: (u64, u64),
    /// CPU time of the whole process over its measured requests, microseconds.
    pub cpu_us_per_request: f64,
}

/// Actual starts, for the test of the arrival process and for Little's law.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pacing {
    /// Gaps between consecutive *actual* starts of one thread, a uniform sample of at most 20,000, nanoseconds.
    /// Each thread draws a Poisson process of its own (so its gaps are exponential, with the mean rate over the
    /// number of threads) and takes every n-th of a constant one.
    pub gaps: Vec<u64>,
    /// Time integral of requests in flight (from send to end), request-seconds.
    pub in_flight_seconds: f64,
    /// Requests sent later than intended because no connection was idle: the server held them back, not the generator.
    pub waited: u64,
}

/// What a run measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked.
    pub spec: Spec,
    /// When measuring began.
    pub started: SystemTime,
    /// How long was measured; shorter than asked when it was cut.
    pub measured: Duration,
    /// Why the run ended early, if it did: everything in here is then partial.
    pub cut: Option<String>,
    /// Driver in use (`io_uring` or `epoll`).
    pub driver: &'static str,
    /// Counts.
    pub totals: Totals,
    /// Response and service times.
    pub latencies: Latencies,
    /// The generator's own delay: the actual start less the moment from which the request could be sent, which is the
    /// intended start or, where it had to wait for a connection, when one became free. Empty in a closed loop.
    pub lag: Histogram<u64>,
    /// From the start of a connect to its end.
    pub connect: Histogram<u64>,
    /// By request of the mix, in its order.
    pub requests: Vec<RequestOutcome>,
    /// Where replies stream.
    pub streams: Option<StreamOutcome>,
    /// Of the actual starts.
    pub pacing: Pacing,
    /// Of the generator.
    pub machine: Machine,
    /// Rates asked for and achieved, and latency, by interval: without histograms, for plots.
    pub series: Vec<Point>,
}

/// An interval's row in [`Outcome::series`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Start since measuring began, seconds.
    pub at: f64,
    /// Requests per second asked for; 0 in a closed loop.
    pub asked: f64,
    /// Good replies per second.
    pub achieved: f64,
    /// Failures per second.
    pub errors: f64,
    /// Response time, milliseconds.
    pub p50: f64,
    /// See `p50`.
    pub p99: f64,
    /// See `p50`.
    pub max: f64,
    /// Requests due and not begun at its end.
    pub backlog: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_hold_a_microsecond_and_an_hour() {
        let mut histogram = new_histogram();
        histogram.record(1_000).expect("a microsecond");
        histogram.record(VALUE_MAX).expect("an hour");
        assert!(histogram.equivalent(histogram.max(), VALUE_MAX));
    }
}
