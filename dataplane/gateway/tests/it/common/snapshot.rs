//! A snapshot with one route to one group, as tests and examples start from.

use std::time::Duration;

use erlmcp_dataplane::link::ids::{EndpointId, GroupIndex};
use erlmcp_dataplane::link::snapshot::{
    Endpoint, Group, HeaderEdits, HostPolicy, Identity, ListenerLimits, NodeStatus, PathMatch, Route,
    Snapshot, Strategy, Target,
};
use erlmcp_proto::http1::HeadLimits;
use erlmcp_ring::SockAddr;

/// Everything to these nodes, by least connections, 32 connections each.
pub(crate) fn of_nodes(nodes: &[SockAddr]) -> Snapshot {
    Snapshot {
        revision: 1,
        listeners: vec![ListenerLimits {
            name: "main".into(),
            head: HeadLimits::default(),
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            connections_per_shard_max: 10_000,
            requests_per_connection_max: 0,
            body_bytes_max: u64::MAX,
            trusted_proxies: Vec::new(),
        }],
        routes: vec![Route {
            name: "all".into(),
            hosts: Vec::new(),
            path: PathMatch::Prefix("/".into()),
            methods: Vec::new(),
            headers: Vec::new(),
            targets: vec![Target { group: GroupIndex(0), weight: 1 }],
            host: HostPolicy::Upstream,
            path_prefix: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            cors: None,
            allowed_origins: Vec::new(),
            read_timeout: None,
            write_timeout: None,
            body_bytes_max: 2 << 30,
            access_log: true,
        }],
        groups: vec![Group {
            name: "nodes".into(),
            strategy: Strategy::LeastConnections,
            endpoints: (0..).zip(nodes).map(endpoint).collect(),
            waiters_max: 10_000,
            wait_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            requests_per_connection_max: 0,
        }],
        identity: Identity { via: "erlmcp".into(), request_id_header: "X-Request-Id".into() },
        ready: true,
        started: true,
    }
}

fn endpoint((index, address): (u16, &SockAddr)) -> Endpoint {
    Endpoint {
        id: EndpointId(index),
        name: format!("node-{index}"),
        address: address.clone(),
        host_header: address.to_string(),
        weight: 1,
        connections_per_shard_max: 32,
        healthy: true,
        status: NodeStatus::Active,
    }
}
