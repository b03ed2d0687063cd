//! The admin API: read-only for all who reach its address, changes for the peer of the Unix socket or the token.
//!
//! Owns its sockets and connections; bounded in both number and time. Never on the path of a request.

mod api;
mod auth;
mod page;
mod sockets;
pub mod views;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::control::Control;

pub use sockets::{Sockets, candidates};

/// Connections at once over all addresses.
const CONNECTIONS_MAX: usize = 128;
/// For a request's head, and between two requests.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(15);
/// Pause after a failed accept, so that the loop does not spin.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(50);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network; the address is ours.
    Tcp(SocketAddr),
    /// A process of this host, by its user.
    Unix(u32),
}

/// Serves the TCP addresses and the socket for as long as it runs.
async fn run(control: Arc<Control>, sockets: Arc<Sockets>) {
    let router = api::router(Arc::clone(&control));
    let server = Server {
        router,
        permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        stop: control.supervisor.stopping().child_token(),
    };
    // Ends the connections together with this life of the task.
    let _guard = server.stop.clone().drop_guard();
    let mut loops = tokio::task::JoinSet::new();
    match sockets.duplicate() {
        Ok((tcp, unix)) => {
            for listener in tcp {
                loops.spawn(server.clone().serve_tcp(listener));
            }
            if let Some(listener) = unix {
                loops.spawn(server.clone().serve_unix(listener));
            }
        }
        Err(error) => tracing::error!(%error, "the admin API cannot listen"),
    }
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Server {
    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Ok(local) = stream.local_addr() {
                        self.connection(stream, Peer::Tcp(local)).await;
                    }
                }
                Err(error) => not_accepted(&error).await,
            }
        }
    }

    async fn serve_unix(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(who) => self.connection(stream, Peer::Unix(who.uid())).await,
                    Err(error) => tracing::warn!(%error, "a peer of the admin socket has no credentials"),
                },
                Err(error) => not_accepted(&error).await,
            }
        }
    }

    /// Serves one connection as a task of its own, once there is room for it.
    async fn connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
        let (router, stop) = (self.router.clone(), self.stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(peer);
                let mut router = router.clone();
                async move { Ok::<_, Infallible>(call(&mut router, request).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT_MAX)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = serving => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the admin API ended early");
                },
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn call(router: &mut Router, request: hyper::Request<Incoming>) -> axum::response::Response {
    use tower_service::Service as _;
    // A router is always ready, and infallible.
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "the admin API could not accept a connection; trying again");
    tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
}

#[cfg(test)]
mod tests;
