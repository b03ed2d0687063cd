//! Why a request goes where it goes: the pipeline's decisions told in words. Pure; reads a snapshot and the pages.

use std::sync::Arc;

use erlmcp_proto::http1::Method;

use crate::link::ShardPage;
use crate::link::ids::EndpointId;
use crate::link::snapshot::{Group, HostPolicy, NodeStatus, Route, Snapshot};
use crate::route::{RouteInput, mismatch};

/// A request to explain.
#[derive(Debug, Clone, Default)]
pub struct ExplainRequest {
    /// `Host`.
    pub host: String,
    /// Path, with or without a query.
    pub path: String,
    /// Method.
    pub method: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
}

/// What would become of it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The route that takes it, if one does.
    pub route: Option<String>,
    /// Each route in the order tried: its name, and the first condition that failed or `None` where it matched.
    pub tried: Vec<(String, Option<&'static str>)>,
    /// The groups that share the route's requests.
    pub targets: Vec<ExplainedTarget>,
    /// `Host` that the node would see: `upstream`, `keep` or the literal.
    pub host: Option<String>,
    /// In a sentence.
    pub why: String,
}

/// One group that may take it.
#[derive(Debug, Clone)]
pub struct ExplainedTarget {
    /// The group's name.
    pub group: String,
    /// Its share of the route's requests, 0 to 1.
    pub share: f64,
    /// Its strategy.
    pub strategy: String,
    /// Its nodes, the one that least load would pick first.
    pub nodes: Vec<ExplainedNode>,
}

/// One node that may take it.
#[derive(Debug, Clone)]
pub struct ExplainedNode {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether health checks pass.
    pub healthy: bool,
    /// What its operator says.
    pub status: NodeStatus,
    /// Exchanges and streams under way, over all shards.
    pub active: u64,
    /// Whether it takes new requests.
    pub fit: bool,
}

/// Explains a request under this snapshot and these loads.
pub fn explain(snapshot: &Snapshot, pages: &[Arc<ShardPage>], request: &ExplainRequest) -> Explanation {
    let path = request.path.split('?').next().unwrap_or_default();
    let input = RouteInput {
        host: &request.host,
        path,
        method: Method::from_text(&request.method),
        header: |name: &str| {
            let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
            request.headers.iter().find(same).map(|(_, value)| value.as_bytes())
        },
    };
    let mut tried = Vec::new();
    for route in &snapshot.routes {
        let failed = mismatch(route, &input);
        tried.push((route.name.clone(), failed));
        if failed.is_none() {
            return of_route(snapshot, pages, route, tried);
        }
    }
    let why = format!(
        "none of {} routes matches {} {path}: the client gets 404 no_route",
        tried.len(),
        request.host
    );
    Explanation { route: None, tried, targets: Vec::new(), host: None, why }
}

fn of_route(
    snapshot: &Snapshot,
    pages: &[Arc<ShardPage>],
    route: &Route,
    tried: Vec<(String, Option<&'static str>)>,
) -> Explanation {
    let total: u64 = route.targets.iter().map(|target| u64::from(target.weight)).sum();
    let targets: Vec<_> = route
        .targets
        .iter()
        .filter_map(|target| {
            let group = snapshot.groups.get(usize::from(target.group.0))?;
            Some(of_group(group, pages, f64::from(target.weight) / total.max(1) as f64))
        })
        .collect();
    let fit = targets.iter().flat_map(|target| &target.nodes).filter(|node| node.fit).count();
    let why = match fit {
        0 => format!("route {} matches, but no node of its groups is fit: 503 no_healthy_node", route.name),
        1 => format!("route {} is the first that matches; its one fit node gets the request", route.name),
        _ => format!("route {} is the first that matches; {fit} fit nodes share its requests", route.name),
    };
    let host = Some(match &route.host {
        HostPolicy::Upstream => "upstream".to_owned(),
        HostPolicy::Keep => "keep".to_owned(),
        HostPolicy::Literal(host) => host.clone(),
    });
    Explanation { route: Some(route.name.clone()), tried, targets, host, why }
}

fn of_group(group: &Group, pages: &[Arc<ShardPage>], share: f64) -> ExplainedTarget {
    let active = |id: EndpointId| pages.iter().map(|page| page.endpoint(id).active.get()).sum();
    let mut nodes: Vec<_> = group
        .endpoints
        .iter()
        .map(|one| {
            let node = ExplainedNode {
                name: one.name.clone(),
                address: one.address.to_string(),
                healthy: one.healthy,
                status: one.status,
                active: active(one.id),
                fit: one.is_fit(),
            };
            // Load per weight, scaled so that integers rank it.
            ((!node.fit, (node.active + 1) * 1_000_000 / u64::from(one.weight.max(1))), node)
        })
        .collect();
    nodes.sort_by_key(|(rank, _)| *rank);
    ExplainedTarget {
        group: group.name.clone(),
        share,
        strategy: group.strategy.word().to_owned(),
        nodes: nodes.into_iter().map(|(_, node)| node).collect(),
    }
}
