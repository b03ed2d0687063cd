//! `monitoring.yaml`: metrics and their export, thresholds of resources, autoscaling signals.

use crate::shape::{Field, MILLIS, SECONDS, Shape, Variant, def, int, list, opt, req, sub};
use crate::texts::{URL, URL_PATH};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `monitoring`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitoring {
    /// Collection and export.
    pub metrics: Metrics,
    /// When the process and the host are too full.
    pub resource_usage: ResourceUsage,
    /// Signals for a Kubernetes HPA, or for the operator.
    pub autoscaling: Autoscaling,
}

/// `monitoring.metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Between two readings of the shards' pages.
    #[serde(with = "units::duration")]
    pub collection_interval: Duration,
    /// How long the process keeps its own history.
    #[serde(with = "units::duration")]
    pub retention_period: Duration,
    /// Where they go.
    pub export: Export,
}

/// `monitoring.metrics.export`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Served.
    pub prometheus: Prometheus,
    /// Pushed; None: not.
    pub opentelemetry: Option<Opentelemetry>,
}

/// `monitoring.metrics.export.prometheus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// Whether metrics are served.
    pub enabled: bool,
    /// TCP port; on the admin address's port they share its listener.
    pub port: u16,
    /// Path of the metrics.
    pub path: String,
}

/// `monitoring.metrics.export.opentelemetry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opentelemetry {
    /// Whether metrics and traces are pushed.
    pub enabled: bool,
    /// OTLP over gRPC.
    pub endpoint: String,
}

/// `monitoring.resource_usage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceUsage {
    /// Share of the process's CPUs.
    pub cpu_thresholds: Thresholds,
    /// Share of the process's memory limit.
    pub memory_thresholds: Thresholds,
    /// Share of the file systems that are written to.
    pub disk_thresholds: Thresholds,
}

/// Percentages, strictly ascending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Logged.
    pub warning: u8,
    /// Load is shed.
    pub critical: u8,
    /// Somebody is woken.
    pub alert: u8,
}

/// `monitoring.autoscaling`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoscaling {
    /// Whether signals are computed.
    pub enabled: bool,
    /// Lower bound.
    pub min_replicas: u32,
    /// Upper bound.
    pub max_replicas: u32,
    /// Percent.
    pub target_cpu_utilization: u8,
    /// Percent.
    pub target_memory_utilization: u8,
    /// Upper end of the band without change, percent.
    pub scale_up_threshold: u8,
    /// Lower end of the band without change, percent.
    pub scale_down_threshold: u8,
    /// Over which the highest wish counts before scaling down.
    #[serde(with = "units::duration")]
    pub stabilization_window: Duration,
    /// As a Kubernetes HPA has it.
    pub scaling_policy: ScalingPolicy,
}

/// `monitoring.autoscaling.scaling_policy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingPolicy {
    /// What is looked at.
    pub metrics: Vec<ScalingMetric>,
    /// How fast.
    pub behavior: ScalingBehavior,
}

/// One of `scaling_policy.metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScalingMetric {
    /// CPU or memory.
    Resource {
        /// Which one, and how much of it.
        resource: ResourceMetric,
    },
}

/// A resource and its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceMetric {
    /// Which resource.
    pub name: ScalingResource,
    /// What is aimed at.
    pub target: MetricTarget,
}

/// A resource that Kubernetes scales by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalingResource {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
}

/// What a metric is aimed at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum MetricTarget {
    /// Percent of what was requested, averaged over the replicas.
    Utilization {
        /// Percent.
        average_utilization: u8,
    },
}

/// `scaling_policy.behavior`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingBehavior {
    /// Upwards.
    pub scale_up: ScalingRules,
    /// Downwards.
    pub scale_down: ScalingRules,
}

/// The policies of one direction; the one that changes most counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingRules {
    /// Empty: unbounded.
    pub policies: Vec<ScalingRule>,
}

/// At most `value` per period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingRule {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: ScalingRuleKind,
    /// Percent or pods.
    pub value: u32,
    /// The period, in seconds.
    pub period_seconds: u32,
}

/// What a policy's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalingRuleKind {
    /// Of the replicas.
    Percent,
    /// Replicas.
    Pods,
}

const PERCENT: Shape = int(1, 100);

const THRESHOLDS_CPU: &[Field] = &[
    def("warning", PERCENT, "70", "percent: logged"),
    def("critical", PERCENT, "85", "percent: load is shed"),
    def("alert", PERCENT, "95", "percent: somebody is woken"),
];
const THRESHOLDS_MEMORY: &[Field] = &[
    def("warning", PERCENT, "75", "percent: logged"),
    def("critical", PERCENT, "85", "percent: load is shed"),
    def("alert", PERCENT, "95", "percent: somebody is woken"),
];
const THRESHOLDS_DISK: &[Field] = &[
    def("warning", PERCENT, "80", "percent: logged"),
    def("critical", PERCENT, "90", "percent: the access log stops"),
    def("alert", PERCENT, "95", "percent: somebody is woken"),
];

const RULES: &[Field] = &[def(
    "policies",
    list(
        &Shape::Map(&[
            req("type", Shape::Choice(&["Percent", "Pods"]), "what `value` counts"),
            req("value", int(1, 1_000_000), "percent or pods"),
            req("period_seconds", int(1, 1800), "the period, in seconds"),
        ]),
        16,
    ),
    "[]",
    "the one that changes most counts; empty: unbounded",
)];

const TARGET: Shape = Shape::Tagged {
    tag: "type",
    variants: &[Variant {
        tag: "Utilization",
        fields: &[req("average_utilization", PERCENT, "percent of what was requested")],
    }],
};

const SCALING_METRIC: Shape = Shape::Tagged {
    tag: "type",
    variants: &[Variant {
        tag: "resource",
        fields: &[req(
            "resource",
            Shape::Map(&[
                req("name", Shape::Choice(&["cpu", "memory"]), "cpu or memory"),
                req("target", TARGET, "what is aimed at"),
            ]),
            "which one, and how much of it",
        )],
    }],
};

const AUTOSCALING: &[Field] = &[
    def("enabled", Shape::Bool, "false", "whether signals are computed"),
    def("min_replicas", int(1, 10_000), "3", "lower bound"),
    def("max_replicas", int(1, 10_000), "15", "upper bound"),
    def("target_cpu_utilization", PERCENT, "70", "percent"),
    def("target_memory_utilization", PERCENT, "70", "percent"),
    def("scale_up_threshold", PERCENT, "80", "upper end of the band without change, percent"),
    def("scale_down_threshold", PERCENT, "30", "lower end of the band without change, percent"),
    def("stabilization_window", SECONDS, "300", "over which the highest wish counts before scaling down"),
    sub(
        "scaling_policy",
        &[
            def("metrics", list(&SCALING_METRIC, 16), "[]", "what is looked at"),
            sub(
                "behavior",
                &[sub("scale_up", RULES, "upwards"), sub("scale_down", RULES, "downwards")],
                "how fast",
            ),
        ],
        "as a Kubernetes HPA has it",
    ),
];

pub(crate) const MONITORING: &[Field] = &[
    sub(
        "metrics",
        &[
            def("collection_interval", MILLIS, "5s", "between two readings of the shards"),
            def("retention_period", MILLIS, "7d", "how long the process keeps its own history"),
            sub(
                "export",
                &[
                    sub(
                        "prometheus",
                        &[
                            def("enabled", Shape::Bool, "true", "whether metrics are served"),
                            def(
                                "port",
                                int(1, 65535),
                                "9090",
                                "on the admin address's port they share its listener",
                            ),
                            def("path", Shape::Text(URL_PATH), "/metrics", "path of the metrics"),
                        ],
                        "served",
                    ),
                    opt(
                        "opentelemetry",
                        Shape::Map(&[
                            def("enabled", Shape::Bool, "true", "whether metrics and traces are pushed"),
                            req("endpoint", Shape::Text(URL), "OTLP over gRPC"),
                        ]),
                        "pushed; none: not",
                    ),
                ],
                "where they go",
            ),
        ],
        "collection and export",
    ),
    sub(
        "resource_usage",
        &[
            sub("cpu_thresholds", THRESHOLDS_CPU, "share of the process's CPUs"),
            sub("memory_thresholds", THRESHOLDS_MEMORY, "share of the process's memory limit"),
            sub("disk_thresholds", THRESHOLDS_DISK, "share of the file systems that are written to"),
        ],
        "when the process and the host are too full",
    ),
    sub("autoscaling", AUTOSCALING, "signals for a Kubernetes HPA, or for the operator"),
];
