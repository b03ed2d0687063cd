//! HTTP/1.1 under the node: accepts, bounds and routes; everything MCP is the SDK's service.
//!
//! Never parses a body, never looks into a message. Invariants: [`Limits`] hold; every
//! stream and session ends with the node.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use ::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    HEALTH_PATH, MCP_PATH,
    server::{Node, Shared},
};

/// What one node takes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections; who comes above it waits in the listener's backlog.
    pub(super) connections_max: usize,
    /// Sessions of the older era; each costs two tasks and its channels. Who comes above it gets a 503.
    pub(super) sessions_max: usize,
    /// A session that nobody used for this long is closed.
    pub(super) session_idle_max: Duration,
}

impl Limits {
    /// The gateway's pool is far below 1024 connections, the rest is for clients that come directly; half an hour,
    /// since a person's client may sit idle over lunch.
    pub(super) const DEFAULT: Self =
        Self { connections_max: 1024, sessions_max: 1024, session_idle_max: Duration::from_secs(30 * 60) };
}

/// How long a kept-alive connection may wait for its next head: above the usual pool's idle time, so that the pool
/// and not the node closes first.
const NEXT_HEAD_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long connections may take to end once asked to.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a request's body may take, and how large it may be: what a client sends is a message, not a stream.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);
/// See [`BODY_WAIT_MAX`].
const BODY_BYTES_MAX: usize = 4 << 20;
/// Pause after a failed accept (usually: out of descriptors), so that the loop does not spin.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(50);
/// Comment lines keep quiet streams alive through proxies.
const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// First revision that is stateless; versions are dates and compare as text.
const FIRST_STATELESS_VERSION: &str = "2026-07-28";

type Body = BoxBody<Bytes, Infallible>;
type Mcp = StreamableHttpService<Node, LocalSessionManager>;

/// What every connection needs.
#[derive(Clone)]
struct App {
    mcp: Mcp,
    sessions: Arc<LocalSessionManager>,
    limits: Limits,
}

pub(super) async fn serve(
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let stop = CancellationToken::new();
    let app = App::new(stop.clone(), limits)?;
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(connection(stream, app.clone(), stop.clone(), permit));
            }
        }
    }
    drop(listener);
    stop.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_WAIT_MAX, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "embedded node closes connections that did not end in time");
        connections.shutdown().await;
    }
    Ok(())
}

/// The next connection together with its place among [`Limits::connections_max`]; cancel-safe.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so a permit always comes.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "embedded node could not accept a connection; trying again");
                tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    app: App,
    stop: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
) {
    // Small events must leave at once; a failure costs latency only.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "embedded node could not set TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.handle(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_WAIT_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "embedded node's connection ended early");
    }
}

impl App {
    fn new(stop: CancellationToken, limits: Limits) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(stop.clone(), limits.sessions_max)?);
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(limits.session_idle_max);
        let sessions = Arc::new(manager);
        let mut config = StreamableHttpServerConfig::default().with_allowed_origins([
            "http://localhost:*",
            "http://127.0.0.1:*",
            "http://[::1]:*",
        ]);
        config.sse_keep_alive = Some(STREAM_KEEP_ALIVE);
        config.cancellation_token = stop;
        let mcp = StreamableHttpService::new(
            move || Ok(Node::new(Arc::clone(&shared))),
            Arc::clone(&sessions),
            config,
        );
        Ok(Self { mcp, sessions, limits })
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            MCP_PATH if self.is_full_for(&request).await => {
                let mut response = plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many sessions on this node; try again later\n",
                );
                response.headers_mut().insert(header::RETRY_AFTER, ::http::HeaderValue::from_static("5"));
                response
            }
            MCP_PATH => match whole(request).await {
                Ok(request) => self.mcp.handle(request).await,
                Err(refusal) => refusal,
            },
            HEALTH_PATH => plain(StatusCode::OK, "ok\n"),
            _ => plain(StatusCode::NOT_FOUND, "not found; the MCP endpoint is /mcp\n"),
        }
    }

    /// Whether `request` would open a session that has no room. For a plain answer only: what bounds the sessions is
    /// the place that each takes when it is initialized.
    async fn is_full_for(&self, request: &Request<Incoming>) -> bool {
        request.method() == Method::POST
            && may_open_session(request.headers())
            && self.sessions.sessions.read().await.len() >= self.limits.sessions_max
    }
}

/// The request with its body read, or the answer to one that is too large, too slow or cut off.
async fn whole(request: Request<Incoming>) -> Result<Request<Full<Bytes>>, Response<Body>> {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_WAIT_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Full::new(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "a message may have 4 MiB\n"))
        }
        Ok(Err(_)) => Err(plain(StatusCode::BAD_REQUEST, "the body ended early\n")),
        Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    }
}

/// A request without a session id and not of the stateless era is an `initialize`, or wrong.
fn may_open_session(headers: &HeaderMap) -> bool {
    let is_stateless = headers
        .get("mcp-protocol-version")
        .is_some_and(|version| version.as_bytes() >= FIRST_STATELESS_VERSION.as_bytes());
    !is_stateless && !headers.contains_key("mcp-session-id")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, ::http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_of_the_older_era_without_a_session_open_one() {
        let mut headers = HeaderMap::new();
        assert!(may_open_session(&headers));
        headers.insert("mcp-protocol-version", "2025-11-25".parse().unwrap());
        assert!(may_open_session(&headers));
        headers.insert("mcp-session-id", "x".parse().unwrap());
        assert!(!may_open_session(&headers));
        headers.remove("mcp-session-id");
        headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
        assert!(!may_open_session(&headers));
    }
}
