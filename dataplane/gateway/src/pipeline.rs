//! The first half of the pipeline: from a request's head to a node picked, in one pass without waiting.
//!
//! The order, top to bottom, as [`begin`] shows it: parse → limits → probes → route → origin → preflight →
//! body size → group and node → head for the node. The second half is [`exchange::run`](crate::exchange::run).

use std::ops::Range;

use erlmcp_proto::http1::{Framing, HeaderSlots, Method, Request, parse_request};
use erlmcp_proto::jsonrpc::{self, mcp};
use erlmcp_ring::SendList;

use crate::body::{Encoding, Keep};
use crate::cors;
use crate::downstream::http1::{Http1, Terms};
use crate::exchange::{Forward, Outgoing, Plan};
use crate::link::ids::{EndpointId, GroupIndex, NO_ROUTE, RouteIndex};
use crate::link::reason::Reason;
use crate::link::snapshot::{Endpoint, ListenerLimits, Route};
use crate::note::Texts;
use crate::own_reply::{self, Probe};
use crate::request_head;
use crate::request_id;
use crate::route::{self, RouteInput};
use crate::state::{Shared, SnapshotRef};
use crate::upstream::balance::{self, Tried};

/// Bodies up to this length are gathered before a node's connection is taken; longer ones stream.
const GATHERED_BYTES_MAX: u64 = 64 * 1024;

/// What becomes of a request.
pub(crate) enum Begun {
    /// A node is to answer it.
    Forward(Forward),
    /// The gateway has written its answer; it is to be sent.
    Answer,
    /// It is refused.
    Refuse(Reason),
}

/// Takes the request whose head has come. `None` when it has not come whole.
pub(crate) fn begin(state: &Shared, http1: &mut Http1) -> Option<Begun> {
    let snapshot = state.snapshot();
    let limits = &snapshot.listeners[usize::from(http1.listener.0)];
    let mut slots = HeaderSlots::new();
    let parsed = parse_request(http1.inbound.bytes(), &mut slots, &limits.head);
    let request = match &parsed {
        Ok(request) => Ok(request.as_ref()?),
        Err(error) => Err(*error),
    };
    state.page.requests.add(1);
    http1.note.begin(state.ring.now(), snapshot.revision);
    http1.served += 1;
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            http1.keep_alive = false;
            return Some(Begun::Refuse(Reason::BadRequest(error)));
        }
    };
    let is_last =
        limits.requests_per_connection_max != 0 && http1.served >= limits.requests_per_connection_max;
    let id = request_id::of(request.headers.get(&snapshot.identity.request_id_header), || state.ring.rng());
    let id = id.as_str();
    let body = &http1.inbound.bytes()[request.head_len..];
    let rpc_method = rpc_method(request, body);
    if let Some(method) = rpc_method {
        state.page.methods[method.index()].add(1);
    }
    let origin = request.headers.get("origin").and_then(|value| str::from_utf8(value).ok());
    http1.note.keep(&Texts {
        request_id: id,
        method: request.method_text,
        path: request.target.text,
        host: request.host.unwrap_or_default(),
        origin: origin.unwrap_or_default(),
        rpc_method,
    });
    let subject = Subject { snapshot: &snapshot, limits, request, id, client: http1.peer };
    let decision = decide(state, &subject);
    let body_bytes_max = decision.body_bytes_max(&subject);
    let terms = Terms::of(request, request.keep_alive && !is_last, body_bytes_max);
    let (head_len, expects) = (request.head_len, request.expect_continue);
    let about = About { method: request.method, framing: request.framing, expects };
    http1.begin(head_len, &terms);
    Some(act(state, http1, decision, snapshot, &about))
}

/// A request and what it is judged by.
struct Subject<'a> {
    snapshot: &'a SnapshotRef,
    limits: &'a ListenerLimits,
    request: &'a Request<'a>,
    id: &'a str,
    client: Option<std::net::IpAddr>,
}

/// What is still to be known of a request when its head is gone.
struct About {
    method: Method,
    framing: Framing,
    expects: bool,
}

/// What was decided while the head was at hand.
enum Decision {
    /// With the route that matched, or [`NO_ROUTE`].
    Refuse(RouteIndex, Reason),
    Probe(Probe),
    /// The head of a preflight's answer.
    Preflight(RouteIndex, Vec<u8>),
    Forward {
        route: RouteIndex,
        group: GroupIndex,
        endpoint: EndpointId,
        first: SendList,
        host_value: Range<u32>,
    },
}

impl Decision {
    fn body_bytes_max(&self, subject: &Subject<'_>) -> u64 {
        match self {
            Self::Forward { route, .. } => {
                body_bytes_max(subject, &subject.snapshot.routes[usize::from(route.0)])
            }
            _ => u64::MAX,
        }
    }
}

/// The smaller of what the listener and the route allow.
fn body_bytes_max(subject: &Subject<'_>, route: &Route) -> u64 {
    subject.limits.body_bytes_max.min(route.body_bytes_max)
}

/// The pipeline's order.
fn decide(state: &Shared, subject: &Subject<'_>) -> Decision {
    let request = subject.request;
    if request.target.has_dot_segments() {
        return Decision::Refuse(NO_ROUTE, Reason::DotSegments);
    }
    if let Some(probe) = Probe::of(request.target.path).filter(|_| request.method.is_safe()) {
        return Decision::Probe(probe);
    }
    let input = RouteInput {
        host: request.host.unwrap_or_default(),
        path: request.target.path,
        method: request.method,
        header: |name: &str| request.headers.get(name),
    };
    let Some((index, route)) = route::find(subject.snapshot, &input) else {
        return Decision::Refuse(NO_ROUTE, Reason::NoRoute);
    };
    if let Some(refusal) = check_origin(route, request) {
        return Decision::Refuse(index, refusal);
    }
    if let Some(head) = preflight(route, request) {
        return Decision::Preflight(index, head);
    }
    if matches!(request.framing, Framing::Length(length) if length > body_bytes_max(subject, route)) {
        return Decision::Refuse(index, Reason::BodyTooLarge);
    }
    let group = choose_group(state, route);
    match balance::pick(state, &subject.snapshot.groups[usize::from(group.0)], &Tried::default()) {
        Some(endpoint) => address(state, subject, index, group, endpoint),
        None => Decision::Refuse(index, Reason::NoHealthyNode),
    }
}

/// A browser's page may only call where its origin is on the list; others send no `Origin`.
fn check_origin(route: &Route, request: &Request<'_>) -> Option<Reason> {
    if route.allowed_origins.is_empty() {
        return None;
    }
    let origin = request.headers.get("origin")?;
    let allowed = str::from_utf8(origin).is_ok_and(|origin| cors::is_allowed(&route.allowed_origins, origin));
    (!allowed).then_some(Reason::OriginForbidden)
}

fn preflight(route: &Route, request: &Request<'_>) -> Option<Vec<u8>> {
    let cors = route.cors.as_ref().filter(|_| request.method == Method::Options)?;
    let origin = str::from_utf8(request.headers.get("origin")?).ok()?;
    request.headers.get("access-control-request-method")?;
    let mut head = Vec::with_capacity(256);
    let asked = request.headers.get("access-control-request-headers");
    own_reply::write_preflight(cors, origin, asked, &mut head);
    Some(head)
}

fn choose_group(state: &Shared, route: &Route) -> GroupIndex {
    let Some((first, rest)) = route.targets.split_first() else { return GroupIndex(0) };
    if rest.is_empty() {
        return first.group;
    }
    let total: u64 = route.targets.iter().map(|target| u64::from(target.weight)).sum();
    let mut at = state.ring.rng() % total.max(1);
    for target in &route.targets {
        match at.checked_sub(u64::from(target.weight)) {
            None => return target.group,
            Some(left) => at = left,
        }
    }
    first.group
}

/// Writes the head for the node.
fn address(
    state: &Shared,
    subject: &Subject<'_>,
    index: RouteIndex,
    group: GroupIndex,
    endpoint: &Endpoint,
) -> Decision {
    let context = request_head::Context {
        snapshot: subject.snapshot,
        route: &subject.snapshot.routes[usize::from(index.0)],
        endpoint,
        client: subject.client,
        trusted: request_head::is_trusted(&subject.limits.trusted_proxies, subject.client),
        request_id: subject.id,
    };
    let mut first = state.ring.send_list();
    let host_value = request_head::write(subject.request, &context, first.head_mut());
    Decision::Forward { route: index, group, endpoint: endpoint.id, first, host_value }
}

/// Carries a decision out, the request's head being off the buffer.
fn act(state: &Shared, http1: &mut Http1, decision: Decision, snapshot: SnapshotRef, about: &About) -> Begun {
    match decision {
        Decision::Refuse(route, reason) => {
            take_route(http1, route, &snapshot);
            Begun::Refuse(reason)
        }
        Decision::Probe(probe) => {
            http1.answer_probe(probe, &snapshot, state.is_draining(), about.method == Method::Head);
            http1.note.logged = false;
            Begun::Answer
        }
        Decision::Preflight(route, head) => {
            take_route(http1, route, &snapshot);
            http1.start_own(204, |out| out.extend_from_slice(&head));
            Begun::Answer
        }
        Decision::Forward { route, group, endpoint, mut first, host_value } => {
            take_route(http1, route, &snapshot);
            let encoding = Encoding::of(about.framing, true);
            if let Err(reason) = http1.body_at_hand(encoding, Keep::Copies, &mut first) {
                return Begun::Refuse(reason);
            }
            let is_body_sent = http1.is_body_done();
            if is_body_sent && about.framing == Framing::Chunked {
                encoding.finish(&[], &mut first);
            }
            if about.expects && !is_body_sent {
                http1.send_continue();
            }
            let method = about.method;
            let is_small_body =
                matches!(about.framing, Framing::Length(length) if length <= GATHERED_BYTES_MAX);
            let plan = Plan { snapshot, route, group, method };
            let request = Outgoing { endpoint, first, host_value, encoding, is_body_sent, is_small_body };
            Begun::Forward(Forward { plan, request })
        }
    }
}

/// Notes the route that a request took, and whether that one is logged.
fn take_route(http1: &mut Http1, route: RouteIndex, snapshot: &SnapshotRef) {
    http1.note.route = route;
    http1.note.logged = snapshot.routes.get(usize::from(route.0)).is_none_or(|route| route.access_log);
}

/// The MCP method of a request that carries JSON-RPC, where it can be told at once: by the header that modern
/// clients send, or by a body that is here whole.
fn rpc_method(request: &Request<'_>, body: &[u8]) -> Option<mcp::Method> {
    if request.method != Method::Post {
        return None;
    }
    if let Some(named) = request.headers.get("mcp-method") {
        return Some(mcp::Method::from_bytes(named));
    }
    let Framing::Length(length) = request.framing else { return None };
    let body = body.get(..usize::try_from(length).ok()?)?;
    let is_json =
        request.headers.get("content-type").is_some_and(|kind| kind.starts_with(b"application/json"));
    if !is_json {
        return None;
    }
    let scan = jsonrpc::scan(body, &jsonrpc::ScanLimits::default()).ok()?;
    Some(mcp::Method::from_bytes(scan.method?.as_plain()?.as_bytes()))
}
