//! The embedded MCP node: what answers behind a gateway that was started before no server at all.
//!
//! Owns one small MCP server on the official SDK, served on a loopback listener that the control plane made. It speaks
//! both eras of the protocol: 2025-11-25 and older (sessions, GET stream, DELETE) and 2026-07-28 (stateless). It never
//! sees the gateway's configuration, and the gateway treats it as it treats any other upstream.
//!
//! The tools, resources and prompts are those that the official conformance suite asks of a server, plus a few
//! (`node_info`, `echo`, `count`, `large_text`) that show a newcomer, and our own tests, which node answered and how
//! streams behave.
//!
//! # Decisions
//! - The served set is written out as data, not with the SDK's macros: schemas must reach the wire verbatim
//!   (JSON Schema 2020-12 keywords, `x-mcp-header`), and a macro would derive them.
//! - hyper directly, no router crate: there are two paths.
//! - Origins are validated as well as hosts: a gateway in front may rewrite `Host`, the browser's `Origin` stays.
//! - Sessions are bounded by a place that each takes when it is initialized; the plain 503 before that is a courtesy,
//!   since the SDK alone decides which request opens a session.

mod ask;
mod changes;
mod content;
mod http;
mod prompts;
mod resources;
mod rounds;
mod server;
mod stream;
mod tools;

#[cfg(test)]
mod tests;

use std::{future::Future, io, net::SocketAddr};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Path of the MCP endpoint on the node's port.
pub const MCP_PATH: &str = "/mcp";
/// Path that answers 200 as long as the node serves.
pub const HEALTH_PATH: &str = "/health";

/// Serves the node on `listener` until `shutdown` resolves, then ends every session and stream and returns.
///
/// # Errors
/// When the source of randomness that seals request states cannot be read. A failed accept is not an error: it is
/// logged and tried again.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    http::serve(listener, http::Limits::DEFAULT, shutdown).await
}

/// A node that runs as a task of the current runtime.
///
/// Dropping the handle leaves the node running; [`EmbeddedNode::stop`] ends it.
#[derive(Debug)]
pub struct EmbeddedNode {
    /// Where it listens; the port is the real one when the caller asked for port 0.
    pub addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl EmbeddedNode {
    /// Binds `addr` and starts serving.
    ///
    /// # Errors
    /// When `addr` cannot be bound.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, stop.clone().cancelled_owned()));
        Ok(Self { addr, stop, task })
    }

    /// The URL of the MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{MCP_PATH}", self.addr)
    }

    /// Ends the node and waits until its connections are closed.
    ///
    /// # Errors
    /// What [`serve`] returned, or that its task panicked.
    pub async fn stop(self) -> io::Result<()> {
        self.stop.cancel();
        self.task.await.map_err(io::Error::other)?
    }
}
