//! `listeners.yaml`: where clients come in, what a request may be at most, where operators come in.

use crate::secret::Secret;
use crate::shape::{Field, MILLIS, Shape, def, int, list, opt, req, sub};
use crate::texts::{ADDRESS, NAME, NETWORK, SOCKET_PATH};
use crate::units;
use crate::values::{Address, ByteLimit, Network};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listeners {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// For operators.
    pub admin: Admin,
}

/// One of `listeners`. Address, backlog and `reuse_port` are read at start only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name in metrics and the access log.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// What it speaks.
    pub protocol: Protocol,
    /// Of listen(2); the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Over all shards; further ones wait in the kernel's queue until one ends.
    pub max_connections: u32,
    /// SO_REUSEPORT: a second process may take connections silently.
    pub reuse_port: bool,
    /// What a request may be at most.
    pub limits: Limits,
    /// Peers whose `Forwarded`/`X-Forwarded-*` are believed; from others these headers are replaced.
    pub trusted_proxies: Vec<Network>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, with Streamable HTTP and SSE.
    Http,
}

/// What a request on a listener may be at most, and how slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Request line and headers, in bytes; else 431.
    #[serde(with = "units::bytes")]
    pub head_bytes_max: u64,
    /// Header lines; else 431.
    pub headers_max: u32,
    /// The request target, in bytes; else 414.
    #[serde(with = "units::bytes")]
    pub target_bytes_max: u64,
    /// A request's body, whatever its route allows; else 413.
    pub body_bytes_max: ByteLimit,
    /// From the first byte of a head to its end; else 408.
    #[serde(with = "units::duration")]
    pub header_timeout: Duration,
    /// Between two pieces of a request's body; else 408.
    #[serde(with = "units::duration")]
    pub body_idle_timeout: Duration,
    /// Between two requests.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// After which the connection is closed; 0 is unlimited.
    pub requests_per_connection_max: u32,
}

/// `admin`. Read at start only, except the token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Read-only for all who reach it; what changes something needs the token.
    pub address: Address,
    /// A Unix socket on which the peer's user is enough. None: there is none.
    pub socket: Option<PathBuf>,
    /// None: over `address` nothing can be changed.
    pub token: Option<Secret>,
}

const LIMITS: &[Field] = &[
    def(
        "head_bytes_max",
        Shape::Bytes { min: 512, max: 1 << 20 },
        "16KiB",
        "request line and headers; else 431",
    ),
    def("headers_max", int(8, 1000), "100", "header lines; else 431"),
    def("target_bytes_max", Shape::Bytes { min: 64, max: 1 << 20 }, "8KiB", "the request target; else 414"),
    def("body_bytes_max", super::BODY, "2GiB", "a request's body, 0 is unlimited; else 413"),
    def("header_timeout", MILLIS, "10s", "from the first byte of a head to its end; else 408"),
    def("body_idle_timeout", MILLIS, "30s", "between two pieces of a request's body; else 408"),
    def("keep_alive", MILLIS, "60s", "between two requests"),
    def(
        "requests_per_connection_max",
        int(0, 1_000_000_000),
        "0",
        "after which it is closed; 0 is unlimited",
    ),
];

const LISTENER: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name in metrics and the access log"),
    req("address", Shape::Text(ADDRESS), "IP address with port, or unix:/path"),
    def("protocol", Shape::Choice(&["http"]), "http", "what it speaks"),
    def("backlog", int(1, 1 << 20), "4096", "of listen(2); the kernel cuts it to net.core.somaxconn"),
    def(
        "max_connections",
        int(1, 10_000_000),
        "100000",
        "over all shards; further ones wait in the kernel's queue",
    ),
    def("reuse_port", Shape::Bool, "false", "SO_REUSEPORT: a second process may take connections silently"),
    sub("limits", LIMITS, "what a request may be at most, and how slow"),
    def("trusted_proxies", list(&Shape::Text(NETWORK), 256), "[]", "peers whose X-Forwarded-* are believed"),
]);

pub(crate) const LISTENERS: &[Field] = &[
    def(
        "listeners",
        list(&LISTENER, 64),
        "[{name: main, address: \"127.0.0.1:8080\"}]",
        "where clients come in",
    ),
    sub(
        "admin",
        &[
            def("address", Shape::Text(ADDRESS), "127.0.0.1:9090", "read-only without the token"),
            opt("socket", Shape::Text(SOCKET_PATH), "a Unix socket on which the peer's user is enough"),
            opt("token", Shape::Secret, "write `${VAR}`; without it nothing can be changed over `address`"),
        ],
        "where operators come in",
    ),
];
