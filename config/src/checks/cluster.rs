//! Checks of how the cluster is held together: load balancer, pools, partitions, resilience, regions.

use super::{Checks, Span};
use crate::model::balancer::Strategy;
use crate::model::names::NodeNames;
use crate::model::resilience::ExceptionKind;
use std::collections::BTreeMap;

pub(super) fn balancer(checks: &mut Checks<'_>) {
    let balancer = &checks.config.load_balancer;
    let health = &balancer.health_check;
    checks.below(
        "load_balancer.health_check",
        ("timeout", Span(health.timeout)),
        ("interval", Span(health.interval)),
        "a check must be over before the next one",
    );
    let nodes = balancer.nodes.iter().enumerate();
    checks.unique(
        nodes.map(|(i, node)| {
            let name = if node.name.is_some() { "name" } else { "host" };
            (
                format!("load_balancer.nodes[{i}].{name}"),
                node.name.clone().unwrap_or_else(|| format!("{}:{}", node.host, node.port)),
            )
        }),
        "the name",
    );
    let groups = checks.config.routes.groups.iter().enumerate();
    let strategies = groups.map(|(i, group)| (format!("groups[{i}].strategy"), group.strategy));
    let strategies: Vec<_> =
        [("load_balancer.strategy".to_owned(), balancer.strategy)].into_iter().chain(strategies).collect();
    for (key, strategy) in strategies {
        let written = checks.places.given(&key);
        if written && matches!(strategy, Strategy::ConsistentHash | Strategy::LeastLatency) {
            let why = "nodes are picked by `least_connections` meanwhile";
            checks.warn(&key, &[], ["this strategy has no effect yet", why, "keep it, or take one that has"]);
        }
    }
}

pub(super) fn pools(checks: &mut Checks<'_>) {
    let pools = &checks.config.pools;
    checks.below(
        "connection_pools.websocket_pool",
        ("ping_timeout", Span(pools.websocket_pool.ping_timeout)),
        ("ping_interval", Span(pools.websocket_pool.ping_interval)),
        "a pong must be due before the next ping",
    );
    let wanted = u64::from(pools.tcp_pool.size) + u64::from(pools.tcp_pool.max_overflow);
    if let Some(limit) = checks.config.runtime.descriptor_limit
        && wanted > u64::from(limit)
    {
        let what = format!("size and max_overflow are {wanted} connections, descriptor_limit is {limit}");
        let why = "connections beyond it cannot be opened; the limit applies";
        let others = ["connection_pools.tcp_pool.max_overflow", "runtime.descriptor_limit"];
        checks.warn(
            "connection_pools.tcp_pool.size",
            &others,
            [&what, why, "raise the limit or lower the pool"],
        );
    }
}

pub(super) fn sharding(checks: &mut Checks<'_>) {
    let config = checks.config;
    let names = NodeNames::of(config);
    let partitions = config.sharding.partitions.iter().enumerate();
    checks.unique(partitions.map(|(i, p)| (format!("sharding.shards[{i}].id"), p.id.clone())), "the id");
    for (index, partition) in config.sharding.partitions.iter().enumerate() {
        let prefix = format!("sharding.shards[{index}]");
        let nodes_key = format!("{prefix}.nodes");
        checks.filled(&nodes_key, &partition.nodes, "its keys would have no home");
        checks.below(
            &prefix,
            ("load_threshold", partition.load_threshold),
            ("rebalance_threshold", partition.rebalance_threshold),
            "keys would move away before new ones stop coming",
        );
        let count = partition.nodes.len();
        if partition.replicas as usize > count && count > 0 {
            let what = format!("{} replicas on {count} nodes", partition.replicas);
            let key = format!("{prefix}.replicas");
            checks.error(&key, &[&nodes_key], [&what, "a node holds a key once", "lower it or add nodes"]);
        }
        let listed = partition.nodes.iter().enumerate();
        checks.unique(listed.map(|(i, name)| (format!("{nodes_key}[{i}]"), name.clone())), "the node");
        let found = partition.nodes.iter().filter(|name| names.find(name).is_some()).count();
        for (position, name) in partition.nodes.iter().enumerate() {
            if names.find(name).is_none() {
                let what = format!("no list has a node `{name}`");
                let why = format!("keys of {} live on {found} of its {count} nodes", partition.id);
                let key = format!("{nodes_key}[{position}]");
                checks.warn(
                    &key,
                    &["load_balancer.nodes", "groups"],
                    [&what, &why, "add it to load_balancer.nodes, or remove it here"],
                );
            }
        }
    }
}

pub(super) fn resilience(checks: &mut Checks<'_>) {
    let resilience = &checks.config.resilience;
    checks.at_most(
        "resilience.retry",
        ("initial_delay", Span(resilience.retry.initial_delay)),
        ("max_delay", Span(resilience.retry.max_delay)),
        "the first delay would already be cut",
    );
    let base = checks.config.pools.tcp_pool.retry_policy.base_delay;
    if base > resilience.retry.max_delay {
        let what = format!(
            "{} is above resilience.retry.max_delay, which is {}",
            Span(base),
            Span(resilience.retry.max_delay)
        );
        let others = ["resilience.retry.max_delay"];
        let key = "connection_pools.tcp_pool.retry_policy.base_delay";
        checks.error(
            key,
            &others,
            [&what, "the first delay would already be cut", "lower it or raise max_delay"],
        );
    }
    let services = resilience.circuit_breakers.service_specific.keys();
    let names =
        services.map(|name| (format!("service_specific.{name}"), resilience.circuit_breakers.of(name)));
    let all: Vec<_> = [("default".to_owned(), resilience.circuit_breakers.default.clone())]
        .into_iter()
        .chain(names)
        .collect();
    for (name, breaker) in all {
        let key = format!("resilience.circuit_breakers.{name}.exclude_exceptions");
        let excluded = &breaker.exclude_exceptions;
        if excluded.contains(&ExceptionKind::All) || excluded.contains(&breaker.expected_exception) {
            let why = "nothing is left that could open it";
            checks.error(&key, &[], ["every failure is excluded", why, "exclude single kinds"]);
        }
    }
}

pub(super) fn regions(checks: &mut Checks<'_>) {
    let config = checks.config;
    let network = &config.network.topology.regions;
    let roles = &config.multi_region.deployment.regions;
    checks.unique(
        network
            .iter()
            .enumerate()
            .map(|(i, r)| (format!("network.topology.regions[{i}].name"), r.name.clone())),
        "the name",
    );
    let key = |index: usize, name: &str| format!("multi_region.deployment.regions[{index}].{name}");
    checks.unique(roles.iter().enumerate().map(|(i, r)| (key(i, "name"), r.name.clone())), "the name");
    checks.unique(
        roles.iter().enumerate().map(|(i, r)| (key(i, "location"), r.location.clone())),
        "the location",
    );
    for (index, role) in roles.iter().enumerate() {
        if !network.iter().any(|region| region.name == role.location) {
            let what = format!("network.topology.regions has no `{}`", role.location);
            let why = "its latency and zone are not known, so it is used last";
            checks.warn(
                &key(index, "location"),
                &["network.topology.regions"],
                [&what, why, "add it there, or correct the name"],
            );
        }
    }
    if !roles.is_empty() && !roles.iter().any(|role| role.active) {
        let all = "multi_region.deployment.regions";
        checks.error(
            all,
            &[],
            ["no region is active", "traffic would have no home", "set `active: true` on one"],
        );
    }
    own_region(checks);
    let failover = &config.multi_region.failover;
    if failover.automatic_failover && failover.manual_failover_required {
        let why = "the one says by itself, the other by hand; it then waits for an operator";
        let key = "multi_region.failover.manual_failover_required";
        checks.warn(
            key,
            &["multi_region.failover.automatic_failover"],
            ["both kinds of failover", why, "switch one off"],
        );
    }
    weights(checks);
}

fn own_region(checks: &mut Checks<'_>) {
    let config = checks.config;
    let roles = &config.multi_region.deployment.regions;
    match &config.runtime.region.name {
        None if !roles.is_empty() => {
            let texts = [
                "it is not said which region this gateway stands in",
                "regions are configured, but none can be the near one",
                "write `region: {name: ...}` into runtime.yaml",
            ];
            let key = if checks.places.given("runtime") {
                "runtime.region.name"
            } else {
                "multi_region.deployment.regions"
            };
            checks.warn(key, &[], texts);
        }
        Some(own) if !roles.iter().any(|role| role.name == *own || role.location == *own) => {
            let known: Vec<&str> = roles.iter().map(|role| role.location.as_str()).collect();
            let what = format!("there is no region `{own}`");
            let others = ["multi_region.deployment.regions"];
            checks.error(
                "runtime.region.name",
                &others,
                [&what, "the near one cannot be told", &crate::walk::suggest(own, &known)],
            );
        }
        _ => {}
    }
}

fn weights(checks: &mut Checks<'_>) {
    let config = checks.config;
    let roles = &config.multi_region.deployment.regions;
    let known = |name: &str| roles.iter().any(|role| role.name == name);
    for name in config.multi_region.failover.traffic_routing.keys() {
        if !name.strip_suffix("_weight").is_some_and(known) {
            let key = format!("multi_region.failover.traffic_routing.{name}");
            checks.error(
                &key,
                &["multi_region.deployment.regions"],
                ["names no region", "its share could go nowhere", "write `<region>_weight`"],
            );
        }
    }
    let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
    for (name, weight) in &config.multi_region.failover.failover_weights {
        let key = format!("multi_region.failover.failover_weights.{name}");
        // A region's own name may hold `_to_`: every place to split is tried.
        let pair = name
            .match_indices("_to_")
            .map(|(at, _)| (&name[..at], &name[at + 4..]))
            .find(|(a, b)| known(a) && known(b));
        match pair {
            Some((failed, heir)) if failed != heir => *sums.entry(failed).or_default() += weight,
            _ => {
                let why = "its share could go nowhere";
                checks.error(
                    &key,
                    &["multi_region.deployment.regions"],
                    ["names no two regions", why, "write `<failed>_to_<region>`"],
                );
            }
        }
    }
    for (failed, sum) in sums {
        if sum != 100 {
            let what = format!("the shares of {failed}'s traffic sum up to {sum}");
            let texts = [
                what.as_str(),
                "they are percentages; each is scaled to their sum",
                "make them 100 together",
            ];
            checks.warn("multi_region.failover.failover_weights", &[], texts);
        }
    }
}
