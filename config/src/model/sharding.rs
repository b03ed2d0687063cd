//! `sharding.yaml`: which nodes hold which part of the keys. What the file calls a shard is a partition here.

use crate::shape::{Field, MILLIS, Shape, def, int, list, number, req, sub};
use crate::texts::NAME;
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `sharding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharding {
    /// How keys find their partition.
    pub strategy: ShardingStrategy,
    /// Points per node that place buckets on the ring.
    pub virtual_nodes: u32,
    /// Buckets that keys fall into.
    pub hash_ring_size: u32,
    /// Empty: nothing is partitioned.
    #[serde(rename = "shards")]
    pub partitions: Vec<Partition>,
    /// How requests find their node.
    pub routing: PartitionRouting,
}

/// How keys find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardingStrategy {
    /// A ring of virtual nodes.
    ConsistentHashing,
}

/// One of `sharding.shards`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its name in metrics and messages.
    pub id: String,
    /// By name, by host, or by the end of a host.
    pub nodes: Vec<String>,
    /// Nodes that hold each key.
    pub replicas: u32,
    /// Share of the nodes' `max_connections` above which they get no new keys.
    pub load_threshold: f64,
    /// Share above which keys move away.
    pub rebalance_threshold: f64,
}

/// `sharding.routing`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionRouting {
    /// Whether keys may move.
    pub method: RoutingMethod,
    /// Which replica takes over.
    pub failover_mode: FailoverMode,
    /// Longest move of one key.
    #[serde(with = "units::duration")]
    pub migration_timeout: Duration,
    /// Only `eventual` exists.
    pub consistency_level: Consistency,
}

/// Whether keys may move between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingMethod {
    /// By load and failures.
    Dynamic,
    /// Only by hand.
    Static,
}

/// Which replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailoverMode {
    /// The next in the partition's list.
    Priority,
    /// The one with the least load.
    LeastLoaded,
}

/// The only level of consistency that a gateway without consensus per request can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Gateways agree after a while.
    Eventual,
}

pub(crate) const CONSISTENCY: Shape = Shape::Choice(&["eventual"]);

const PARTITION: Shape = Shape::Map(&[
    req("id", Shape::Text(NAME), "its name in metrics and messages"),
    req("nodes", list(&Shape::Text(NAME), 4096), "by name, by host, or by the end of a host"),
    def("replicas", int(1, 64), "1", "nodes that hold each key"),
    def("load_threshold", number(0.0, 1.0), "0.8", "share of max_connections above which no new keys come"),
    def("rebalance_threshold", number(0.0, 1.0), "0.9", "share above which keys move away"),
]);

pub(crate) const SHARDING: &[Field] = &[
    def(
        "strategy",
        Shape::Choice(&["consistent_hashing"]),
        "consistent_hashing",
        "how keys find their partition",
    ),
    def("virtual_nodes", int(1, 65536), "160", "points per node that place buckets on the ring"),
    def("hash_ring_size", int(1, 1 << 20), "32768", "buckets that keys fall into"),
    def("shards", list(&PARTITION, 4096), "[]", "the partitions; empty: nothing is partitioned"),
    sub(
        "routing",
        &[
            def("method", Shape::Choice(&["dynamic", "static"]), "dynamic", "whether keys may move"),
            def(
                "failover_mode",
                Shape::Choice(&["priority", "least_loaded"]),
                "priority",
                "which replica takes over",
            ),
            def("migration_timeout", MILLIS, "30000", "longest move of one key"),
            def("consistency_level", CONSISTENCY, "eventual", "only `eventual` exists"),
        ],
        "how requests find their node",
    ),
];
