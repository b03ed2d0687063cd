//! A snapshot from its inputs. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use erlmcp_dataplane::link::snapshot::{Endpoint, Group, NodeStatus};
use erlmcp_dataplane::link::{EndpointId, Snapshot};

use crate::desired::{Desired, GroupPlan, NodePlan};
use crate::endpoints::EndpointKey;

/// Everything that a snapshot depends on.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What is wished for.
    pub desired: Arc<Desired>,
    /// Endpoints in the order of the wishes, with their slots, and whether they are fit.
    pub endpoints: Vec<(EndpointKey, EndpointId, bool)>,
    /// What the operator said of a node since the start.
    pub operator: Arc<BTreeMap<String, NodeStatus>>,
    /// Shards that share the limits.
    pub shards: usize,
    /// Whether `/ready` says yes.
    pub ready: bool,
    /// Whether `/startup` says yes.
    pub started: bool,
}

impl PartialEq for Inputs {
    /// A reload makes a new `desired`, so that its identity says enough.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.desired, &other.desired)
            && self.endpoints == other.endpoints
            && self.operator == other.operator
            && (self.shards, self.ready, self.started) == (other.shards, other.ready, other.started)
    }
}

/// Builds the snapshot.
pub fn build(inputs: &Inputs, revision: u64) -> Snapshot {
    let desired = &inputs.desired;
    Snapshot {
        revision,
        listeners: desired.listeners.clone(),
        routes: desired.routes.clone(),
        groups: desired.groups.iter().map(|group| build_group(group, inputs)).collect(),
        identity: desired.identity.clone(),
        ready: inputs.ready,
        started: inputs.started,
    }
}

/// A node's endpoints in a group.
fn of<'a>(
    inputs: &'a Inputs,
    group: &'a GroupPlan,
    node: &'a NodePlan,
) -> impl Iterator<Item = &'a (EndpointKey, EndpointId, bool)> + Clone {
    inputs.endpoints.iter().filter(|(key, ..)| key.group == group.name && key.node == node.name)
}

fn build_group(group: &GroupPlan, inputs: &Inputs) -> Group {
    let live: Vec<&NodePlan> = group.nodes.iter().filter(|node| node.status.is_some()).collect();
    // A node's weight is split over its fit addresses; scaled up so that small weights survive the division.
    let split = live.iter().any(|node| of(inputs, group, node).count() > 1);
    let scale = if split { 100 } else { 1 };
    let weights: u64 = live.iter().map(|node| u64::from(node.weight)).sum();
    let mut endpoints = Vec::new();
    for node in live {
        let found = of(inputs, group, node);
        // An address that answers nothing (a name's IPv6 one, often) must not cost its node a share.
        let fit = found.clone().filter(|(_, _, healthy)| *healthy).count();
        let count = if fit > 0 { fit } else { found.clone().count().max(1) };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let status = inputs.operator.get(&node.name).copied().or(node.status).unwrap_or(NodeStatus::Active);
        let limit = connections_per_shard_max(group, node, weights, inputs.shards, count);
        endpoints.extend(found.map(|(key, id, healthy)| Endpoint {
            id: *id,
            name: node.name.clone(),
            address: key.address.clone(),
            host_header: node.at.host_header(),
            weight: (node.weight.saturating_mul(scale) / count).max(1),
            connections_per_shard_max: limit,
            healthy: *healthy,
            status,
        }));
    }
    Group {
        name: group.name.clone(),
        strategy: group.strategy,
        endpoints,
        waiters_max: group.waiters_max,
        wait_timeout: group.wait_timeout,
        connect_timeout: group.connect_timeout,
        read_timeout: group.read_timeout,
        write_timeout: group.write_timeout,
        idle_timeout: group.idle_timeout,
        requests_per_connection_max: group.requests_per_connection_max,
    }
}

/// The smallest of the cap per shard, the node's bound and the node's share of the group's bound, both over all
/// shards and all addresses of the node. At least one, or the node could not be used at all.
fn connections_per_shard_max(
    group: &GroupPlan,
    node: &NodePlan,
    weights: u64,
    shards: usize,
    addresses: u32,
) -> u32 {
    let parts = (shards.max(1) as u64).saturating_mul(u64::from(addresses));
    let own = u64::from(node.connections_max).div_ceil(parts);
    let share = u64::from(group.connections_max) * u64::from(node.weight) / weights.max(1);
    let share = share.div_ceil(parts);
    let least = own.min(share).min(u64::from(group.connections_per_shard_max)).max(1);
    u32::try_from(least).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::desired::{CheckKind, CheckPlan, NodeAt};
    use erlmcp_dataplane::link::snapshot::{
        HeaderEdits, HostPolicy, Identity, ListenerLimits, PathMatch, Route, Strategy, Target,
    };
    use erlmcp_proto::http1::HeadLimits;
    use std::time::Duration;

    pub(crate) fn node(name: &str, weight: u32) -> NodePlan {
        NodePlan {
            name: name.into(),
            at: NodeAt::Name(name.into(), 8080),
            weight,
            connections_max: 10_000,
            status: Some(NodeStatus::Active),
        }
    }

    pub(crate) fn group(name: &str, nodes: Vec<NodePlan>) -> GroupPlan {
        let second = Duration::from_secs(1);
        GroupPlan {
            name: name.into(),
            strategy: Strategy::LeastConnections,
            nodes,
            check: CheckPlan {
                kind: CheckKind::Connect,
                interval: second,
                timeout: second,
                healthy_threshold: 1,
                unhealthy_threshold: 1,
            },
            connections_per_shard_max: 32,
            connections_max: 1_000_000,
            waiters_max: 10,
            wait_timeout: second,
            connect_timeout: second,
            read_timeout: second,
            write_timeout: second,
            idle_timeout: second,
            requests_per_connection_max: 0,
        }
    }

    pub(crate) fn identity() -> Identity {
        Identity { via: "erlmcp".into(), request_id_header: "x-request-id".into() }
    }

    fn listener() -> ListenerLimits {
        let second = Duration::from_secs(1);
        ListenerLimits {
            name: "l".into(),
            head: HeadLimits::default(),
            header_timeout: second,
            body_idle_timeout: second,
            keep_alive: second,
            write_timeout: second,
            connections_per_shard_max: 10,
            requests_per_connection_max: 0,
            body_bytes_max: u64::MAX,
            trusted_proxies: Vec::new(),
        }
    }

    pub(crate) fn desired(groups: Vec<GroupPlan>, routes: &[&str]) -> Desired {
        let route = |name: &&str| Route {
            name: (*name).into(),
            hosts: Vec::new(),
            path: PathMatch::Prefix("/".into()),
            methods: Vec::new(),
            headers: Vec::new(),
            targets: vec![Target { group: erlmcp_dataplane::link::GroupIndex(0), weight: 1 }],
            host: HostPolicy::Upstream,
            path_prefix: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            cors: None,
            allowed_origins: Vec::new(),
            read_timeout: None,
            write_timeout: None,
            body_bytes_max: u64::MAX,
            access_log: true,
        };
        Desired {
            listeners: vec![listener()],
            routes: routes.iter().map(route).collect(),
            groups,
            identity: identity(),
            drain: crate::desired::DrainPlan { grace: Duration::ZERO, limit: Duration::from_secs(1) },
        }
    }

    fn inputs(desired: Desired, endpoints: &[(&str, &str, bool)]) -> Inputs {
        let endpoint = |(index, (node, address, healthy)): (usize, &(&str, &str, bool))| {
            let key =
                EndpointKey { group: "g".into(), node: (*node).into(), address: address.parse().unwrap() };
            (key, EndpointId(index as u16), *healthy)
        };
        Inputs {
            desired: Arc::new(desired),
            endpoints: endpoints.iter().enumerate().map(endpoint).collect(),
            operator: Arc::default(),
            shards: 2,
            ready: true,
            started: true,
        }
    }

    pub(crate) fn snapshot(revision: u64, routes: &[&str]) -> Snapshot {
        build(
            &inputs(desired(vec![group("g", vec![node("n", 1)])], routes), &[("n", "10.0.0.1:1", true)]),
            revision,
        )
    }

    #[test]
    fn a_node_of_several_addresses_shares_its_weight_and_its_limit() {
        let mut both = group("g", vec![node("a", 1), node("b", 3)]);
        both.nodes[0].connections_max = 10;
        let endpoints =
            |second| [("a", "10.0.0.1:1", true), ("a", "10.0.0.2:1", second), ("b", "10.0.0.3:1", true)];
        let built = build(&inputs(desired(vec![both.clone()], &["r"]), &endpoints(true)), 7);
        let [first, second, third] = &built.groups[0].endpoints[..] else { panic!("three endpoints") };
        assert_eq!((first.weight, second.weight, third.weight), (50, 50, 300));
        assert_eq!((first.connections_per_shard_max, third.connections_per_shard_max), (3, 32));
        assert_eq!((first.healthy, second.healthy, built.revision), (true, true, 7));
        assert_eq!((first.host_header.as_str(), third.id), ("a:8080", EndpointId(2)));
        let built = build(&inputs(desired(vec![both], &["r"]), &endpoints(false)), 8);
        assert_eq!(built.groups[0].endpoints[0].weight, 100, "the fit address has the whole share");
    }

    #[test]
    fn the_groups_bound_is_split_by_weight() {
        let mut both = group("g", vec![node("a", 100), node("b", 300)]);
        both.connections_max = 40;
        let endpoints = [("a", "10.0.0.1:1", true), ("b", "10.0.0.3:1", true)];
        let built = build(&inputs(desired(vec![both], &["r"]), &endpoints), 1);
        let limits: Vec<_> = built.groups[0].endpoints.iter().map(|e| e.connections_per_shard_max).collect();
        assert_eq!(limits, [5, 15]);
    }

    #[test]
    fn the_operators_word_stands_above_the_file_and_off_is_off() {
        let mut off = node("off", 1);
        off.status = None;
        let endpoints = [("a", "10.0.0.1:1", true), ("off", "10.0.0.2:1", true)];
        let mut inputs = inputs(desired(vec![group("g", vec![node("a", 1), off])], &["r"]), &endpoints);
        inputs.operator = Arc::new([("a".to_owned(), NodeStatus::Drain)].into());
        let built = build(&inputs, 1);
        assert_eq!(built.groups[0].endpoints.len(), 1);
        assert_eq!(built.groups[0].endpoints[0].status, NodeStatus::Drain);
        assert!(!built.groups[0].endpoints[0].is_fit());
    }

    #[test]
    fn equal_inputs_are_equal() {
        let one = inputs(desired(vec![group("g", vec![node("a", 1)])], &["r"]), &[("a", "10.0.0.1:1", true)]);
        let mut other = one.clone();
        assert!(one == other);
        other.endpoints[0].2 = false;
        assert!(one != other);
    }
}
