//! What the operator wants served: the configuration's routes and groups, or the short way's, in one form.
//!
//! Plain data. Owns no address that was resolved and no state of health: those are observed, this is wished for.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use erlmcp_dataplane::link::snapshot::{Identity, ListenerLimits, NodeStatus, Route, Strategy};
use erlmcp_ring::SockAddr;

/// Everything that a snapshot needs beside addresses and health.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Limits by listener, in the order of the bound sockets.
    pub listeners: Vec<ListenerLimits>,
    /// Routes in the order in which they are tried.
    pub routes: Vec<Route>,
    /// Groups, in the order that the routes' targets index.
    pub groups: Vec<GroupPlan>,
    /// What the gateway calls itself.
    pub identity: Identity,
    /// What a stop does.
    pub drain: DrainPlan,
}

/// What a stop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPlan {
    /// Between "not ready" and the end of accepting, so that load balancers notice.
    pub grace: Duration,
    /// From the end of accepting until what is left is cut; nothing when it is cut at once.
    pub limit: Duration,
}

/// A group of nodes and its limits.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    /// Name in metrics, logs and `explain`.
    pub name: String,
    /// How a node is picked.
    pub strategy: Strategy,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// How they are checked.
    pub check: CheckPlan,
    /// Connections that one shard may hold to one node, unless the node's own bound is smaller.
    pub connections_per_shard_max: u32,
    /// Connections of the whole process to all nodes, split over them by weight.
    pub connections_max: u32,
    /// Requests that may wait for a connection on one shard, per node.
    pub waiters_max: u32,
    /// How long they wait.
    pub wait_timeout: Duration,
    /// Opening a connection.
    pub connect_timeout: Duration,
    /// Until the reply's head.
    pub read_timeout: Duration,
    /// Without progress while writing.
    pub write_timeout: Duration,
    /// In the pool.
    pub idle_timeout: Duration,
    /// Exchanges on one connection; 0 is no limit.
    pub requests_per_connection_max: u32,
}

/// How the nodes of a group are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPlan {
    /// What a check does.
    pub kind: CheckKind,
    /// Between the starts of two checks of a node.
    pub interval: Duration,
    /// For one check, connecting included.
    pub timeout: Duration,
    /// Good checks in a row that bring a node back.
    pub healthy_threshold: u32,
    /// Bad checks in a row that take a node out.
    pub unhealthy_threshold: u32,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// GET, and this status.
    Http {
        /// Path asked for.
        path: String,
        /// The only status that is good.
        expected_status: u16,
    },
    /// A connection that opens is enough.
    Connect,
}

/// One node as it is written down.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Name in metrics, logs and commands.
    pub name: String,
    /// Where it is.
    pub at: NodeAt,
    /// Its share of the load.
    pub weight: u32,
    /// Connections of the whole process.
    pub connections_max: u32,
    /// What its operator wrote; `None` switches it off.
    pub status: Option<NodeStatus>,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAt {
    /// A name that discovery resolves, and a port.
    Name(String, u16),
    /// An address.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl NodeAt {
    /// From a host as people write it: an address, with brackets or without, or a name.
    pub fn new(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Self::Inet(SocketAddr::new(ip, port)),
            Err(_) => Self::Name(host.to_ascii_lowercase(), port),
        }
    }

    /// The name to resolve, if it is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Name(host, _) => Some(host),
            Self::Inet(_) | Self::Unix(_) => None,
        }
    }

    /// The addresses, given what the name resolves to.
    pub fn addresses(&self, resolved: &[IpAddr]) -> Vec<SockAddr> {
        match self {
            Self::Name(_, port) => {
                resolved.iter().map(|ip| SockAddr::Inet(SocketAddr::new(*ip, *port))).collect()
            }
            Self::Inet(address) => vec![SockAddr::Inet(*address)],
            Self::Unix(path) => vec![SockAddr::Unix(path.clone())],
        }
    }

    /// What the node calls itself: `Host` without the port where that is the scheme's own (RFC 9110 7.2).
    pub fn host_header(&self) -> String {
        match self {
            Self::Name(host, 80) => host.clone(),
            Self::Name(host, port) => format!("{host}:{port}"),
            Self::Inet(address) if address.port() == 80 => match address.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            },
            Self::Inet(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl std::fmt::Display for NodeAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(NodeAt::new("Node-1", 80), NodeAt::Name("node-1".into(), 80));
        assert_eq!(NodeAt::new("10.0.0.1", 80), NodeAt::Inet("10.0.0.1:80".parse().unwrap()));
        for v6 in ["::1", "[::1]"] {
            assert_eq!(NodeAt::new(v6, 81), NodeAt::Inet("[::1]:81".parse().unwrap()), "{v6}");
        }
    }

    #[test]
    fn a_node_is_called_as_a_client_would_call_it() {
        for (host, port, header) in
            [("a.b", 80, "a.b"), ("a.b", 8080, "a.b:8080"), ("::1", 80, "[::1]"), ("::1", 81, "[::1]:81")]
        {
            assert_eq!(NodeAt::new(host, port).host_header(), header);
        }
        assert_eq!(NodeAt::Unix("/run/x".into()).host_header(), "localhost");
    }

    #[test]
    fn a_name_has_as_many_addresses_as_it_resolves_to() {
        let ips = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let texts: Vec<_> = NodeAt::new("n", 81).addresses(&ips).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.1:81", "[::1]:81"]);
        assert_eq!(NodeAt::new("10.9.9.9", 1).addresses(&ips).len(), 1);
    }
}
