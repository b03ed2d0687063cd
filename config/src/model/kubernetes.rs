//! `k8s/resources.yaml`: what the container may use, and the probes that the traffic port answers.

use crate::shape::{Field, Shape, def, int, opt, sub};
use crate::texts::URL_PATH;
use crate::units;
use serde::{Deserialize, Serialize};

/// `resources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// None: no limit is rendered.
    pub limits: Option<ResourceList>,
    /// None: no request is rendered.
    pub requests: Option<ResourceList>,
    /// Restarted when it fails.
    pub liveness_probe: Probe,
    /// Taken out of the service while it fails.
    pub readiness_probe: Probe,
    /// Holds the other two back until it passes.
    pub startup_probe: Probe,
}

/// Quantities of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceList {
    /// Thousandths of a core.
    #[serde(with = "units::millicores")]
    pub cpu: u64,
    /// Bytes.
    #[serde(with = "units::bytes")]
    pub memory: u64,
    /// Bytes.
    #[serde(with = "units::bytes", rename = "ephemeral-storage")]
    pub ephemeral_storage: u64,
}

/// A Kubernetes probe; times in whole seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is asked.
    pub http_get: HttpGet,
    /// Before the first.
    pub initial_delay_seconds: u32,
    /// Between two.
    pub period_seconds: u32,
    /// Of each.
    pub timeout_seconds: u32,
    /// Failures in a row that count.
    pub failure_threshold: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    /// Answered by every HTTP listener before routing.
    pub path: String,
    /// TCP port.
    pub port: u16,
}

const STORAGE: Shape = Shape::Bytes { min: 1, max: 1 << 60 };
const QUANTITIES: Shape = Shape::Map(&[
    def("cpu", Shape::Cpu, "1000m", "CPU quantity"),
    def("memory", STORAGE, "1GiB", "memory"),
    def("ephemeral-storage", STORAGE, "1GiB", "disk"),
]);
const SECONDS_COUNT: Shape = int(1, 86_400);
const PORT: Field = def("port", int(1, 65535), "8080", "TCP port");

pub(crate) const RESOURCES: &[Field] = &[
    opt("limits", QUANTITIES, "none: no limit is rendered"),
    opt("requests", QUANTITIES, "none: no request is rendered"),
    sub(
        "liveness_probe",
        &[
            sub("http_get", &[def("path", Shape::Text(URL_PATH), "/health", "path"), PORT], "what is asked"),
            def("initial_delay_seconds", int(0, 86_400), "30", "before the first"),
            def("period_seconds", SECONDS_COUNT, "10", "between two"),
            def("timeout_seconds", SECONDS_COUNT, "5", "of each"),
            def("failure_threshold", int(1, 10_000), "3", "failures in a row that count"),
        ],
        "restarted when it fails",
    ),
    sub(
        "readiness_probe",
        &[
            sub("http_get", &[def("path", Shape::Text(URL_PATH), "/ready", "path"), PORT], "what is asked"),
            def("initial_delay_seconds", int(0, 86_400), "5", "before the first"),
            def("period_seconds", SECONDS_COUNT, "5", "between two"),
            def("timeout_seconds", SECONDS_COUNT, "3", "of each"),
            def("failure_threshold", int(1, 10_000), "3", "failures in a row that count"),
        ],
        "taken out of the service while it fails",
    ),
    sub(
        "startup_probe",
        &[
            sub("http_get", &[def("path", Shape::Text(URL_PATH), "/startup", "path"), PORT], "what is asked"),
            def("initial_delay_seconds", int(0, 86_400), "60", "before the first"),
            def("period_seconds", SECONDS_COUNT, "10", "between two"),
            def("timeout_seconds", SECONDS_COUNT, "5", "of each"),
            def("failure_threshold", int(1, 10_000), "10", "failures in a row that count"),
        ],
        "holds the other two back until it passes",
    ),
];
