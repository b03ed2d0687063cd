//! The API's paths.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use erlmcp_dataplane::ExplainRequest;
use erlmcp_dataplane::link::snapshot::NodeStatus;
use serde::Deserialize;
use serde_json::json;

use crate::control::{Control, NoSuchNode};
use crate::{metrics, reload};

use super::{Peer, auth, page, views};

/// Content type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Shared = State<Arc<Control>>;

/// The router; a request's peer stands in its extensions.
pub(super) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/api/status", get(async |State(control): Shared| Json(views::status(&control))))
        .route("/api/nodes", get(async |State(control): Shared| Json(views::nodes(&control))))
        .route("/api/config", get(config))
        .route("/api/explain", get(explain))
        .route("/api/nodes/{name}/{action}", post(act_on_node))
        .route("/api/reload", post(take_configuration))
        .route("/api/drain", post(drain))
        .route("/debug/panic", post(make_panic))
        .fallback(metrics_or_nothing)
        .layer(from_fn_with_state(Arc::clone(&control), guard))
        .with_state(control)
}

async fn guard(
    State(control): Shared,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let config = control.config.borrow().clone();
    let own_user = rustix::process::geteuid().as_raw();
    match auth::check(
        peer,
        request.method(),
        request.headers(),
        config.listeners.admin.token.as_ref(),
        own_user,
    ) {
        Ok(()) => next.run(request).await,
        Err(denied) => error(denied.status, denied.why),
    }
}

fn error(status: StatusCode, what: impl Into<String>) -> Response {
    (status, Json(json!({ "error": what.into() }))).into_response()
}

async fn home(State(control): Shared) -> Html<String> {
    Html(page::render(&views::status(&control), &views::nodes(&control)))
}

/// The metrics stand where the configuration says, which may change.
async fn metrics_or_nothing(State(control): Shared, method: Method, uri: Uri) -> Response {
    let prometheus = control.config.borrow().monitoring.metrics.export.prometheus.clone();
    if method == Method::GET && prometheus.enabled && uri.path() == prometheus.path {
        return ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render(&control)).into_response();
    }
    error(
        StatusCode::NOT_FOUND,
        "no such page; see /, /api/status, /api/nodes, /api/config, /api/explain, /metrics",
    )
}

async fn config(State(control): Shared) -> Json<serde_json::Value> {
    let config = control.config.borrow().clone();
    Json(erlmcp_config::show_json(&config))
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    host: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default = "get_method")]
    method: String,
    /// `name: value` lines.
    #[serde(default)]
    headers: String,
}

fn root() -> String {
    "/".to_owned()
}

fn get_method() -> String {
    "GET".to_owned()
}

async fn explain(State(control): Shared, Query(question): Query<Question>) -> Response {
    let header = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let request = ExplainRequest {
        host: question.host,
        path: question.path,
        method: question.method,
        headers: question.headers.lines().filter_map(header).collect(),
    };
    match control.plane() {
        Some(plane) => {
            let told = erlmcp_dataplane::explain(&control.publisher.snapshot(), plane.pages(), &request);
            Json(views::explanation(&told)).into_response()
        }
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the data plane does not run yet"),
    }
}

async fn act_on_node(State(control): Shared, Path((name, action)): Path<(String, String)>) -> Response {
    let status = match action.as_str() {
        "drain" => NodeStatus::Drain,
        "activate" => NodeStatus::Active,
        _ => {
            return error(StatusCode::NOT_FOUND, format!("no action {action}; there are drain and activate"));
        }
    };
    match control.set_node_status(&name, status) {
        Ok(()) => {
            tracing::info!(node = name, action, "operator's word");
            Json(json!({ "node": name, "status": views::status_word(status) })).into_response()
        }
        Err(NoSuchNode::Disabled) => {
            let what =
                format!("node {name} is disabled in the configuration; change its `status` and reload");
            error(StatusCode::CONFLICT, what)
        }
        Err(NoSuchNode::Unknown) => {
            let known = views::node_names(&control).join(", ");
            error(StatusCode::NOT_FOUND, format!("there is no node {name}; there are: {known}"))
        }
    }
}

async fn take_configuration(State(control): Shared) -> Response {
    // Files are read off the runtime's threads.
    let taken = tokio::task::spawn_blocking(move || reload::reload(&control)).await;
    match taken {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(refused)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refused)).into_response(),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the reload broke off; the log says why"),
    }
}

async fn drain(State(control): Shared) -> Json<serde_json::Value> {
    control.begin_drain();
    Json(json!({ "draining": true }))
}

#[derive(Deserialize)]
struct PanicQuestion {
    task: String,
}

/// For tests: ends a task by a panic. Only over the socket, and only when the process was started for it.
async fn make_panic(
    State(control): Shared,
    Extension(peer): Extension<Peer>,
    Query(question): Query<PanicQuestion>,
) -> Response {
    if !control.boot.test_hooks || !matches!(peer, Peer::Unix(_)) {
        return error(StatusCode::NOT_FOUND, "no such page");
    }
    if control.supervisor.make_panic(&question.task) {
        return Json(json!({ "task": question.task })).into_response();
    }
    error(StatusCode::NOT_FOUND, format!("there is no task {}", question.task))
}
