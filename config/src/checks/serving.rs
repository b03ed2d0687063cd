//! Checks of what carries traffic: listeners, routes, groups, the runtime.

use super::{Checks, Size, Span};
use crate::model::listeners::Listener;
use crate::model::routes::{CLUSTER, Group, PathMatch, Route};
use crate::model::runtime::EmbeddedMode;
use crate::values::{Address, ByteLimit, HostRewrite, OriginPattern};

/// The group that the embedded node forms.
const EMBEDDED: &str = "embedded";

/// Headers that frame a message or belong to one connection (RFC 9110 section 7.6.1): only the gateway writes them.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) fn listeners(checks: &mut Checks<'_>) {
    let config = checks.config;
    let all = &config.listeners.listeners;
    checks.filled("listeners", all, "no client could come in");
    let key = |index: usize, name: &str| format!("listeners[{index}].{name}");
    checks.unique(all.iter().enumerate().map(|(i, l)| (key(i, "name"), l.name.clone())), "the name");
    // Port 0 is another port each time.
    let fixed = |address: &Address| !matches!(address, Address::Tcp(tcp) if tcp.port() == 0);
    let admin = ("admin.address".to_owned(), config.listeners.admin.address.clone());
    let addresses = all.iter().enumerate().map(|(i, l)| (key(i, "address"), l.address.clone()));
    let addresses = addresses.chain([admin]).filter(|(_, address)| fixed(address));
    checks.unique(addresses.map(|(key, address)| (key, address.to_string())), "the address");
    for (index, listener) in all.iter().enumerate() {
        limits(checks, &format!("listeners[{index}].limits"), listener);
    }
    admin_exposure(checks);
}

fn limits(checks: &mut Checks<'_>, prefix: &str, listener: &Listener) {
    let limits = &listener.limits;
    let target = ("target_bytes_max", Size(limits.target_bytes_max));
    checks.at_most(
        prefix,
        target,
        ("head_bytes_max", Size(limits.head_bytes_max)),
        "the target is part of the head",
    );
}

fn admin_exposure(checks: &mut Checks<'_>) {
    let admin = &checks.config.listeners.admin;
    let Address::Tcp(address) = &admin.address else { return };
    if admin.token.as_ref().is_some_and(crate::Secret::is_empty) {
        checks.error(
            "admin.token",
            &[],
            ["an empty token", "everyone knows it", "set one, or remove the key"],
        );
    }
    if !address.ip().is_loopback() {
        let what = format!("{address} is reached from other hosts");
        let why = "metrics, status and effective configuration are shown to whoever reaches it";
        checks.warn(
            "admin.address",
            &[],
            [&what, why, "bind it to 127.0.0.1, or let a firewall choose who reaches it"],
        );
    }
}

pub(super) fn routes(checks: &mut Checks<'_>) {
    let routes = &checks.config.routes.routes;
    checks.unique(
        routes.iter().enumerate().map(|(i, route)| (format!("routes[{i}].name"), route.name.clone())),
        "the name",
    );
    for (index, route) in routes.iter().enumerate() {
        let prefix = format!("routes[{index}]");
        targets(checks, &prefix, route);
        rewrites(checks, &prefix, route);
        matches(checks, &prefix, route);
        body(checks, &prefix, route);
        if let Some(cors) = &route.cors {
            checks.filled(&format!("{prefix}.cors.origins"), &cors.origins, "CORS for nobody does nothing");
            if cors.credentials && cors.origins.contains(&OriginPattern::Any) {
                let why = "any page could act as the user who visits it";
                let key = format!("{prefix}.cors.credentials");
                checks.error(&key, &[], ["credentials for every origin", why, "name the origins"]);
            }
        }
        let shadow =
            routes[..index].iter().find(|earlier| takes_all(earlier) || earlier.matches == route.matches);
        if let Some(earlier) = shadow {
            let what = format!("never reached: `{}` before it takes every such request", earlier.name);
            checks.warn(&prefix, &[], [&what, "the first route that matches is taken", "put it further up"]);
        }
    }
}

fn takes_all(route: &Route) -> bool {
    let matches = &route.matches;
    let everywhere = matches.path == PathMatch::Prefix("/".to_owned());
    everywhere && matches.hosts.is_empty() && matches.methods.is_empty() && matches.headers.is_empty()
}

fn targets(checks: &mut Checks<'_>, prefix: &str, route: &Route) {
    checks.filled(&format!("{prefix}.to"), &route.to, "a route must lead somewhere");
    if !route.to.is_empty() && route.to.iter().all(|target| target.weight == 0) {
        let key = format!("{prefix}.to");
        checks.error(&key, &[], ["every weight is 0", "the route leads nowhere", "give one a weight"]);
    }
    let config = checks.config;
    let mut known: Vec<&str> = config.routes.groups.iter().map(|group| group.name.as_str()).collect();
    if known.is_empty() && !config.load_balancer.nodes.is_empty() {
        known.push(CLUSTER);
    }
    let alone = known.is_empty() && config.runtime.embedded.enabled == EmbeddedMode::Auto;
    if alone || config.runtime.embedded.enabled == EmbeddedMode::Always {
        known.push(EMBEDDED);
    }
    for (index, target) in route.to.iter().enumerate() {
        if !known.contains(&target.group.as_str()) {
            let what = format!("there is no group `{}`", target.group);
            let remedy = crate::walk::suggest(&target.group, &known);
            let key = format!("{prefix}.to[{index}].group");
            checks.error(&key, &[], [&what, "its requests could go nowhere", &remedy]);
        }
    }
}

fn rewrites(checks: &mut Checks<'_>, prefix: &str, route: &Route) {
    let rewrite = &route.rewrite;
    if rewrite.path_prefix.is_some() && !matches!(route.matches.path, PathMatch::Prefix(_)) {
        let key = format!("{prefix}.rewrite.path_prefix");
        let why = "it takes the place of the prefix that matched";
        checks.error(&key, &[], ["the route matches no prefix", why, "match by `path: {prefix: ...}`"]);
    }
    for (side, changes) in
        [("request_headers", &rewrite.request_headers), ("response_headers", &rewrite.response_headers)]
    {
        let named =
            changes.set.keys().map(|name| ("set", name)).chain(changes.add.keys().map(|name| ("add", name)));
        for (how, name) in named {
            if FRAMING.contains(&name.to_ascii_lowercase().as_str()) {
                let remedy = if name.eq_ignore_ascii_case("host") { "use rewrite.host" } else { "remove it" };
                let key = format!("{prefix}.rewrite.{side}.{how}.{name}");
                checks.error(
                    &key,
                    &[],
                    ["a header that frames the message", "only the gateway writes it", remedy],
                );
            }
        }
    }
    if rewrite.host == HostRewrite::Keep {
        let why = "SDK servers refuse a host that is not their own";
        checks.note(
            &format!("{prefix}.rewrite.host"),
            ["the upstream sees the client's `Host`", why, "`upstream` works with them"],
        );
    }
}

fn matches(checks: &mut Checks<'_>, prefix: &str, route: &Route) {
    for (index, header) in route.matches.headers.iter().enumerate() {
        let key = format!("{prefix}.match.headers[{index}]");
        let ways = usize::from(header.exact.is_some()) + usize::from(header.prefix.is_some());
        if ways > 1 {
            checks.error(
                &key,
                &[],
                ["`exact` and `prefix` at once", "only one can hold", "keep one of them"],
            );
        } else if ways == 1 && !header.present {
            let what = "a value of a header that must be absent";
            checks.error(&key, &[], [what, "nothing could match", "remove `present: false` or the value"]);
        }
    }
}

fn body(checks: &mut Checks<'_>, prefix: &str, route: &Route) {
    let Some(own) = route.body_bytes_max else { return };
    let bytes = |limit: ByteLimit| limit.get().unwrap_or(u64::MAX);
    let listeners = checks.config.listeners.listeners.iter().map(|one| bytes(one.limits.body_bytes_max));
    let Some(widest) = listeners.max() else { return };
    if bytes(own) > widest {
        let what = format!("no listener lets more than {} in", Size(widest));
        let remedy = "raise listeners[].limits.body_bytes_max, or lower this";
        let why = "the smaller of the listener's limit and the route's holds";
        checks.warn(&format!("{prefix}.body_bytes_max"), &[], [&what, why, remedy]);
    }
}

pub(super) fn groups(checks: &mut Checks<'_>) {
    let groups = &checks.config.routes.groups;
    checks.unique(
        groups.iter().enumerate().map(|(i, group)| (format!("groups[{i}].name"), group.name.clone())),
        "the name",
    );
    for (index, group) in groups.iter().enumerate() {
        let prefix = format!("groups[{index}]");
        checks.filled(&format!("{prefix}.nodes"), &group.nodes, "requests could go nowhere");
        let timeout = ("timeout", Span(group.health_check.timeout));
        let interval = ("interval", Span(group.health_check.interval));
        let why = "a check must be over before the next one";
        checks.below(&format!("{prefix}.health_check"), timeout, interval, why);
        nodes(checks, &prefix, group);
    }
    if !groups.is_empty() && !checks.config.load_balancer.nodes.is_empty() {
        let why = "groups are configured, so they form none";
        let remedy = "move them into a group, or remove `groups`";
        checks.warn("load_balancer.nodes", &[], ["these nodes get no traffic", why, remedy]);
    }
    let config = checks.config;
    let nothing = groups.is_empty() && config.load_balancer.nodes.is_empty();
    if nothing && config.runtime.embedded.enabled == EmbeddedMode::Never {
        let why = "there is no group and no node, and the embedded one is off";
        let remedy = "add groups, load_balancer.nodes, or set it to `auto`";
        checks.error("runtime.embedded.enabled", &[], ["nothing could be served", why, remedy]);
    }
}

fn nodes(checks: &mut Checks<'_>, prefix: &str, group: &Group) {
    for (index, _) in group.nodes.iter().enumerate() {
        let key = format!("{prefix}.nodes[{index}]");
        let given = |name: &str| checks.places.given(&format!("{key}.{name}"));
        let (host, port, address) = (given("host"), given("port"), given("address"));
        let texts = match (host, port, address) {
            (true, true, false) | (false, false, true) => continue,
            (_, _, true) => {
                ["`address` beside `host` or `port`", "only one can hold", "keep `address` or the other two"]
            }
            (true, false, false) => ["a host without port", "there is no port to guess", "add `port`"],
            (false, true, false) => ["a port without host", "there is no host to guess", "add `host`"],
            (false, false, false) => {
                ["no place", "it cannot be reached", "add `host` and `port`, or `address`"]
            }
        };
        checks.error(&key, &[], texts);
    }
    let names = group.nodes.iter().enumerate();
    checks
        .unique(names.map(|(i, node)| (format!("{prefix}.nodes[{i}].name"), node.name.clone())), "the name");
}

pub(super) fn runtime(checks: &mut Checks<'_>) {
    let runtime = &checks.config.runtime;
    let buffers = &runtime.buffers;
    for (name, group) in [("small", &buffers.small), ("large", &buffers.large)] {
        if !group.count.is_power_of_two() {
            let what = format!("{} is no power of two", group.count);
            let remedy = format!("take {}", group.count.next_power_of_two());
            let why = "the kernel's buffer rings have such sizes only";
            checks.error(&format!("runtime.buffers.{name}.count"), &[], [&what, why, &remedy]);
        }
    }
    let (small, large) = (("small.size", Size(buffers.small.size)), ("large.size", Size(buffers.large.size)));
    checks.at_most("runtime.buffers", small, large, "bodies are received into the large ones");
    let (large, window) =
        (("large.size", Size(buffers.large.size)), ("receive_window", Size(buffers.receive_window)));
    checks.at_most("runtime.buffers", large, window, "a connection holds at least one buffer");
    match &runtime.embedded.address {
        Address::Tcp(address) if address.ip().is_loopback() => {}
        other => {
            let what = format!("{other} is no loopback address");
            let why = "the embedded node checks nobody's rights";
            checks.error("runtime.embedded.address", &[], [&what, why, "use 127.0.0.1:0"]);
        }
    }
    let fields = runtime.access_log.fields.iter().enumerate();
    checks.unique(
        fields.map(|(i, field)| (format!("runtime.access_log.fields[{i}]"), format!("{field:?}"))),
        "the field",
    );
    if runtime.access_log.enabled {
        checks.filled("runtime.access_log.fields", &runtime.access_log.fields, "each line would be empty");
    }
}
