//! `chaos.yaml`: experiments, standing faults, what aborts them. Nothing here runs unless `runtime.chaos.armed`.

use crate::secret::Secret;
use crate::shape::{Field, MILLIS, SECONDS, Shape, Variant, def, list, number, opt, req, sub};
use crate::texts::{CRON, NAME};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `chaos`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// Run by schedule or by hand.
    pub experiments: Vec<Experiment>,
    /// On for as long as the configuration is armed.
    pub fault_injection: FaultInjection,
    /// What aborts, and who is told.
    pub monitoring: ChaosMonitoring,
}

/// One of `chaos.experiments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name for `erlmcp chaos run`.
    pub name: String,
    /// Whether the schedule runs it.
    pub enabled: bool,
    /// Cron, in the configured time zone, UTC by default.
    pub frequency: String,
    /// How long.
    #[serde(with = "units::duration")]
    pub duration: Duration,
    /// Share of the targets hit.
    pub intensity: f64,
    /// What a target is.
    pub scope: Scope,
    /// What is done to them, all at the same time.
    pub failure_scenarios: Vec<Scenario>,
}

/// What a target of an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A region.
    Region,
    /// A node.
    Node,
    /// A service.
    Service,
}

/// One of an experiment's `failure_scenarios`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scenario {
    /// Exchanges are held back.
    Latency {
        /// Which traffic.
        target: String,
        /// Shape of the delay.
        distribution: Distribution,
        /// Mean, in milliseconds.
        mean_ms: f64,
        /// Standard deviation, in milliseconds.
        stddev_ms: f64,
        /// Per exchange.
        probability: f64,
    },
    /// Packets are lost.
    PacketLoss {
        /// Which traffic.
        target: String,
        /// Percent of packets.
        percentage: f64,
        /// Losses come in bursts.
        correlation: bool,
    },
    /// A CPU is kept busy.
    CpuSpike {
        /// Which nodes.
        target: String,
        /// Percent of each CPU.
        percentage: f64,
        /// None: as long as the experiment.
        #[serde(with = "units::duration_opt")]
        duration: Option<Duration>,
    },
    /// Memory is taken.
    MemoryPressure {
        /// Which nodes.
        target: String,
        /// Percent of the memory limit.
        usage_percentage: f64,
        /// None: as long as the experiment.
        #[serde(with = "units::duration_opt")]
        duration: Option<Duration>,
    },
    /// A process is killed.
    #[serde(rename = "pod-kill")]
    PodKill {
        /// Which nodes.
        target: String,
        /// Per target and minute.
        probability: f64,
    },
    /// A process is restarted in an orderly way.
    #[serde(rename = "pod-restart")]
    PodRestart {
        /// Which nodes.
        target: String,
        /// Per target and minute.
        probability: f64,
    },
}

/// Shape of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Gaussian, cut at 0.
    Normal,
    /// Uniform, mean ± √3 · stddev.
    Uniform,
    /// Always the mean.
    Constant,
}

/// `chaos.fault_injection`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultInjection {
    /// Held back.
    pub delays: Vec<DelayFault>,
    /// Answered with an error.
    pub errors: Vec<ErrorFault>,
    /// Slowed down.
    pub bandwidth: Vec<BandwidthFault>,
}

/// One of `chaos.fault_injection.delays`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelayFault {
    /// Its name in metrics and the report.
    pub name: String,
    /// Which service is slow.
    pub target: String,
    /// Seen from where.
    pub source: String,
    /// Shape of the delay.
    pub distribution: Distribution,
    /// Mean, in milliseconds.
    pub mean_ms: f64,
    /// Standard deviation, in milliseconds.
    pub stddev_ms: f64,
    /// Percent of exchanges.
    pub percentage: f64,
}

/// One of `chaos.fault_injection.errors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorFault {
    /// Its name in metrics and the report.
    pub name: String,
    /// Which service fails.
    pub target: String,
    /// Seen from where.
    pub source: String,
    /// How.
    pub error_type: super::resilience::ExceptionKind,
    /// Percent of exchanges.
    pub percentage: f64,
}

/// One of `chaos.fault_injection.bandwidth`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandwidthFault {
    /// Its name in metrics and the report.
    pub name: String,
    /// Which traffic.
    pub target: String,
    /// Seen from where.
    pub source: String,
    /// What is left.
    pub bandwidth_mbps: f64,
    /// How long.
    #[serde(with = "units::duration")]
    pub duration: Duration,
}

/// `chaos.monitoring`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosMonitoring {
    /// Changes against the steady state before that abort.
    pub metrics: AbortMetrics,
    /// Who is told.
    pub notifications: Notifications,
    /// What must hold for the result to count as good.
    pub recovery_time: RecoveryTime,
}

/// `chaos.monitoring.metrics`: relative changes; 0.5 is 50 %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbortMetrics {
    /// Of the median.
    pub response_time_increase: f64,
    /// Of the share of failed exchanges.
    pub error_rate_increase: f64,
    /// Of the share of fit nodes.
    pub availability_decrease: f64,
}

/// `chaos.monitoring.notifications`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notifications {
    /// None: Slack is not told.
    pub slack_webhook: Option<Secret>,
    /// A label; the routing key comes from the environment. None: nobody is paged.
    pub pagerduty_service: Option<String>,
}

/// `chaos.monitoring.recovery_time`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryTime {
    /// Longest mean time to recovery.
    #[serde(with = "units::duration")]
    pub mttr: Duration,
    /// Longest span of records lost.
    #[serde(with = "units::duration")]
    pub rpo: Duration,
    /// Longest outage of the service.
    #[serde(with = "units::duration")]
    pub rto: Duration,
}

const SHARE: Shape = number(0.0, 1.0);
const PERCENT: Shape = number(0.0, 100.0);
const MS: Shape = number(0.0, 3_600_000.0);
const TARGET: Shape = Shape::Text(NAME);
const DISTRIBUTION: Shape = Shape::Choice(&["normal", "uniform", "constant"]);
const PROBABILITY: &[Field] =
    &[req("target", TARGET, "which nodes"), def("probability", SHARE, "1", "per target and minute")];

const SCENARIO: Shape = Shape::Tagged {
    tag: "type",
    variants: &[
        Variant {
            tag: "latency",
            fields: &[
                req("target", TARGET, "which traffic or nodes"),
                def("distribution", DISTRIBUTION, "normal", "shape of the delay"),
                req("mean_ms", MS, "mean, in milliseconds"),
                def("stddev_ms", MS, "0", "standard deviation, in milliseconds"),
                def("probability", SHARE, "1", "per exchange (network), or per target and minute (process)"),
            ],
        },
        Variant {
            tag: "packet_loss",
            fields: &[
                req("target", TARGET, "which traffic or nodes"),
                req("percentage", PERCENT, "percent of packets, or of each CPU"),
                def("correlation", Shape::Bool, "false", "losses come in bursts"),
            ],
        },
        Variant {
            tag: "cpu_spike",
            fields: &[
                req("target", TARGET, "which nodes"),
                req("percentage", PERCENT, "percent of each CPU"),
                opt("duration", MILLIS, "as long as the experiment when absent"),
            ],
        },
        Variant {
            tag: "memory_pressure",
            fields: &[
                req("target", TARGET, "which nodes"),
                req("usage_percentage", PERCENT, "percent of the memory limit"),
                opt("duration", MILLIS, "as long as the experiment when absent"),
            ],
        },
        Variant { tag: "pod-kill", fields: PROBABILITY },
        Variant { tag: "pod-restart", fields: PROBABILITY },
    ],
};

const EXPERIMENT: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name for `erlmcp chaos run`"),
    def("enabled", Shape::Bool, "true", "whether the schedule runs it"),
    req("frequency", Shape::Text(CRON), "cron, UTC by default"),
    req("duration", MILLIS, "how long"),
    req("intensity", SHARE, "share of the targets hit"),
    req("scope", Shape::Choice(&["region", "node", "service"]), "what a target is"),
    req("failure_scenarios", list(&SCENARIO, 64), "what is done, all at the same time"),
]);

const DELAY: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name in metrics and the report"),
    req("target", TARGET, "which service is slow"),
    def("source", TARGET, "all", "seen from where"),
    def("distribution", DISTRIBUTION, "normal", "shape of the delay"),
    req("mean_ms", MS, "mean, in milliseconds"),
    def("stddev_ms", MS, "0", "standard deviation, in milliseconds"),
    req("percentage", PERCENT, "percent of exchanges"),
]);

const ERROR: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name in metrics and the report"),
    req("target", TARGET, "which service fails"),
    def("source", TARGET, "all", "seen from where"),
    req("error_type", Shape::Choice(&["timeout", "connection_error", "status_5xx", "protocol_error"]), "how"),
    req("percentage", PERCENT, "percent of exchanges"),
]);

const BANDWIDTH: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name in metrics and the report"),
    req("target", TARGET, "which traffic"),
    def("source", TARGET, "all", "seen from where"),
    req("bandwidth_mbps", number(0.001, 1_000_000.0), "what is left, in Mbit/s"),
    req("duration", MILLIS, "how long"),
]);

pub(crate) const CHAOS: &[Field] = &[
    def("experiments", list(&EXPERIMENT, 256), "[]", "run by schedule or by hand"),
    sub(
        "fault_injection",
        &[
            def("delays", list(&DELAY, 256), "[]", "held back"),
            def("errors", list(&ERROR, 256), "[]", "answered with an error"),
            def("bandwidth", list(&BANDWIDTH, 256), "[]", "slowed down"),
        ],
        "on for as long as the configuration is armed",
    ),
    sub(
        "monitoring",
        &[
            sub(
                "metrics",
                &[
                    def("response_time_increase", number(0.0, 1000.0), "0.5", "relative: 0.5 is +50 %"),
                    def("error_rate_increase", number(0.0, 1000.0), "0.3", "relative: 0.3 is +30 %"),
                    def("availability_decrease", SHARE, "0.01", "relative: 0.01 is -1 %"),
                ],
                "changes against the steady state before that abort",
            ),
            sub(
                "notifications",
                &[
                    opt("slack_webhook", Shape::Secret, "none: Slack is not told"),
                    opt(
                        "pagerduty_service",
                        Shape::Text(NAME),
                        "a label; the routing key comes from the environment",
                    ),
                ],
                "who is told",
            ),
            sub(
                "recovery_time",
                &[
                    def("mttr", SECONDS, "600", "longest mean time to recovery"),
                    def("rpo", SECONDS, "300", "longest span of records lost"),
                    def("rto", SECONDS, "60", "longest outage of the service"),
                ],
                "what must hold for the result to count as good",
            ),
        ],
        "what aborts, and who is told",
    ),
];
