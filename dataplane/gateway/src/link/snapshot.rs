//! The immutable state that a shard serves from: routes, groups, nodes with their health, limits.
//!
//! Built by the control plane's publisher, never changed afterwards. A change is a new snapshot with a higher
//! revision; shards swap it whole and keep the last good one when the control plane is gone.

use std::time::Duration;

use erlmcp_proto::http1::{HeadLimits, Method};
use erlmcp_ring::SockAddr;

use super::ids::{EndpointId, GroupIndex};
use super::origin::OriginPattern;

/// Everything that a shard needs to answer requests.
#[derive(Debug)]
pub struct Snapshot {
    /// Increases with every publication.
    pub revision: u64,
    /// Limits of each listener, by [`ListenerId`](super::ListenerId).
    pub listeners: Vec<ListenerLimits>,
    /// Routes in the order in which they are tried: the first match wins.
    pub routes: Vec<Route>,
    /// Upstream groups that routes point at.
    pub groups: Vec<Group>,
    /// What the gateway calls itself towards both sides.
    pub identity: Identity,
    /// Whether `/ready` says yes.
    pub ready: bool,
    /// Whether `/startup` says yes: the first health round is over.
    pub started: bool,
}

/// Names that the gateway adds to messages.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Pseudonym in `Via` (RFC 9110 7.6.3).
    pub via: String,
    /// Header that carries the request id, in the spelling to send.
    pub request_id_header: String,
}

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Name in metrics and logs.
    pub name: String,
    /// Sizes of a request head.
    pub head: HeadLimits,
    /// From a connection's first byte (or its accept) to the end of a head.
    pub header_timeout: Duration,
    /// Longest silence within a request body.
    pub body_idle_timeout: Duration,
    /// Longest silence between requests.
    pub keep_alive: Duration,
    /// Longest time without progress while writing to the client.
    pub write_timeout: Duration,
    /// Open client connections of this listener on one shard.
    pub connections_per_shard_max: u32,
    /// Requests on one connection before it is closed; 0 is no limit.
    pub requests_per_connection_max: u32,
    /// Largest request body in bytes, whatever the route allows; `u64::MAX` is no limit.
    pub body_bytes_max: u64,
    /// Peers whose `Forwarded`/`X-Forwarded-*` are kept and appended to; others' are replaced.
    pub trusted_proxies: Vec<Network>,
}

/// An address prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Any address within.
    pub address: std::net::IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

/// One route: what it matches and what is done with it.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name in metrics, logs and `explain`.
    pub name: String,
    /// Hosts; empty matches all.
    pub hosts: Vec<HostPattern>,
    /// Path.
    pub path: PathMatch,
    /// Methods; empty matches all.
    pub methods: Vec<Method>,
    /// Headers that must all match.
    pub headers: Vec<HeaderMatch>,
    /// Where requests go, by weight; never empty, weights sum above zero.
    pub targets: Vec<Target>,
    /// `Host` that the node sees.
    pub host: HostPolicy,
    /// Replaces the matched prefix of the path.
    pub path_prefix: Option<String>,
    /// Edits of the request's headers.
    pub request_headers: HeaderEdits,
    /// Edits of the reply's headers.
    pub response_headers: HeaderEdits,
    /// Cross-origin rules; `None` leaves them to the node.
    pub cors: Option<Cors>,
    /// Origins that may call; empty lets all pass. Requests without `Origin` pass.
    pub allowed_origins: Vec<OriginPattern>,
    /// Overrides the group's read timeout.
    pub read_timeout: Option<Duration>,
    /// Overrides the group's write timeout.
    pub write_timeout: Option<Duration>,
    /// Largest request body in bytes; `u64::MAX` leaves it to the listener.
    pub body_bytes_max: u64,
    /// Whether exchanges are written to the access log.
    pub access_log: bool,
}

/// A share of a route's requests.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Which group.
    pub group: GroupIndex,
    /// Its share, against the other targets' weights.
    pub weight: u32,
}

/// A host pattern; letter case does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Anything.
    Any,
    /// This name, without a port unless the pattern has one.
    Exact(String),
    /// Names that end with this, the leading dot included: `*.example.com` is `.example.com`.
    Suffix(String),
}

impl HostPattern {
    /// Whether a host is what the pattern asks for.
    pub fn matches(&self, host: &str) -> bool {
        let (host, same) = (host.as_bytes(), <[u8]>::eq_ignore_ascii_case);
        match self {
            Self::Any => true,
            Self::Exact(exact) => same(host, exact.as_bytes()),
            Self::Suffix(suffix) => {
                host.len() > suffix.len() && same(&host[host.len() - suffix.len()..], suffix.as_bytes())
            }
        }
    }
}

/// A path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Just this path.
    Exact(String),
    /// This path and everything below it, by whole segments; `/` matches all.
    Prefix(String),
}

/// A condition on one header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Name, lower case.
    pub name: String,
    /// What is asked of the value.
    pub value: ValueMatch,
}

/// A condition on a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// The header is there.
    Present,
    /// It is not.
    Absent,
    /// The value is this.
    Exact(String),
    /// The value begins with this.
    Prefix(String),
}

/// What `Host` the node sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// The node's own name: SDK servers refuse a foreign one (DNS-rebinding protection).
    Upstream,
    /// The client's.
    Keep,
    /// This one.
    Literal(String),
}

/// Header edits, applied in the order remove, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names to drop, lower case.
    pub remove: Vec<String>,
    /// Fields that replace all of their name.
    pub set: Vec<(String, String)>,
    /// Fields to add.
    pub add: Vec<(String, String)>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Cross-origin rules (the Fetch standard's CORS protocol), answered by the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins allowed.
    pub origins: Vec<OriginPattern>,
    /// `Access-Control-Allow-Methods`, joined.
    pub methods: String,
    /// `Access-Control-Allow-Headers`, joined; empty mirrors what was asked for.
    pub headers: String,
    /// `Access-Control-Expose-Headers`, joined.
    pub expose_headers: String,
    /// Whether credentials are allowed.
    pub credentials: bool,
    /// How long a preflight may be cached.
    pub max_age: Duration,
}

/// Nodes that serve the same thing.
#[derive(Debug, Clone)]
pub struct Group {
    /// Name in metrics, logs and `explain`.
    pub name: String,
    /// How a node is picked.
    pub strategy: Strategy,
    /// The nodes, all of them: unfit ones too, for `explain` and the panic rule.
    pub endpoints: Vec<Endpoint>,
    /// Requests that may wait for a connection on one shard, per node.
    pub waiters_max: u32,
    /// How long they wait.
    pub wait_timeout: Duration,
    /// Opening a connection.
    pub connect_timeout: Duration,
    /// From the request's last byte to the reply's head.
    pub read_timeout: Duration,
    /// Longest time without progress while writing to the node.
    pub write_timeout: Duration,
    /// How long a connection may lie idle in the pool; below the node's own keep-alive.
    pub idle_timeout: Duration,
    /// Exchanges on one connection before it is replaced; 0 is no limit.
    pub requests_per_connection_max: u32,
}

/// How a node is picked among the fit ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Fewest open exchanges and streams for its weight, over all shards.
    LeastConnections,
    /// The less loaded of two drawn by weight.
    RandomOfTwo,
    /// In turn, smoothly by weight.
    RoundRobin,
}

impl Strategy {
    /// The word that stands in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RandomOfTwo => "random_of_two",
            Self::RoundRobin => "round_robin",
        }
    }
}

/// One node at one address.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its slot in the pages and pools.
    pub id: EndpointId,
    /// Name in metrics, logs and `explain`.
    pub name: String,
    /// Where it is.
    pub address: SockAddr,
    /// What it calls itself: host, and the port unless it is 80.
    pub host_header: String,
    /// Its share of the load, above zero.
    pub weight: u32,
    /// Connections that one shard may hold to it at a time (streams apart).
    pub connections_per_shard_max: u32,
    /// What health checks say.
    pub healthy: bool,
    /// What its operator says.
    pub status: NodeStatus,
}

impl Endpoint {
    /// Whether it takes new requests.
    pub fn is_fit(&self) -> bool {
        self.healthy && self.status == NodeStatus::Active
    }
}

/// A node's state as its operator set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// Takes requests.
    Active,
    /// Finishes what it has.
    Drain,
    /// Takes requests only when no active node is fit.
    Standby,
}
