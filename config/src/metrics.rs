//! The metric catalogue: every family that erlmcp exports, once, with its type, unit, labels and help.
//!
//! The control plane renders from it, the documentation lists it; nothing else may name a family. Names follow the
//! Prometheus conventions: base units, `_total` on counters, the unit before it. Labels are bounded by configuration
//! (names of listeners, routes, groups, nodes) or by an enum; never by what clients send.

/// Kind of a family, as in the exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket.
    Histogram,
}

impl Kind {
    /// Word after `# TYPE name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Base unit of a family's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A plain number.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Suffix of the name, without `_total`.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "_seconds",
            Self::Bytes => "_bytes",
        }
    }
}

/// A family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Full name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

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

const fn bytes(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(name, Kind::Counter, Unit::Bytes, labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(name, Kind::Gauge, Unit::None, labels, help)
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(name, Kind::Histogram, Unit::Seconds, labels, help)
}

/// Upper bounds of every duration histogram's buckets, in microseconds: 50 µs to 60 s, about three per decade.
pub const DURATION_BUCKETS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Every family, by name.
pub const CATALOGUE: &[Family] = &[
    bytes("erlmcp_access_log_bytes_total", &[], "Bytes written to the access log."),
    count(
        "erlmcp_access_log_dropped_total",
        &["shard"],
        "Access log lines dropped because the lane was full.",
    ),
    count("erlmcp_access_log_lines_total", &["shard"], "Access log lines handed over."),
    count("erlmcp_access_log_write_errors_total", &[], "Writes or openings of the access log that failed."),
    gauge("erlmcp_build_info", &["version"], "Always 1; the version is the label."),
    family(
        "erlmcp_config_applied_timestamp_seconds",
        Kind::Gauge,
        Unit::Seconds,
        &[],
        "When the running configuration was applied, Unix time.",
    ),
    count("erlmcp_config_reloads_total", &["result"], "Reloads by result: applied or refused."),
    count("erlmcp_control_task_panics_total", &["task"], "Panics of control-plane tasks."),
    count("erlmcp_control_task_restarts_total", &["task"], "Restarts of control-plane tasks."),
    gauge("erlmcp_control_task_up", &["task"], "Whether a control-plane task runs."),
    count("erlmcp_discovery_failures_total", &[], "Questions to name servers that failed."),
    gauge("erlmcp_draining", &[], "Whether the gateway drains."),
    gauge(
        "erlmcp_driver_info",
        &["driver", "reason"],
        "Always 1; which driver runs, and why not another one.",
    ),
    seconds("erlmcp_health_check_duration_seconds", &["group", "node"], "Duration of active health checks."),
    count(
        "erlmcp_health_checks_total",
        &["group", "node", "result"],
        "Active health checks by result: good or failed.",
    ),
    count("erlmcp_lane_full_total", &["lane"], "Messages dropped because a lane between threads was full."),
    count("erlmcp_listener_accepted_total", &["listener"], "Connections accepted."),
    gauge("erlmcp_listener_connections", &["listener"], "Connections open."),
    count(
        "erlmcp_listener_refused_total",
        &["listener", "reason"],
        "Times that accepting rested: the listener was full, or an accept failed.",
    ),
    count("erlmcp_mcp_requests_total", &["method"], "MCP requests by method (known ones, else `other`)."),
    gauge("erlmcp_node_connections", &["group", "node"], "Upstream connections open."),
    count("erlmcp_node_connects_total", &["group", "node"], "Upstream connections made."),
    count("erlmcp_node_failures_total", &["group", "node"], "Exchanges that failed by a node's fault."),
    gauge("erlmcp_node_requests_in_flight", &["group", "node"], "Requests sent whose reply is not complete."),
    count("erlmcp_node_requests_total", &["group", "node"], "Exchanges begun with a node."),
    gauge("erlmcp_node_up", &["group", "node"], "Whether a node is fit for traffic."),
    count(
        "erlmcp_own_replies_total",
        &[],
        "Replies that the gateway made itself and that refuse nothing: probes, preflights.",
    ),
    gauge("erlmcp_pool_idle", &["group", "node"], "Pooled connections that wait for work."),
    count(
        "erlmcp_pool_retries_total",
        &["group"],
        "Requests sent again because a reused connection died before a reply byte.",
    ),
    gauge("erlmcp_pool_waiters", &["group"], "Requests that wait for a connection."),
    family("erlmcp_process_cpu_seconds_total", Kind::Counter, Unit::Seconds, &[], "CPU time of the process."),
    gauge("erlmcp_process_max_fds", &[], "Descriptors allowed."),
    gauge("erlmcp_process_open_fds", &[], "Descriptors open."),
    family(
        "erlmcp_process_resident_memory_bytes",
        Kind::Gauge,
        Unit::Bytes,
        &[],
        "Resident memory of the process.",
    ),
    count(
        "erlmcp_rejected_total",
        &["reason"],
        "Requests and connections that were refused or cut, by reason.",
    ),
    seconds(
        "erlmcp_request_duration_seconds",
        &[],
        "From a request's head to the last byte of its reply, streams apart.",
    ),
    count("erlmcp_requests_total", &["shard"], "Requests begun."),
    count("erlmcp_ring_buffers_exhausted_total", &["shard"], "Receives that found no free buffer."),
    gauge("erlmcp_ring_buffers_free", &["shard", "group"], "Receive buffers that are free."),
    count("erlmcp_ring_completions_total", &["shard"], "Completions reaped."),
    count("erlmcp_ring_enters_total", &["shard"], "Waiting system calls."),
    count("erlmcp_ring_overflows_total", &["shard"], "Completions that the kernel had to keep back."),
    count("erlmcp_ring_sends_total", &["shard"], "Sends handed to the kernel."),
    bytes(
        "erlmcp_ring_spilled_bytes_total",
        &["shard"],
        "Bytes copied so that slow readers do not hold receive buffers.",
    ),
    bytes("erlmcp_route_request_bytes_total", &["route"], "Bytes of request bodies."),
    count("erlmcp_route_requests_total", &["route", "class"], "Requests by route and status class."),
    bytes("erlmcp_route_response_bytes_total", &["route"], "Bytes of reply bodies."),
    gauge("erlmcp_shard_connections", &["shard"], "Client connections of a shard."),
    count("erlmcp_shard_handed_over_total", &["shard"], "Accepted connections given to a less loaded shard."),
    count("erlmcp_shard_panics_total", &["shard"], "Connections closed because their task panicked."),
    gauge("erlmcp_shard_tasks", &["shard"], "Tasks of a shard."),
    count("erlmcp_shard_turns_total", &["shard"], "Turns of a shard's loop."),
    gauge("erlmcp_snapshot_revision", &["shard"], "Revision of the snapshot that a shard serves."),
    count("erlmcp_sse_events_total", &[], "Whole events relayed."),
    family(
        "erlmcp_start_timestamp_seconds",
        Kind::Gauge,
        Unit::Seconds,
        &[],
        "When the process started, Unix time.",
    ),
    gauge("erlmcp_streams", &[], "Event streams open."),
    count("erlmcp_streams_total", &[], "Event streams begun."),
    seconds("erlmcp_upstream_response_seconds", &[], "From a request's last byte to the reply's head."),
];

/// The family of this name.
pub fn find(name: &str) -> Option<&'static Family> {
    CATALOGUE.iter().find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = std::collections::HashSet::new();
        for family in CATALOGUE {
            let name = family.name;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(
                name.starts_with("erlmcp_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
            assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let base = name.strip_suffix("_total").unwrap_or(name);
            assert!(base.ends_with(family.unit.suffix()), "{name} lacks its unit");
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{name}");
            for label in family.labels {
                assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}: {label}");
            }
            assert_eq!(find(name), Some(family));
        }
        let names: Vec<_> = CATALOGUE.iter().map(|family| family.name).collect();
        assert!(names.is_sorted(), "a family is found where its name stands");
        assert!(DURATION_BUCKETS_US.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
