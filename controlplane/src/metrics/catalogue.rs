//! Which families of `erlmcp_config::metrics` can be rendered, and which stand here until they stand there.
//!
//! The shared catalogue was written before the pages; this is the difference between the two, and a test keeps it exact.

use erlmcp_config::metrics::{self, Family, Kind, Unit};

/// Families of the shared catalogue that nothing counts yet.
#[cfg(test)]
pub(super) const NOT_COUNTED: &[&str] = &[
    "erlmcp_listener_received_bytes_total",
    "erlmcp_listener_sent_bytes_total",
    "erlmcp_mcp_requests_total",
    "erlmcp_mcp_request_duration_seconds",
    "erlmcp_mcp_streams",
    "erlmcp_node_connect_failures_total",
    "erlmcp_node_failures_total",
    "erlmcp_node_requests_total",
    "erlmcp_node_response_seconds",
    "erlmcp_pool_check_outs_total",
    "erlmcp_pool_wait_timeouts_total",
    "erlmcp_ring_buffers_exhausted_total",
    "erlmcp_ring_operations",
    "erlmcp_ring_submissions_total",
    "erlmcp_route_request_duration_seconds",
    "erlmcp_shard_busy_ratio",
];

const fn family(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, unit, labels, help }
}

const fn count(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(name, Kind::Counter, Unit::None, labels, help)
}

/// Families that pages count and the shared catalogue lacks.
pub(super) const OWN: &[Family] = &[
    family(
        "erlmcp_access_log_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        &[],
        "Bytes written to the access log.",
    ),
    count("erlmcp_access_log_write_errors_total", &[], "Writes or openings of the access log that failed."),
    count("erlmcp_discovery_failures_total", &[], "Questions to name servers that failed."),
    count("erlmcp_mcp_messages_total", &["method"], "MCP requests by method (known ones, else `other`)."),
    count("erlmcp_node_connects_total", &["group", "node"], "Upstream connections opened."),
    count("erlmcp_node_exchanges_total", &["group", "node"], "Exchanges begun with a node."),
    count("erlmcp_node_faults_total", &["group", "node"], "Exchanges that failed by a node's fault."),
    count(
        "erlmcp_own_replies_total",
        &[],
        "Replies that the gateway made itself: probes, refusals, preflights.",
    ),
    family(
        "erlmcp_request_duration_seconds",
        Kind::Histogram,
        Unit::Seconds,
        &[],
        "From a request's head to the last byte of its reply, streams apart.",
    ),
    count("erlmcp_requests_total", &["shard"], "Requests begun."),
    count("erlmcp_ring_enters_total", &["shard"], "Waiting system calls."),
    count("erlmcp_ring_sends_total", &["shard"], "Sends handed to the kernel."),
    family(
        "erlmcp_ring_spilled_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        &["shard"],
        "Bytes copied so that slow readers do not hold receive buffers.",
    ),
    count("erlmcp_ring_starved_total", &["shard"], "Receives that found no free buffer."),
    family(
        "erlmcp_snapshot_revision",
        Kind::Gauge,
        Unit::None,
        &["shard"],
        "Revision of the snapshot that a shard serves.",
    ),
    count("erlmcp_sse_events_total", &[], "Whole events relayed."),
    family("erlmcp_streams", Kind::Gauge, Unit::None, &[], "Event streams open."),
    count("erlmcp_streams_total", &[], "Event streams begun."),
    family(
        "erlmcp_upstream_response_seconds",
        Kind::Histogram,
        Unit::Seconds,
        &[],
        "From a request's last byte to the reply's head.",
    ),
];

/// The family of this name.
pub(super) fn find(name: &str) -> Option<&'static Family> {
    metrics::find(name).or_else(|| OWN.iter().find(|family| family.name == name))
}
