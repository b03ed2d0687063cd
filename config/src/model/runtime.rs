//! `runtime.yaml`: how the process itself runs. Everything here is read at start, except what says otherwise.

use crate::shape::{Field, MILLIS, Shape, def, int, list, opt, sub};
use crate::texts::{ADDRESS, HEADER_NAME, NAME, OUTPUT, REGION};
use crate::units;
use crate::values::{Address, CpuWish};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// How sockets are driven.
    pub driver: Driver,
    /// One shard on each.
    pub cpus: CpuWish,
    /// Where the control plane runs.
    pub housekeeping: CpuWish,
    /// Descriptors that the process wants (counterpart of `max_ports`). None: what it is given.
    pub descriptor_limit: Option<u32>,
    /// Receive buffers of each shard.
    pub buffers: Buffers,
    /// Live.
    pub access_log: AccessLog,
    /// The process's own log.
    pub log: Log,
    /// What the gateway calls itself. Live.
    pub identity: Identity,
    /// The MCP node inside.
    pub embedded: Embedded,
    /// What `graceful_shutdown` does not say. Live.
    pub drain: Drain,
    /// Where this gateway stands.
    pub region: OwnRegion,
    /// Live.
    pub chaos: Arming,
    /// Gateways among themselves.
    pub cluster: Peers,
}

/// How sockets are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// io_uring where it works, else epoll, with the reason in the log.
    Auto,
    /// io_uring, or the process does not start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `buffers`, per shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffers {
    /// For heads and idle clients.
    pub small: BufferGroup,
    /// For bodies and upstreams.
    pub large: BufferGroup,
    /// Bytes that a connection may hold before its sender is made to wait.
    #[serde(with = "units::bytes")]
    pub receive_window: u64,
}

/// A ring of receive buffers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferGroup {
    /// A power of two.
    pub count: u32,
    /// Bytes of each.
    #[serde(with = "units::bytes")]
    pub size: u64,
}

/// `access_log`: JSON lines, off the hot path; drops are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// Whether one is written.
    pub enabled: bool,
    /// `-` is standard output; a file is reopened on reload.
    pub path: String,
    /// In this order.
    pub fields: Vec<LogField>,
}

/// A field of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogField {
    /// When the request began, RFC 3339.
    Time,
    /// Id that goes with the request.
    RequestId,
    /// The client's address.
    Client,
    /// The listener's name.
    Listener,
    /// The method.
    Method,
    /// The host asked for.
    Host,
    /// The path, without query.
    Path,
    /// The status.
    Status,
    /// Why the gateway itself answered.
    Reason,
    /// The route's name.
    Route,
    /// The node's name.
    Node,
    /// The JSON-RPC method.
    McpMethod,
    /// Bytes of the request's body.
    BytesIn,
    /// Bytes of the reply's body.
    BytesOut,
    /// Microseconds until the last byte was handed to the kernel.
    DurationUs,
    /// Microseconds until the upstream's head.
    UpstreamUs,
    /// The shard.
    Shard,
}

/// `log`: counterpart of the SASL entries of `vm.config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged at least. Live.
    pub level: LogLevel,
    /// `-` is standard error.
    pub path: String,
    /// Bytes after which a file is turned.
    #[serde(with = "units::bytes")]
    pub file_bytes_max: u64,
    /// Files kept.
    pub files_max: u32,
}

/// Severity of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// What may come to need one.
    Warn,
    /// What happens.
    Info,
    /// Why it happens.
    Debug,
    /// Every step.
    Trace,
}

/// `identity`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Pseudonym in `Via` (RFC 9110 section 7.6.3).
    pub via: String,
    /// Kept when a trusted proxy sent it, else made; lower case.
    pub request_id_header: String,
}

/// `embedded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// When it is served.
    pub enabled: EmbeddedMode,
    /// Loopback; port 0 lets the kernel choose.
    pub address: Address,
}

/// When the embedded node is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddedMode {
    /// When no other node is configured.
    Auto,
    /// Always; it then forms the group `embedded`, which routes may name.
    Always,
    /// Not at all.
    Never,
}

/// `drain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    #[serde(with = "units::duration")]
    pub grace: Duration,
}

/// `region`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnRegion {
    /// Role or location of the region that this gateway stands in. None: there are no regions.
    pub name: Option<String>,
}

/// `chaos`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arming {
    /// Only then does `chaos.yaml` do anything by itself.
    pub armed: bool,
}

/// `cluster`: counterpart of the distribution entries of `vm.config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// This gateway's name. None: the host's.
    pub name: Option<String>,
    /// Where gateways talk to each other. None: they do not.
    pub address: Option<Address>,
    /// Silence after which a gateway is gone.
    #[serde(with = "units::duration")]
    pub peer_timeout: Duration,
    /// Bytes queued for a peer.
    #[serde(with = "units::bytes")]
    pub queue_bytes_max: u64,
}

impl Runtime {
    /// The control plane's log file, if it goes to one.
    pub fn log_file(&self) -> Option<PathBuf> {
        (self.log.path != "-").then(|| PathBuf::from(&self.log.path))
    }
}

const LOG_FIELD: Shape = Shape::Choice(&[
    "time",
    "request_id",
    "client",
    "listener",
    "method",
    "host",
    "path",
    "status",
    "reason",
    "route",
    "node",
    "mcp_method",
    "bytes_in",
    "bytes_out",
    "duration_us",
    "upstream_us",
    "shard",
]);

const BUFFER_SIZE: Shape = Shape::Bytes { min: 1024, max: 1 << 20 };

const BUFFERS: &[Field] = &[
    sub(
        "small",
        &[
            def("count", int(16, 32768), "256", "a power of two"),
            def("size", BUFFER_SIZE, "4KiB", "bytes of each"),
        ],
        "for heads and idle clients",
    ),
    sub(
        "large",
        &[
            def("count", int(8, 32768), "64", "a power of two"),
            def("size", BUFFER_SIZE, "32KiB", "bytes of each"),
        ],
        "for bodies and upstreams",
    ),
    def(
        "receive_window",
        Shape::Bytes { min: 4096, max: 1 << 26 },
        "512KiB",
        "bytes that a connection may hold",
    ),
];

const LOG: &[Field] = &[
    def(
        "level",
        Shape::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "what is logged at least",
    ),
    def("path", Shape::Text(OUTPUT), "\"-\"", "`-` is standard error"),
    def("file_bytes_max", Shape::Bytes { min: 65536, max: 1 << 40 }, "10MiB", "after which a file is turned"),
    def("files_max", int(1, 1000), "5", "files kept"),
];

const CLUSTER: &[Field] = &[
    opt("name", Shape::Text(NAME), "this gateway's name; the host's when absent"),
    opt("address", Shape::Text(ADDRESS), "where gateways talk to each other; none: they do not"),
    def("peer_timeout", MILLIS, "60s", "silence after which a gateway is gone"),
    def("queue_bytes_max", Shape::Bytes { min: 4096, max: 1 << 30 }, "8MiB", "queued for a peer"),
];

pub(crate) const RUNTIME: &[Field] = &[
    def("driver", Shape::Choice(&["auto", "io_uring", "epoll"]), "auto", "how sockets are driven"),
    def("cpus", Shape::Cpus, "auto", "one shard on each"),
    def("housekeeping", Shape::Cpus, "auto", "where the control plane runs"),
    opt("descriptor_limit", int(256, 1 << 30), "descriptors that the process wants"),
    sub("buffers", BUFFERS, "receive buffers of each shard"),
    sub(
        "access_log",
        &[
            def("enabled", Shape::Bool, "true", "whether one is written"),
            def("path", Shape::Text(OUTPUT), "\"-\"", "`-` is standard output"),
            def(
                "fields",
                list(&LOG_FIELD, 17),
                "[time, request_id, client, listener, method, host, path, status, reason, route, node, mcp_method, \
                 bytes_in, bytes_out, duration_us, upstream_us, shard]",
                "in this order",
            ),
        ],
        "JSON lines; drops are counted",
    ),
    sub("log", LOG, "the process's own log"),
    sub(
        "identity",
        &[
            def("via", Shape::Text(NAME), "erlmcp", "pseudonym in `Via`"),
            def(
                "request_id_header",
                Shape::Text(HEADER_NAME),
                "x-request-id",
                "id that goes with the request",
            ),
        ],
        "what the gateway calls itself",
    ),
    sub(
        "embedded",
        &[
            def(
                "enabled",
                Shape::Choice(&["auto", "always", "never"]),
                "auto",
                "auto: when no other node is configured",
            ),
            def("address", Shape::Text(ADDRESS), "127.0.0.1:0", "loopback; port 0 lets the kernel choose"),
        ],
        "the MCP node inside",
    ),
    sub(
        "drain",
        &[def(
            "grace",
            Shape::Duration { bare: units::Bare::Millis, min: 0, max: 3_600_000 },
            "0s",
            "between `not ready` and the end of accepting",
        )],
        "what load_balancer.graceful_shutdown does not say",
    ),
    sub(
        "region",
        &[opt("name", Shape::Text(REGION), "role or location of the region that this gateway stands in")],
        "where this gateway stands",
    ),
    sub(
        "chaos",
        &[def("armed", Shape::Bool, "false", "only then does chaos.yaml do anything by itself")],
        "arming of chaos.yaml",
    ),
    sub("cluster", CLUSTER, "gateways among themselves"),
];
