//! `resilience.yaml`: breakers, retries, bulkheads, timeouts.

use crate::shape::{Field, MILLIS, Shape, def, int, list, number, opt, sub};
use crate::texts::NAME;
use crate::units;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kinds of failure that breakers and retries speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionKind {
    /// Every kind below.
    All,
    /// No answer in time.
    Timeout,
    /// Could not connect, or the connection broke.
    ConnectionError,
    /// A reply with status 500 to 599.
    #[serde(rename = "status_5xx")]
    Status5xx,
    /// A reply that breaks the protocol.
    ProtocolError,
}

pub(crate) const EXCEPTION: Shape =
    Shape::Choice(&["all", "timeout", "connection_error", "status_5xx", "protocol_error"]);

/// `resilience`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resilience {
    /// Precedence: `service_specific`, then the pool's, then `default`.
    pub circuit_breakers: CircuitBreakers,
    /// Retries of requests that are safe to repeat.
    pub retry: Retry,
    /// Bounds of concurrency per service.
    pub bulkheads: Bulkheads,
    /// Default for groups that give none.
    pub timeouts: Timeouts,
}

/// `resilience.circuit_breakers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreakers {
    /// For services that are not named below.
    pub default: Breaker,
    /// By service; what is absent there is the default's.
    pub service_specific: BTreeMap<String, BreakerOverride>,
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Failures within a sliding 10 s window.
    pub failure_threshold: u32,
    /// Open to half-open.
    #[serde(with = "units::duration")]
    pub recovery_timeout: Duration,
    /// Probes let through while half-open.
    pub half_open_requests: u32,
    /// What counts as a failure.
    pub expected_exception: ExceptionKind,
    /// What does not, although `expected_exception` covers it.
    pub exclude_exceptions: Vec<ExceptionKind>,
}

/// What a service changes of the default breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerOverride {
    /// See [`Breaker`].
    pub failure_threshold: Option<u32>,
    /// See [`Breaker`].
    #[serde(with = "units::duration_opt")]
    pub recovery_timeout: Option<Duration>,
    /// See [`Breaker`].
    pub half_open_requests: Option<u32>,
    /// See [`Breaker`].
    pub expected_exception: Option<ExceptionKind>,
    /// See [`Breaker`].
    pub exclude_exceptions: Option<Vec<ExceptionKind>>,
}

impl CircuitBreakers {
    /// The complete breaker of a service: its own keys, else the default's.
    pub fn of(&self, service: &str) -> Breaker {
        let mut breaker = self.default.clone();
        if let Some(own) = self.service_specific.get(service) {
            breaker.failure_threshold = own.failure_threshold.unwrap_or(breaker.failure_threshold);
            breaker.recovery_timeout = own.recovery_timeout.unwrap_or(breaker.recovery_timeout);
            breaker.half_open_requests = own.half_open_requests.unwrap_or(breaker.half_open_requests);
            breaker.expected_exception = own.expected_exception.unwrap_or(breaker.expected_exception);
            if let Some(excluded) = &own.exclude_exceptions {
                breaker.exclude_exceptions.clone_from(excluded);
            }
        }
        breaker
    }
}

/// `resilience.retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The first one included.
    pub max_attempts: u32,
    /// Before the second attempt.
    #[serde(with = "units::duration")]
    pub initial_delay: Duration,
    /// Upper bound of the delay.
    #[serde(with = "units::duration")]
    pub max_delay: Duration,
    /// Growth of the delay.
    pub backoff_multiplier: f64,
    /// Full jitter below the delay.
    pub jitter: bool,
    /// What is retried.
    pub retryable_exceptions: Vec<ExceptionKind>,
}

/// `resilience.bulkheads`: per service, open streams excluded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulkheads {
    /// In flight.
    pub max_concurrent_requests: u32,
    /// Longest wait in the queue.
    #[serde(with = "units::duration")]
    pub max_wait_time: Duration,
    /// Most that wait.
    pub queue_capacity: u32,
}

/// `resilience.timeouts`. Never applied to event streams and WebSockets, except `connect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until connected.
    #[serde(with = "units::duration")]
    pub connect: Duration,
    /// From the end of the request until the reply's head.
    #[serde(with = "units::duration")]
    pub read: Duration,
    /// Until the next bytes of the request are taken.
    #[serde(with = "units::duration")]
    pub write: Duration,
    /// Between exchanges.
    #[serde(with = "units::duration")]
    pub idle: Duration,
}

const THRESHOLD: Shape = int(1, 1_000_000);
const EXCEPTIONS: Shape = list(&EXCEPTION, 8);

pub(crate) const RESILIENCE: &[Field] = &[
    sub(
        "circuit_breakers",
        &[
            sub(
                "default",
                &[
                    def("failure_threshold", THRESHOLD, "50", "failures within a sliding 10 s window"),
                    def("recovery_timeout", MILLIS, "30000", "open to half-open"),
                    def("half_open_requests", THRESHOLD, "10", "probes let through while half-open"),
                    def("expected_exception", EXCEPTION, "all", "what counts as a failure"),
                    def(
                        "exclude_exceptions",
                        EXCEPTIONS,
                        "[timeout]",
                        "what does not count, although covered",
                    ),
                ],
                "for services that are not named",
            ),
            def(
                "service_specific",
                Shape::Dict {
                    key: NAME,
                    of: &Shape::Map(&[
                        opt("failure_threshold", THRESHOLD, "failures within a sliding 10 s window"),
                        opt("recovery_timeout", MILLIS, "open to half-open"),
                        opt("half_open_requests", THRESHOLD, "probes let through while half-open"),
                        opt("expected_exception", EXCEPTION, "what counts as a failure"),
                        opt("exclude_exceptions", EXCEPTIONS, "what does not count, although covered"),
                    ]),
                    max: 256,
                },
                "{}",
                "by service; what is absent is the default's",
            ),
        ],
        "circuit breakers",
    ),
    sub(
        "retry",
        &[
            def("max_attempts", int(1, 100), "3", "attempts, the first one included"),
            def("initial_delay", MILLIS, "100", "before the second attempt"),
            def("max_delay", MILLIS, "10000", "upper bound of the delay"),
            def("backoff_multiplier", number(1.0, 100.0), "2", "growth of the delay"),
            def("jitter", Shape::Bool, "true", "full jitter below the delay"),
            def("retryable_exceptions", EXCEPTIONS, "[timeout, connection_error]", "what is retried"),
        ],
        "retries of requests that are safe to repeat",
    ),
    sub(
        "bulkheads",
        &[
            def(
                "max_concurrent_requests",
                int(1, 10_000_000),
                "100",
                "in flight per service, open streams excluded",
            ),
            def("max_wait_time", MILLIS, "5000", "longest wait in the queue"),
            def("queue_capacity", int(0, 10_000_000), "1000", "most that wait"),
        ],
        "bounds of concurrency per service",
    ),
    sub(
        "timeouts",
        &[
            def("connect", MILLIS, "5000", "until connected"),
            def("read", MILLIS, "30000", "from the end of the request until the reply's head"),
            def("write", MILLIS, "30000", "until the next bytes of the request are taken"),
            def("idle", MILLIS, "30000", "between exchanges"),
        ],
        "default for groups that give none",
    ),
];
