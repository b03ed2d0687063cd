//! `multi-region.yaml`: regions as roles, failover between them, weights of traffic.

use super::sharding::{CONSISTENCY, Consistency};
use crate::shape::{Field, MILLIS, Shape, def, int, list, req, sub};
use crate::texts::{NAME, REGION};
use crate::units;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// `multi_region`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiRegion {
    /// The regions.
    pub deployment: Deployment,
    /// What happens when one fails.
    pub failover: RegionFailover,
}

/// `multi_region.deployment`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Empty: one region.
    pub regions: Vec<Region>,
}

/// One of `multi_region.deployment.regions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its role: `primary`, `secondary`, …
    pub name: String,
    /// Joins it with `network.topology.regions` by name.
    pub location: String,
    /// Lowest first.
    pub priority: u32,
    /// False: only used for failover.
    pub active: bool,
    /// Relative to the others.
    pub capacity: u32,
}

/// `multi_region.failover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionFailover {
    /// Without an operator.
    pub automatic_failover: bool,
    /// Between looks at each region.
    #[serde(with = "units::duration")]
    pub health_check_interval: Duration,
    /// Silence after which a region has failed.
    #[serde(with = "units::duration")]
    pub failover_timeout: Duration,
    /// Prepared, then held for an operator.
    pub manual_failover_required: bool,
    /// Of session records.
    pub data_sync: DataSync,
    /// `<region>_weight`: shares of traffic while all is well.
    pub traffic_routing: BTreeMap<String, u32>,
    /// `<failed>_to_<region>`: shares of the failed region's traffic.
    pub failover_weights: BTreeMap<String, u32>,
}

/// `multi_region.failover.data_sync`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSync {
    /// Only `async` exists.
    pub method: SyncMethod,
    /// Only `eventual` exists.
    pub consistency_level: Consistency,
    /// Between batches.
    #[serde(with = "units::duration")]
    pub sync_interval: Duration,
    /// Which of two writes stays.
    pub conflict_resolution: ConflictResolution,
}

/// How session records reach the other regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMethod {
    /// Afterwards.
    Async,
}

/// Which of two concurrent writes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictResolution {
    /// The later one, by hybrid logical clock.
    LastWriteWins,
}

const REGION_SHAPE: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its role: primary, secondary, …"),
    req("location", Shape::Text(REGION), "joins it with network.topology.regions by name"),
    def("priority", int(1, 1_000_000), "1", "lowest first"),
    def("active", Shape::Bool, "true", "false: only used for failover"),
    def("capacity", int(1, 1_000_000), "100", "relative to the others"),
]);

const WEIGHTS: Shape = Shape::Dict { key: NAME, of: &int(0, 1_000_000), max: 1024 };

pub(crate) const MULTI_REGION: &[Field] = &[
    sub("deployment", &[def("regions", list(&REGION_SHAPE, 256), "[]", "empty: one region")], "the regions"),
    sub(
        "failover",
        &[
            def("automatic_failover", Shape::Bool, "true", "without an operator"),
            def("health_check_interval", MILLIS, "10s", "between looks at each region"),
            def("failover_timeout", MILLIS, "30s", "silence after which a region has failed"),
            def("manual_failover_required", Shape::Bool, "false", "prepared, then held for an operator"),
            sub(
                "data_sync",
                &[
                    def("method", Shape::Choice(&["async"]), "async", "only `async` exists"),
                    def("consistency_level", CONSISTENCY, "eventual", "only `eventual` exists"),
                    def("sync_interval", MILLIS, "100ms", "between batches"),
                    def(
                        "conflict_resolution",
                        Shape::Choice(&["last_write_wins"]),
                        "last_write_wins",
                        "which of two writes stays",
                    ),
                ],
                "of session records",
            ),
            def("traffic_routing", WEIGHTS, "{}", "`<region>_weight`: shares of traffic while all is well"),
            def(
                "failover_weights",
                WEIGHTS,
                "{}",
                "`<failed>_to_<region>`: shares of the failed region's traffic",
            ),
        ],
        "what happens when one fails",
    ),
];
