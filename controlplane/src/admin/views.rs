//! What the admin API shows, as JSON. Reads; changes nothing.

use std::time::SystemTime;

use erlmcp_dataplane::link::snapshot::NodeStatus;
use erlmcp_dataplane::link::{EndpointPage, ShardPage};
use erlmcp_dataplane::{Explanation, link::pages::Counter};
use serde_json::{Value, json};

use crate::control::{Control, Phase};
use crate::desired::{GroupPlan, NodePlan};
use crate::endpoints::{self, EndpointKey};

/// The whole in a page.
pub fn status(control: &Control) -> Value {
    let (boot, snapshot) = (&control.boot, control.publisher.snapshot());
    let pages = control.plane().map(|plane| plane.pages().to_vec()).unwrap_or_default();
    let sum = |of: fn(&ShardPage) -> &Counter| pages.iter().map(|page| of(page).get()).sum::<u64>();
    let shards: Vec<_> = pages
        .iter()
        .zip(&boot.cpus)
        .enumerate()
        .map(|(shard, (page, cpu))| {
            json!({
                "shard": shard, "cpu": cpu, "load": page.load.get(), "requests": page.requests.get(),
                "revision": page.revision.get(), "draining": page.draining.get() == 1,
            })
        })
        .collect();
    let listeners: Vec<_> = boot
        .listeners
        .iter()
        .enumerate()
        .map(|(index, (name, address))| {
            let open: u64 =
                pages.iter().filter_map(|page| page.listeners.get(index)).map(|page| page.open.get()).sum();
            json!({ "name": name, "address": address, "connections": open })
        })
        .collect();
    let tasks: Vec<_> = control
        .supervisor
        .report()
        .into_iter()
        .map(|task| json!({ "task": task.name, "up": task.up, "restarts": task.restarts }))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": boot.started.elapsed().unwrap_or_default().as_secs(),
        "phase": if *control.phase.borrow() == Phase::Serving { "serving" } else { "draining" },
        "ready": snapshot.ready,
        "started": snapshot.started,
        "revision": snapshot.revision,
        "driver": boot.chosen.kind.to_string(),
        "driver_fallback": boot.chosen.fallback.as_ref().map(ToString::to_string),
        "listeners": listeners,
        "admin": boot.admin,
        "socket": boot.socket,
        "config": boot.origin.source.dir,
        "shards": shards,
        "housekeeping_cpus": boot.housekeeping,
        "requests": sum(|page| &page.requests),
        "streams": sum(|page| &page.streams),
        "requests_per_second": control.rates.per_second(),
        "tasks": tasks,
    })
}

/// Every node with its endpoints.
pub fn nodes(control: &Control) -> Value {
    let desired = control.desired.borrow().clone();
    desired
        .groups
        .iter()
        .flat_map(|group| group.nodes.iter().map(move |node| (group, node)))
        .map(|(group, node)| node_view(control, group, node))
        .collect()
}

/// Names of all nodes, once each.
pub fn node_names(control: &Control) -> Vec<String> {
    let desired = control.desired.borrow();
    let mut names: Vec<_> =
        desired.groups.iter().flat_map(|group| &group.nodes).map(|node| node.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A state as commands and files spell it.
pub fn status_word(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Active => "active",
        NodeStatus::Drain => "draining",
        NodeStatus::Standby => "backup",
    }
}

fn node_view(control: &Control, group: &GroupPlan, node: &NodePlan) -> Value {
    let addresses = control.addresses.borrow().clone();
    let said = control.operator.borrow().get(&node.name).copied();
    let status = node.status.map(|status| said.unwrap_or(status));
    let endpoints: Vec<_> = endpoints::addresses_of(node, &addresses)
        .into_iter()
        .map(|address| EndpointKey { group: group.name.clone(), node: node.name.clone(), address })
        .map(|key| endpoint_view(control, &key))
        .collect();
    let fit =
        status == Some(NodeStatus::Active) && endpoints.iter().any(|endpoint| endpoint["health"] != "down");
    json!({
        "group": group.name,
        "node": node.name,
        "at": node.at.to_string(),
        "status": status.map_or("disabled", status_word),
        "fit": fit,
        "weight": node.weight,
        "resolution_error": node.at.host().and_then(|host| addresses.get(host)?.error.clone()),
        "endpoints": endpoints,
    })
}

fn endpoint_view(control: &Control, key: &EndpointKey) -> Value {
    let health = control.health.get(key);
    let snapshot = control.publisher.snapshot();
    let id = snapshot
        .groups
        .iter()
        .filter(|group| group.name == key.group)
        .flat_map(|group| &group.endpoints)
        .find(|endpoint| endpoint.name == key.node && endpoint.address == key.address)
        .map(|endpoint| endpoint.id);
    let sum = |of: fn(&EndpointPage) -> &Counter| -> u64 {
        let (Some(id), Some(plane)) = (id, control.plane()) else { return 0 };
        plane.pages().iter().map(|page| of(page.endpoint(id)).get()).sum()
    };
    json!({
        "address": key.address.to_string(),
        "health": health.status.as_str(),
        "health_error": health.error,
        "health_since_unix": unix_seconds(health.since),
        "check_milliseconds": health.took.as_secs_f64() * 1000.0,
        "active": sum(|page| &page.active),
        "connections": sum(|page| &page.connections),
        "idle": sum(|page| &page.idle),
        "waiting": sum(|page| &page.waiting),
        "requests": sum(|page| &page.requests),
        "failures": sum(|page| &page.failures),
        "retries": sum(|page| &page.retries),
    })
}

/// Seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What became of a request, told.
pub fn explanation(told: &Explanation) -> Value {
    let targets: Vec<_> = told
        .targets
        .iter()
        .map(|target| {
            let nodes: Vec<_> = target
                .nodes
                .iter()
                .map(|node| {
                    json!({
                        "node": node.name, "address": node.address, "healthy": node.healthy,
                        "status": status_word(node.status), "active": node.active, "fit": node.fit,
                    })
                })
                .collect();
            json!({ "group": target.group, "share": target.share, "strategy": target.strategy, "nodes": nodes })
        })
        .collect();
    let tried: Vec<_> =
        told.tried.iter().map(|(route, failed)| json!({ "route": route, "failed": failed })).collect();
    json!({ "route": told.route, "why": told.why, "host": told.host, "tried": tried, "targets": targets })
}
