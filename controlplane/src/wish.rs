//! From the configuration to [`Desired`]: names become indices, process-wide limits become per-shard ones.
//!
//! Pure. Owns no default: the configuration is complete.

use std::time::Duration;

use erlmcp_config::Config;
use erlmcp_config::model::{balancer, listeners, routes};
use erlmcp_config::values;
use erlmcp_dataplane::link::snapshot as link;
use erlmcp_dataplane::link::{GroupIndex, OriginPattern, PortPattern};
use erlmcp_proto::http1::{HeadLimits, Method};

use crate::desired::{CheckKind, CheckPlan, Desired, DrainPlan, GroupPlan, NodeAt, NodePlan};

/// What beside the configuration decides the wishes.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Shards that share the limits.
    pub shards: usize,
    /// Groups whose nodes are only asked for a connection, as nothing is known of their paths.
    pub connect_checked: &'a [String],
}

/// Converts.
///
/// # Errors
/// What the data plane cannot do yet, one sentence each.
pub fn desired(config: &Config, terms: &Terms<'_>) -> Result<Desired, Vec<String>> {
    let mut refused = Vec::new();
    let listeners = config.listeners.listeners.iter().map(|one| listener(config, one, terms)).collect();
    let routes = config
        .routes
        .routes
        .iter()
        .filter_map(|one| {
            route(config, one).map_err(|why| refused.push(format!("route {}: {why}", one.name))).ok()
        })
        .collect();
    let groups = config.routes.groups.iter().map(|one| group(config, one, terms)).collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let shutdown = &config.load_balancer.graceful_shutdown;
    Ok(Desired {
        listeners,
        routes,
        groups,
        identity: link::Identity {
            via: config.runtime.identity.via.clone(),
            request_id_header: config.runtime.identity.request_id_header.clone(),
        },
        drain: DrainPlan {
            grace: config.runtime.drain.grace,
            limit: if shutdown.drain_connections { shutdown.timeout } else { Duration::ZERO },
        },
    })
}

fn listener(config: &Config, one: &listeners::Listener, terms: &Terms<'_>) -> link::ListenerLimits {
    let limits = &one.limits;
    let shards = u32::try_from(terms.shards.max(1)).unwrap_or(u32::MAX);
    link::ListenerLimits {
        name: one.name.clone(),
        head: HeadLimits {
            head_bytes_max: size(limits.head_bytes_max),
            headers_max: size(u64::from(limits.headers_max)),
            target_bytes_max: size(limits.target_bytes_max),
        },
        header_timeout: limits.header_timeout,
        body_idle_timeout: limits.body_idle_timeout,
        keep_alive: limits.keep_alive,
        write_timeout: config.resilience.timeouts.write,
        connections_per_shard_max: one.max_connections.div_ceil(shards),
        requests_per_connection_max: limits.requests_per_connection_max,
        body_bytes_max: body_bytes(limits.body_bytes_max),
        trusted_proxies: one.trusted_proxies.iter().filter_map(network).collect(),
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn network(one: &values::Network) -> Option<link::Network> {
    let text = one.to_string();
    let (address, prefix) = text.split_once('/').unwrap_or((&text, ""));
    let address: std::net::IpAddr = address.parse().ok()?;
    let prefix = prefix.parse().unwrap_or(if address.is_ipv4() { 32 } else { 128 });
    Some(link::Network { address, prefix })
}

fn route(config: &Config, one: &routes::Route) -> Result<link::Route, String> {
    let target = |to: &routes::Target| {
        let index = config.routes.groups.iter().position(|group| group.name == to.group);
        let index = index.and_then(|index| u16::try_from(index).ok());
        let index = index.ok_or_else(|| format!("there is no group {}", to.group))?;
        Ok::<_, String>(link::Target { group: GroupIndex(index), weight: to.weight })
    };
    let targets = one.to.iter().filter(|to| to.weight > 0).map(target).collect::<Result<Vec<_>, _>>()?;
    if targets.is_empty() {
        return Err("every target has weight 0".to_owned());
    }
    let matches = &one.matches;
    Ok(link::Route {
        name: one.name.clone(),
        hosts: matches.hosts.iter().map(host_pattern).collect(),
        path: match &matches.path {
            routes::PathMatch::Exact(path) => link::PathMatch::Exact(path.clone()),
            routes::PathMatch::Prefix(path) => link::PathMatch::Prefix(path.clone()),
        },
        methods: matches.methods.iter().map(|method| Method::from_text(method)).collect(),
        headers: matches.headers.iter().map(header_match).collect(),
        targets,
        host: match &one.rewrite.host {
            values::HostRewrite::Upstream => link::HostPolicy::Upstream,
            values::HostRewrite::Keep => link::HostPolicy::Keep,
            values::HostRewrite::Literal(host) => link::HostPolicy::Literal(host.clone()),
        },
        path_prefix: one.rewrite.path_prefix.clone(),
        request_headers: edits(&one.rewrite.request_headers),
        response_headers: edits(&one.rewrite.response_headers),
        cors: one.cors.as_ref().map(cors),
        allowed_origins: origins(&one.allowed_origins, one.cors.as_ref()),
        read_timeout: one.timeouts.read,
        write_timeout: one.timeouts.write,
        body_bytes_max: one.body_bytes_max.map_or(u64::MAX, body_bytes),
        access_log: one.access_log && config.runtime.access_log.enabled,
    })
}

/// What configuration calls 0 the data plane calls the largest number.
fn body_bytes(limit: values::ByteLimit) -> u64 {
    limit.get().unwrap_or(u64::MAX)
}

fn host_pattern(pattern: &values::HostPattern) -> link::HostPattern {
    match pattern {
        values::HostPattern::Any => link::HostPattern::Any,
        values::HostPattern::Exact(host) => link::HostPattern::Exact(host.clone()),
        values::HostPattern::Suffix(suffix) => link::HostPattern::Suffix(suffix.clone()),
    }
}

fn header_match(one: &routes::HeaderMatch) -> link::HeaderMatch {
    let value = match (&one.exact, &one.prefix) {
        (Some(exact), _) => link::ValueMatch::Exact(exact.clone()),
        (None, Some(prefix)) => link::ValueMatch::Prefix(prefix.clone()),
        (None, None) if one.present => link::ValueMatch::Present,
        (None, None) => link::ValueMatch::Absent,
    };
    link::HeaderMatch { name: one.name.to_ascii_lowercase(), value }
}

fn edits(changes: &routes::HeaderChanges) -> link::HeaderEdits {
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    link::HeaderEdits {
        remove: changes.remove.iter().map(|name| name.to_ascii_lowercase()).collect(),
        set: pairs(&changes.set),
        add: pairs(&changes.add),
    }
}

fn cors(one: &routes::Cors) -> link::Cors {
    link::Cors {
        origins: one.origins.iter().map(origin).collect(),
        methods: one.methods.join(", "),
        headers: one.headers.join(", "),
        expose_headers: one.expose_headers.join(", "),
        credentials: one.credentials,
        max_age: one.max_age,
    }
}

/// Who may call: those that are named, and those that get cross-origin leave.
fn origins(allowed: &[values::OriginPattern], cors: Option<&routes::Cors>) -> Vec<OriginPattern> {
    let shared = cors.map_or(&[][..], |cors| &cors.origins);
    allowed.iter().chain(shared).map(origin).collect()
}

fn origin(pattern: &values::OriginPattern) -> OriginPattern {
    match pattern {
        values::OriginPattern::Any => OriginPattern::Any,
        values::OriginPattern::Parts { scheme, host, port } => OriginPattern::Parts {
            scheme: scheme.clone(),
            host: host_pattern(host),
            port: match port {
                values::PortPattern::Default => PortPattern::Default,
                values::PortPattern::Exact(port) => PortPattern::Exact(*port),
                values::PortPattern::Any => PortPattern::Any,
            },
        },
    }
}

fn group(config: &Config, one: &routes::Group, terms: &Terms<'_>) -> GroupPlan {
    let pool = &config.pools.http_pool;
    let (strategy, by_weight) = match one.strategy {
        balancer::Strategy::RoundRobin => (link::Strategy::RoundRobin, false),
        balancer::Strategy::WeightedRoundRobin => (link::Strategy::RoundRobin, true),
        balancer::Strategy::RandomOfTwo => (link::Strategy::RandomOfTwo, true),
        // The last two are warned about by the configuration until they are built.
        balancer::Strategy::LeastConnections
        | balancer::Strategy::ConsistentHash
        | balancer::Strategy::LeastLatency => (link::Strategy::LeastConnections, true),
    };
    let check = &one.health_check;
    GroupPlan {
        name: one.name.clone(),
        strategy,
        nodes: one.nodes.iter().map(|node| self::node(node, by_weight)).collect(),
        check: CheckPlan {
            kind: if terms.connect_checked.contains(&one.name) {
                CheckKind::Connect
            } else {
                CheckKind::Http { path: check.path.clone(), expected_status: check.expected_status }
            },
            interval: check.interval,
            timeout: check.timeout,
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
        },
        connections_per_shard_max: one.connections_per_shard_max,
        connections_max: pool.max_connections,
        waiters_max: one.waiters_max,
        wait_timeout: one.wait_timeout,
        connect_timeout: one.timeouts.connect,
        read_timeout: one.timeouts.read,
        write_timeout: one.timeouts.write,
        idle_timeout: one.timeouts.idle.min(pool.keep_alive),
        requests_per_connection_max: pool.max_requests_per_connection,
    }
}

fn node(one: &routes::GroupNode, by_weight: bool) -> NodePlan {
    NodePlan {
        name: one.name.clone(),
        at: match &one.endpoint {
            routes::Endpoint::Host { host, port } => NodeAt::new(host, *port),
            routes::Endpoint::Unix(path) => NodeAt::Unix(path.clone()),
        },
        weight: if by_weight { one.weight } else { 1 },
        connections_max: one.max_connections,
        status: match one.status {
            balancer::NodeStatus::Active => Some(link::NodeStatus::Active),
            balancer::NodeStatus::Draining => Some(link::NodeStatus::Drain),
            balancer::NodeStatus::Backup => Some(link::NodeStatus::Standby),
            balancer::NodeStatus::Disabled => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    fn terms(shards: usize) -> Terms<'static> {
        Terms { shards, connect_checked: &[] }
    }

    fn wished(sets: &[(&str, &str)], shards: usize) -> Result<Desired, Vec<String>> {
        let source = sets.iter().fold(Source::default(), |source, (path, value)| source.set(*path, *value));
        let loaded = load(&source).unwrap_or_else(|report| panic!("{report}"));
        desired(&loaded.config, &terms(shards))
    }

    const TWO_NODES: (&str, &str) =
        ("load_balancer.nodes", "[{host: a, port: 80}, {host: b, port: 81, weight: 7, status: backup}]");

    #[test]
    fn nodes_of_the_load_balancer_are_served() {
        let wish = wished(&[TWO_NODES], 2).unwrap();
        let [group] = &wish.groups[..] else { panic!("one group") };
        assert_eq!((group.nodes[0].at.clone(), group.nodes[1].weight), (NodeAt::Name("a".into(), 80), 7));
        assert_eq!(group.nodes[1].status, Some(link::NodeStatus::Standby));
        assert_eq!(wish.routes[0].targets[0].group, GroupIndex(0));
        assert!(
            matches!(&group.check.kind, CheckKind::Http { path, expected_status: 200 } if path == "/health")
        );
    }

    #[test]
    fn round_robin_takes_turns_whatever_the_weights() {
        let wish = wished(&[TWO_NODES, ("load_balancer.strategy", "round_robin")], 2).unwrap();
        assert!(wish.groups[0].nodes.iter().all(|node| node.weight == 1));
        let wish = wished(&[TWO_NODES, ("load_balancer.strategy", "weighted_round_robin")], 2).unwrap();
        assert_eq!(
            (wish.groups[0].strategy, wish.groups[0].nodes[1].weight),
            (link::Strategy::RoundRobin, 7)
        );
    }

    #[test]
    fn limits_of_the_process_are_shared_by_its_shards() {
        let listeners =
            "[{name: main, address: \"127.0.0.1:1\", max_connections: 5, trusted_proxies: [\"10.0.0.0/8\"]}]";
        let wish = wished(&[TWO_NODES, ("listeners", listeners)], 2).unwrap();
        assert_eq!(wish.listeners[0].connections_per_shard_max, 3);
        let expected = link::Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 };
        assert_eq!(wish.listeners[0].trusted_proxies, [expected]);
    }

    #[test]
    fn every_key_of_a_listener_reaches_the_shards() {
        let listeners = "[{name: front, address: \"127.0.0.1:1\", limits: {head_bytes_max: 600, headers_max: 9, \
                         target_bytes_max: 99, body_bytes_max: 0, header_timeout: 1, body_idle_timeout: 2, \
                         keep_alive: 3, requests_per_connection_max: 4}}]";
        let sets = [TWO_NODES, ("listeners", listeners), ("resilience.timeouts.write", "5")];
        let one = wished(&sets, 1).unwrap().listeners.remove(0);
        let ms = Duration::from_millis;
        assert_eq!(one.name, "front");
        assert_eq!((one.head.head_bytes_max, one.head.headers_max, one.head.target_bytes_max), (600, 9, 99));
        assert_eq!((one.header_timeout, one.body_idle_timeout, one.keep_alive), (ms(1), ms(2), ms(3)));
        assert_eq!(one.write_timeout, ms(5));
        assert_eq!((one.body_bytes_max, one.requests_per_connection_max), (u64::MAX, 4));
    }

    #[test]
    fn every_key_of_a_group_reaches_the_shards() {
        let groups = "[{name: g, strategy: random_of_two, connections_per_shard_max: 5, waiters_max: 6, \
                      wait_timeout: 7, timeouts: {connect: 1, read: 2, write: 3, idle: 4}, \
                      health_check: {path: /h, interval: 90, timeout: 80, healthy_threshold: 8, \
                      unhealthy_threshold: 9, expected_status: 204}, \
                      nodes: [{name: a, host: \"::1\", port: 81, max_connections: 11, status: draining}, \
                      {address: \"unix:/run/n.sock\", weight: 12}, {host: off, port: 1, status: disabled}]}]";
        let pool = ("connection_pools.http_pool", "{max_connections: 13, max_requests_per_connection: 14}");
        let mut wish = wished(&[("groups", groups), pool], 1).unwrap();
        let one = wish.groups.remove(0);
        let ms = Duration::from_millis;
        assert_eq!((one.name.as_str(), one.strategy), ("g", link::Strategy::RandomOfTwo));
        assert_eq!((one.connections_per_shard_max, one.waiters_max, one.wait_timeout), (5, 6, ms(7)));
        let timeouts = (one.connect_timeout, one.read_timeout, one.write_timeout, one.idle_timeout);
        assert_eq!(timeouts, (ms(1), ms(2), ms(3), ms(4)));
        assert_eq!((one.connections_max, one.requests_per_connection_max), (13, 14));
        let kind = CheckKind::Http { path: "/h".into(), expected_status: 204 };
        let (interval, timeout) = (ms(90), ms(80));
        assert_eq!(
            one.check,
            CheckPlan { kind, interval, timeout, healthy_threshold: 8, unhealthy_threshold: 9 }
        );
        let [a, file, off] = &one.nodes[..] else { panic!("three nodes") };
        assert_eq!((a.name.as_str(), a.at.clone()), ("a", NodeAt::Inet("[::1]:81".parse().unwrap())));
        assert_eq!((a.connections_max, a.status), (11, Some(link::NodeStatus::Drain)));
        assert_eq!((file.at.clone(), file.weight), (NodeAt::Unix("/run/n.sock".into()), 12));
        assert_eq!((file.status, off.status), (Some(link::NodeStatus::Active), None));
    }

    #[test]
    fn a_group_that_says_nothing_takes_the_defaults_of_the_cluster() {
        let sets = [
            TWO_NODES,
            ("resilience.timeouts", "{connect: 1, read: 2, write: 3, idle: 40}"),
            ("connection_pools.http_pool.keep_alive", "30"),
            ("load_balancer.health_check", "{path: /lb, interval: 90, timeout: 80, expected_status: 204}"),
        ];
        let one = wished(&sets, 1).unwrap().groups.remove(0);
        let ms = Duration::from_millis;
        // The smaller of `timeouts.idle` and the pool's `keep_alive`.
        let timeouts = (one.connect_timeout, one.read_timeout, one.write_timeout, one.idle_timeout);
        assert_eq!(timeouts, (ms(1), ms(2), ms(3), ms(30)));
        assert_eq!((one.check.interval, one.check.timeout), (ms(90), ms(80)));
        assert!(matches!(&one.check.kind, CheckKind::Http { path, expected_status: 204 } if path == "/lb"));
    }

    #[test]
    fn a_stop_takes_its_times_from_the_file() {
        let sets =
            [TWO_NODES, ("runtime.drain.grace", "3s"), ("load_balancer.graceful_shutdown.timeout", "7s")];
        let drain = wished(&sets, 1).unwrap().drain;
        assert_eq!((drain.grace, drain.limit), (Duration::from_secs(3), Duration::from_secs(7)));
    }

    #[test]
    fn a_stop_that_does_not_drain_cuts_at_once() {
        let wish =
            wished(&[TWO_NODES, ("load_balancer.graceful_shutdown.drain_connections", "false")], 1).unwrap();
        assert_eq!(wish.drain.limit, Duration::ZERO);
    }

    #[test]
    fn a_log_that_is_off_is_off_for_every_route() {
        let on = |value| {
            wished(&[TWO_NODES, ("runtime.access_log.enabled", value)], 1).unwrap().routes[0].access_log
        };
        assert!(on("true") && !on("false"));
    }

    #[test]
    fn origins_mean_what_the_configuration_says() {
        let patterns = [
            "*",
            "https://a.b",
            "https://*.a.b:8443",
            "http://localhost:*",
            "http://[::1]:80",
            "https://*:*",
        ];
        let origins = [
            "null",
            "https://a.b",
            "http://a.b",
            "https://a.b:8443",
            "https://x.a.b:8443",
            "https://x.a.b",
            "http://localhost",
            "http://localhost:5173",
            "http://localhost:x",
            "http://localhost.evil.org:80",
            "http://[::1]:80",
            "http://[::1]",
        ];
        let mut fitting = 0;
        for (text, one) in patterns.iter().flat_map(|text| origins.map(|one| (text, one))) {
            let pattern: values::OriginPattern = text.parse().unwrap();
            assert_eq!(origin(&pattern).matches(one), pattern.matches(one), "{text} {one}");
            fitting += usize::from(pattern.matches(one));
        }
        assert_eq!(fitting, 21);
    }

    fn route_with(keys: &str) -> link::Route {
        let route = format!("[{{name: r, to: [{{group: cluster, weight: 1}}], {keys}}}]");
        wished(&[TWO_NODES, ("routes", &route)], 1).unwrap().routes.remove(0)
    }

    #[test]
    fn a_route_asks_for_headers_or_their_absence() {
        let route = route_with(
            "match: {headers: [{name: X-A, exact: one}, {name: x-b, prefix: o}, {name: x-c}, {name: x-d, present: false}]}",
        );
        let asked: Vec<_> = route.headers.iter().map(|one| (one.name.as_str(), one.value.clone())).collect();
        use link::ValueMatch::{Absent, Exact, Prefix, Present};
        let expected =
            [("x-a", Exact("one".into())), ("x-b", Prefix("o".into())), ("x-c", Present), ("x-d", Absent)];
        assert_eq!(asked, expected);
    }

    #[test]
    fn every_key_of_a_route_reaches_the_shards() {
        let routes = "[{name: r, match: {hosts: [a.b, \"*.c.d\"], path: {exact: /x}, methods: [GET, DELETE]}, \
                      to: [{group: one, weight: 3}, {group: two, weight: 0}, {group: two, weight: 1}], \
                      rewrite: {host: in.example}, cors: {origins: [\"https://a.b\"], methods: [GET, POST], headers: [x-a, x-b], \
                      expose_headers: [x-c], credentials: true, max_age: 60s}, \
                      allowed_origins: [\"https://c.d\"]}, \
                      {name: s, match: {path: {prefix: /p}}, to: [{group: two, weight: 1}], \
                      rewrite: {host: keep, path_prefix: /q, \
                      request_headers: {set: {x-s: \"1\"}, add: {x-t: \"2\"}, remove: [X-U]}, \
                      response_headers: {set: {x-v: \"3\"}, add: {x-w: \"4\"}, remove: [X-X]}}}]";
        let groups = "[{name: one, nodes: [{host: a, port: 1}]}, {name: two, nodes: [{host: b, port: 1}]}]";
        let identity = ("runtime.identity", "{via: edge, request_id_header: X-Trace}");
        let wish = wished(&[("groups", groups), ("routes", routes), identity], 1).unwrap();
        assert_eq!(
            (wish.identity.via.as_str(), wish.identity.request_id_header.as_str()),
            ("edge", "X-Trace")
        );
        let [first, second] = &wish.routes[..] else { panic!("two routes") };
        use link::HostPattern::{Exact, Suffix};
        assert_eq!((first.name.as_str(), &first.path), ("r", &link::PathMatch::Exact("/x".into())));
        assert_eq!(first.hosts, [Exact("a.b".into()), Suffix(".c.d".into())]);
        assert_eq!(first.methods, [Method::Get, Method::Delete]);
        let targets: Vec<_> = first.targets.iter().map(|target| (target.group.0, target.weight)).collect();
        assert_eq!(targets, [(0, 3), (1, 1)], "a weight of 0 gets nothing");
        assert_eq!(first.host, link::HostPolicy::Literal("in.example".into()));
        let cors = first.cors.as_ref().unwrap();
        assert_eq!((cors.methods.as_str(), cors.headers.as_str()), ("GET, POST", "x-a, x-b"));
        assert_eq!(
            (cors.expose_headers.as_str(), cors.credentials, cors.max_age.as_secs()),
            ("x-c", true, 60)
        );
        let allowed = |origin: &str| first.allowed_origins.iter().any(|pattern| pattern.matches(origin));
        assert!(allowed("https://a.b") && allowed("https://c.d") && !allowed("http://localhost"));
        assert_eq!(
            (&second.path, &second.host),
            (&link::PathMatch::Prefix("/p".into()), &link::HostPolicy::Keep)
        );
        assert_eq!(second.path_prefix.as_deref(), Some("/q"));
        let edits = |remove: &str, set: [&str; 2], add: [&str; 2]| link::HeaderEdits {
            remove: vec![remove.into()],
            set: vec![(set[0].into(), set[1].into())],
            add: vec![(add[0].into(), add[1].into())],
        };
        assert_eq!(second.request_headers, edits("x-u", ["x-s", "1"], ["x-t", "2"]));
        assert_eq!(second.response_headers, edits("x-x", ["x-v", "3"], ["x-w", "4"]));
    }

    #[test]
    fn a_route_overrides_timeouts_and_narrows_bodies() {
        let route = route_with("timeouts: {read: 7, write: 2s}, body_bytes_max: 1KiB");
        let ms = Duration::from_millis;
        assert_eq!((route.read_timeout, route.write_timeout), (Some(ms(7)), Some(ms(2000))));
        assert_eq!((route.body_bytes_max, route_with("body_bytes_max: 0").body_bytes_max), (1024, u64::MAX));
        let bare = route_with("access_log: false");
        assert_eq!((bare.read_timeout, bare.write_timeout, bare.body_bytes_max), (None, None, u64::MAX));
        assert!(!bare.access_log);
        let limits = "[{name: main, address: \"127.0.0.1:1\", limits: {body_bytes_max: 5}}]";
        assert_eq!(wished(&[TWO_NODES, ("listeners", limits)], 1).unwrap().listeners[0].body_bytes_max, 5);
    }
}
