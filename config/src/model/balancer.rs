//! `load-balancer.yaml`: strategy, active health checks, the nodes, draining.

use crate::shape::{Field, MILLIS, SECONDS, Shape, def, int, list, opt, req, sub};
use crate::texts::{HOST, NAME, URL_PATH};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a node is picked among those that are fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest exchanges in flight, by weight.
    LeastConnections,
    /// The less loaded of two picked at random.
    RandomOfTwo,
    /// One after the other, as often as its weight says, interleaved.
    WeightedRoundRobin,
    /// Bounded-load consistent hashing. Built with the partitions.
    ConsistentHash,
    /// The lowest moving average of latency. Built with the resilience work.
    LeastLatency,
}

pub(crate) const STRATEGY: Shape = Shape::Choice(&[
    "round_robin",
    "least_connections",
    "random_of_two",
    "weighted_round_robin",
    "consistent_hash",
    "least_latency",
]);

/// Whether a node gets traffic, as far as the operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It does.
    Active,
    /// Sessions and requests that it has go on; no new ones.
    Draining,
    /// Only when no active node is fit.
    Backup,
    /// None at all, and it is not checked.
    Disabled,
}

pub(crate) const NODE_STATUS: Shape = Shape::Choice(&["active", "draining", "backup", "disabled"]);

/// `load_balancer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancer {
    /// Default for groups that name none.
    pub strategy: Strategy,
    /// Default for groups that give none.
    pub health_check: HealthCheck,
    /// Without `groups`, these form the group `cluster`.
    pub nodes: Vec<Node>,
    /// Cookie stickiness for routes that are not MCP.
    pub sticky_sessions: bool,
    /// How long an idle session is remembered.
    #[serde(with = "units::duration")]
    pub session_timeout: Duration,
    /// What a stop does.
    pub graceful_shutdown: GracefulShutdown,
}

/// Active health checks of one group of nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Requested with GET.
    pub path: String,
    /// Between the starts of two checks of a node.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// Until the reply's head; below the interval.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Good checks in a row that bring a node back.
    pub healthy_threshold: u32,
    /// Bad checks in a row that take a node out.
    pub unhealthy_threshold: u32,
    /// The only status that is good.
    pub expected_status: u16,
}

/// An MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What other files call it; the host when absent.
    pub name: Option<String>,
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Share of traffic against the other nodes.
    pub weight: u32,
    /// Per gateway process.
    pub max_connections: u32,
    /// Whether it gets traffic.
    pub status: NodeStatus,
}

/// What SIGTERM and `drain` do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GracefulShutdown {
    /// After which what is left is cut.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// False: cut at once.
    pub drain_connections: bool,
}

pub(crate) const HEALTH_CHECK: &[Field] = &[
    def("path", Shape::Text(URL_PATH), "/health", "requested with GET"),
    def("interval", MILLIS, "5s", "between two checks of a node"),
    def("timeout", MILLIS, "3s", "until the reply's head; below the interval"),
    def("healthy_threshold", int(1, 1000), "3", "good checks in a row that bring a node back"),
    def("unhealthy_threshold", int(1, 1000), "3", "bad checks in a row that take a node out"),
    def("expected_status", int(100, 599), "200", "the only status that is good"),
];

const NODE: Shape = Shape::Map(&[
    opt("name", Shape::Text(NAME), "what other files call it; the host when absent"),
    req("host", Shape::Text(HOST), "DNS name or IP address"),
    req("port", int(1, 65535), "TCP port"),
    def("weight", int(1, 1_000_000), "100", "share of traffic against the other nodes"),
    def("max_connections", int(1, 10_000_000), "10000", "per gateway process"),
    def("status", NODE_STATUS, "active", "active, draining, backup or disabled"),
]);

pub(crate) const LOAD_BALANCER: &[Field] = &[
    def("strategy", STRATEGY, "least_connections", "how a node is picked among those that are fit"),
    sub("health_check", HEALTH_CHECK, "active health checks"),
    def("nodes", list(&NODE, 4096), "[]", "the MCP servers; without groups they form the group `cluster`"),
    def("sticky_sessions", Shape::Bool, "false", "cookie stickiness for routes that are not MCP"),
    def("session_timeout", SECONDS, "86400", "how long an idle session is remembered"),
    sub(
        "graceful_shutdown",
        &[
            def("timeout", MILLIS, "30s", "after which what is left is cut"),
            def("drain_connections", Shape::Bool, "true", "false cuts at once"),
        ],
        "what SIGTERM and `drain` do",
    ),
];
