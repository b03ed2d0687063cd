//! `routes.yaml`: which request goes to which group, changed how; the groups and their nodes.

use super::balancer::{HEALTH_CHECK, HealthCheck, LoadBalancer, NODE_STATUS, NodeStatus, STRATEGY, Strategy};
use super::resilience::Timeouts;
use crate::shape::{Field, MILLIS, Need, Shape, def, inherit, int, list, opt, req, sub};
use crate::texts::{
    HEADER_NAME, HEADER_VALUE, HOST, HOST_PATTERN, HOST_REWRITE, METHOD, NAME, ORIGIN, UNIX_ADDRESS, URL_PATH,
};
use crate::units;
use crate::values::{Address, ByteLimit, HostPattern, HostRewrite, OriginPattern, PortPattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The group that `load_balancer.nodes`, `--upstream` and the embedded node form.
pub const CLUSTER: &str = "cluster";

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// The first that matches is taken; none: 404.
    pub routes: Vec<Route>,
    /// Upstream groups.
    pub groups: Vec<Group>,
}

/// One of `routes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name in metrics, the access log and `explain`.
    pub name: String,
    /// All of it must hold.
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    /// Where it goes, by weight (canary). At least one.
    pub to: Vec<Target>,
    /// What is changed on the way.
    pub rewrite: Rewrite,
    /// None: browsers get no cross-origin leave.
    pub cors: Option<Cors>,
    /// An `Origin` that fits none of these (nor `cors.origins`) gets 403. Requests without one pass.
    pub allowed_origins: Vec<OriginPattern>,
    /// What differs from the group's timeouts.
    pub timeouts: RouteTimeouts,
    /// None: the listener's, which holds in any case.
    pub body_bytes_max: Option<ByteLimit>,
    /// Whether its requests are logged.
    pub access_log: bool,
}

/// When a route matches. Empty lists match everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// Any of these.
    pub hosts: Vec<HostPattern>,
    /// The path, without query.
    pub path: PathMatch,
    /// Any of these.
    pub methods: Vec<String>,
    /// All of these.
    pub headers: Vec<HeaderMatch>,
}

/// Which paths match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This one.
    Exact(String),
    /// This one and what lies below it: `/mcp` matches `/mcp` and `/mcp/sse`, not `/mcpx`.
    Prefix(String),
}

impl PathMatch {
    /// Whether `path` (without query) is meant.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')),
        }
    }
}

/// A header that must be there. Without `exact` and `prefix`, any value fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Any case.
    pub name: String,
    /// The whole value.
    pub exact: Option<String>,
    /// The beginning of the value.
    pub prefix: Option<String>,
    /// False: it must be absent.
    pub present: bool,
}

/// One of a route's `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name of a group.
    pub group: String,
    /// Share against the others; 0 gets nothing.
    pub weight: u32,
}

/// What a route changes on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// What the upstream sees as `Host`.
    pub host: HostRewrite,
    /// Takes the place of the matched prefix. None: the path stays.
    pub path_prefix: Option<String>,
    /// Towards the upstream.
    pub request_headers: HeaderChanges,
    /// Towards the client.
    pub response_headers: HeaderChanges,
}

/// Header changes, in the order remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderChanges {
    /// Takes the place of whatever stood there.
    pub set: BTreeMap<String, String>,
    /// One line more.
    pub add: BTreeMap<String, String>,
    /// Every line of that name.
    pub remove: Vec<String>,
}

/// Cross-origin leave (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Who gets it.
    pub origins: Vec<OriginPattern>,
    /// Allowed methods.
    pub methods: Vec<String>,
    /// Allowed request headers.
    pub headers: Vec<String>,
    /// Readable response headers.
    pub expose_headers: Vec<String>,
    /// With cookies; not together with origin `*`.
    pub credentials: bool,
    /// How long a preflight may be remembered.
    #[serde(with = "units::duration")]
    pub max_age: Duration,
}

/// What a route changes of its group's timeouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTimeouts {
    /// Until the reply's head.
    #[serde(with = "units::duration_opt")]
    pub read: Option<Duration>,
    /// Until the next bytes of the request are taken.
    #[serde(with = "units::duration_opt")]
    pub write: Option<Duration>,
}

/// One of `groups`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What routes call it.
    pub name: String,
    /// The load balancer's when absent.
    pub strategy: Strategy,
    /// At least one.
    pub nodes: Vec<GroupNode>,
    /// The load balancer's, key by key, when absent.
    pub health_check: HealthCheck,
    /// Connections to each node from each shard; event streams and WebSockets do not count.
    pub connections_per_shard_max: u32,
    /// Requests that wait for a connection, per shard.
    pub waiters_max: u32,
    /// Longest such wait; else 503.
    #[serde(with = "units::duration")]
    pub wait_timeout: Duration,
    /// Those of `resilience.timeouts`, key by key, when absent.
    pub timeouts: Timeouts,
}

/// One of a group's nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "NodeKeys", into = "NodeKeys")]
pub struct GroupNode {
    /// What metrics and references call it; the endpoint's text when not given.
    pub name: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Share of traffic against the other nodes.
    pub weight: u32,
    /// Per gateway process.
    pub max_connections: u32,
    /// Whether it gets traffic.
    pub status: NodeStatus,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Resolved by the control plane; an IPv6 address without brackets.
    Host {
        /// DNS name or IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// What belongs into `Host` (RFC 9110 section 7.2): `name`, `name:port` unless 80, `localhost` for a Unix socket.
    pub fn authority(&self) -> String {
        match self {
            Self::Host { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == 80 { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl GroupNode {
    /// An active node with the defaults of the file, named after its endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        let name = match &endpoint {
            Endpoint::Unix(path) => format!("unix:{}", path.display()),
            Endpoint::Host { .. } => endpoint.authority(),
        };
        Self { name, endpoint, weight: 100, max_connections: 10_000, status: NodeStatus::Active }
    }
}

impl Group {
    /// A group with the defaults of the file. A test holds it against a written one.
    pub(crate) fn new(
        name: &str,
        nodes: Vec<GroupNode>,
        balancer: &LoadBalancer,
        timeouts: &Timeouts,
    ) -> Self {
        Self {
            name: name.to_owned(),
            strategy: balancer.strategy,
            nodes,
            health_check: balancer.health_check.clone(),
            connections_per_shard_max: 32,
            waiters_max: 1024,
            wait_timeout: Duration::from_secs(5),
            timeouts: timeouts.clone(),
        }
    }
}

impl Route {
    /// A route with the defaults of the file, named and sent to `group`. A test holds it against a written one.
    pub(crate) fn everything_to(group: &str) -> Self {
        let loopback = |host: &str| OriginPattern::Parts {
            scheme: "http".to_owned(),
            host: HostPattern::Exact(host.to_owned()),
            port: PortPattern::Any,
        };
        Self {
            name: "default".to_owned(),
            matches: RouteMatch {
                hosts: Vec::new(),
                path: PathMatch::Prefix("/".to_owned()),
                methods: Vec::new(),
                headers: Vec::new(),
            },
            to: vec![Target { group: group.to_owned(), weight: 100 }],
            rewrite: Rewrite::default(),
            cors: None,
            allowed_origins: ["localhost", "127.0.0.1", "[::1]"].map(loopback).to_vec(),
            timeouts: RouteTimeouts::default(),
            body_bytes_max: None,
            access_log: true,
        }
    }
}

/// A node as its keys stand in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeKeys {
    name: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    address: Option<Address>,
    weight: u32,
    max_connections: u32,
    status: NodeStatus,
}

impl From<NodeKeys> for GroupNode {
    fn from(keys: NodeKeys) -> Self {
        let endpoint = match keys.address {
            Some(Address::Unix(path)) => Endpoint::Unix(path),
            Some(Address::Tcp(ip)) => Endpoint::Host { host: ip.ip().to_string(), port: ip.port() },
            // Both are checked to be there before anyone sees the node.
            None => Endpoint::Host { host: keys.host.unwrap_or_default(), port: keys.port.unwrap_or(80) },
        };
        let mut node = Self::new(endpoint);
        node.name = keys.name.unwrap_or(node.name);
        (node.weight, node.max_connections, node.status) = (keys.weight, keys.max_connections, keys.status);
        node
    }
}

impl From<GroupNode> for NodeKeys {
    fn from(node: GroupNode) -> Self {
        let (host, port, address) = match node.endpoint {
            Endpoint::Host { host, port } => (Some(host), Some(port), None),
            Endpoint::Unix(path) => (None, None, Some(Address::Unix(path))),
        };
        let GroupNode { name, weight, max_connections, status, .. } = node;
        Self { name: Some(name), host, port, address, weight, max_connections, status }
    }
}

const HEADER_VALUES: Shape = Shape::Dict { key: HEADER_NAME, of: &Shape::Text(HEADER_VALUE), max: 64 };
const HEADER_NAMES: Shape = list(&Shape::Text(HEADER_NAME), 64);
const METHODS: Shape = list(&Shape::Text(METHOD), 16);
const ORIGINS: Shape = list(&Shape::Text(ORIGIN), 256);

const HEADER_CHANGES: &[Field] = &[
    def("set", HEADER_VALUES, "{}", "takes the place of whatever stood there"),
    def("add", HEADER_VALUES, "{}", "one line more"),
    def("remove", HEADER_NAMES, "[]", "every line of that name"),
];

const PATH: Shape = Shape::OneOf(&[
    req("exact", Shape::Text(URL_PATH), "this path"),
    req("prefix", Shape::Text(URL_PATH), "this path and what lies below it"),
]);

const HEADER_MATCH: Shape = Shape::Map(&[
    req("name", Shape::Text(HEADER_NAME), "any case"),
    opt("exact", Shape::Text(HEADER_VALUE), "the whole value"),
    opt("prefix", Shape::Text(HEADER_VALUE), "the beginning of the value"),
    def("present", Shape::Bool, "true", "false: it must be absent"),
]);

const MATCH: &[Field] = &[
    def("hosts", list(&Shape::Text(HOST_PATTERN), 256), "[]", "any of these; empty: every host"),
    def("path", PATH, "{prefix: /}", "the path, without query"),
    def("methods", METHODS, "[]", "any of these; empty: every method"),
    def("headers", list(&HEADER_MATCH, 32), "[]", "all of these"),
];

const CORS: Shape = Shape::Map(&[
    req("origins", ORIGINS, "who gets it"),
    def("methods", METHODS, "[GET, POST, DELETE, OPTIONS]", "allowed methods"),
    def(
        "headers",
        HEADER_NAMES,
        "[content-type, accept, authorization, last-event-id, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name]",
        "allowed request headers",
    ),
    def("expose_headers", HEADER_NAMES, "[mcp-session-id]", "readable response headers"),
    def("credentials", Shape::Bool, "false", "with cookies; not together with origin `*`"),
    def("max_age", crate::shape::SECONDS, "600", "how long a preflight may be remembered"),
]);

const TARGET: Shape = Shape::Map(&[
    req("group", Shape::Text(NAME), "name of a group"),
    def("weight", int(0, 1_000_000), "100", "share against the others; 0 gets nothing"),
]);

const ROUTE: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "its name in metrics, the access log and `explain`"),
    sub("match", MATCH, "all of it must hold"),
    req("to", list(&TARGET, 64), "where it goes, by weight (canary)"),
    sub(
        "rewrite",
        &[
            def("host", Shape::Text(HOST_REWRITE), "upstream", "what the upstream sees as `Host`"),
            opt("path_prefix", Shape::Text(URL_PATH), "takes the place of the matched prefix"),
            sub("request_headers", HEADER_CHANGES, "towards the upstream"),
            sub("response_headers", HEADER_CHANGES, "towards the client"),
        ],
        "what is changed on the way",
    ),
    opt("cors", CORS, "none: browsers get no cross-origin leave"),
    def(
        "allowed_origins",
        ORIGINS,
        "[\"http://localhost:*\", \"http://127.0.0.1:*\", \"http://[::1]:*\"]",
        "an Origin that fits none of these nor cors.origins gets 403",
    ),
    sub(
        "timeouts",
        &[
            opt("read", MILLIS, "until the reply's head"),
            opt("write", MILLIS, "until the next bytes of the request are taken"),
        ],
        "what differs from the group's timeouts",
    ),
    opt("body_bytes_max", super::BODY, "below the listener's, which holds in any case"),
    def("access_log", Shape::Bool, "true", "whether its requests are logged"),
]);

const GROUP_NODE: Shape = Shape::Map(&[
    opt("name", Shape::Text(NAME), "what metrics and references call it; host and port when absent"),
    opt("host", Shape::Text(HOST), "DNS name or IP address"),
    opt("port", int(1, 65535), "TCP port"),
    opt("address", Shape::Text(UNIX_ADDRESS), "unix:/path, instead of host and port"),
    def("weight", int(1, 1_000_000), "100", "share of traffic against the other nodes"),
    def("max_connections", int(1, 10_000_000), "10000", "per gateway process"),
    def("status", NODE_STATUS, "active", "active, draining, backup or disabled"),
]);

/// The same keys as [`HEALTH_CHECK`], each taking the load balancer's value when absent.
const GROUP_HEALTH_CHECK: &[Field] = &[
    inherited(0, "load_balancer.health_check.path"),
    inherited(1, "load_balancer.health_check.interval"),
    inherited(2, "load_balancer.health_check.timeout"),
    inherited(3, "load_balancer.health_check.healthy_threshold"),
    inherited(4, "load_balancer.health_check.unhealthy_threshold"),
    inherited(5, "load_balancer.health_check.expected_status"),
];

const fn inherited(index: usize, from: &'static str) -> Field {
    Field { need: Need::Inherit(from), ..HEALTH_CHECK[index] }
}

const GROUP: Shape = Shape::Map(&[
    req("name", Shape::Text(NAME), "what routes call it"),
    inherit("strategy", STRATEGY, "load_balancer.strategy", "how a node is picked among those that are fit"),
    req("nodes", list(&GROUP_NODE, 4096), "the MCP servers"),
    sub("health_check", GROUP_HEALTH_CHECK, "what differs from load_balancer.health_check"),
    def("connections_per_shard_max", int(1, 100_000), "32", "connections to each node from each shard"),
    def("waiters_max", int(0, 1_000_000), "1024", "requests that wait for a connection, per shard"),
    def("wait_timeout", MILLIS, "5s", "longest such wait; else 503"),
    sub(
        "timeouts",
        &[
            inherit("connect", MILLIS, "resilience.timeouts.connect", "until connected"),
            inherit("read", MILLIS, "resilience.timeouts.read", "until the reply's head"),
            inherit(
                "write",
                MILLIS,
                "resilience.timeouts.write",
                "until the next bytes of the request are taken",
            ),
            inherit("idle", MILLIS, "resilience.timeouts.idle", "between exchanges"),
        ],
        "what differs from resilience.timeouts",
    ),
]);

pub(crate) const ROUTES: &[Field] = &[
    def(
        "routes",
        list(&ROUTE, 1024),
        "[]",
        "the first that matches is taken; without any, all goes to the first group",
    ),
    def("groups", list(&GROUP, 256), "[]", "without any, load_balancer.nodes form the group `cluster`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_segments() {
        let prefix = PathMatch::Prefix("/mcp".into());
        assert!(prefix.matches("/mcp") && prefix.matches("/mcp/sse") && !prefix.matches("/mcpx"));
        assert!(PathMatch::Prefix("/".into()).matches("/anything"));
        assert!(!PathMatch::Exact("/mcp".into()).matches("/mcp/"));
    }

    #[test]
    fn authorities() {
        let of = |host: &str, port| Endpoint::Host { host: host.into(), port }.authority();
        assert_eq!((of("a", 80), of("a", 81), of("::1", 81)), ("a".into(), "a:81".into(), "[::1]:81".into()));
    }
}
