//! Virtual clients, one file a protocol.
//!
//! A protocol is: one variant of [`Client`] and of [`Script`], one line in each `match` below, and one file with
//!
//! - a *script*: what its clients send, computed once per thread from the [`Spec`] (`Rc`, shared by the clients), and
//! - a *client* with three functions:
//!   - `is_ready(&self) -> bool`: the next request can be sent at once (connected, session there, peer has not closed).
//!   - `async prepare(&mut self, &Seat) -> Result<(), ErrorKind>`: makes it so. Called before the schedule begins, and
//!     again before a request when `is_ready` is false. What it takes is in the response time of that request and not in
//!     its service time. Steps worth a record of their own go to [`Seat::aside`] under an index of [`asides`].
//!   - `async exchange(&mut self, &Seat, request) -> Result<Time, ErrorKind>`: sends request number `request` of the mix,
//!     calls [`Seat::sending`] in the same poll, and returns the time of the reply's last byte (usually
//!     [`Seat::now`]).
//!
//! Rules: after an error that leaves the connection in doubt the client drops its [`Link`] (and `is_ready` is false); an
//! error of the reply alone ([`ErrorKind::Refused`]) keeps it. The seat's deadline is set before each call; waits of
//! [`Link`] end by it with [`ErrorKind::Timeout`]. Ring operations are polled by the client's task itself: no `select!`,
//! no spawned helpers. Nothing is allocated per request in steady state. No `RefCell` borrow across an await
//! ([`Seat::with`] and [`Seat::streams`] take closures). Streamed replies are recorded by [`Seat::streams`], for
//! protocols that [`has_streams`] names.

mod clock;
mod http;
mod link;
mod mcp;
mod rpc;
mod sse;
mod tcp;
mod websocket;

use std::rc::Rc;

use erlmcp_ring::Time;

use super::outcome::ErrorKind;
use super::seat::Seat;
use super::spec::{Protocol, Spec};

pub(crate) use link::Link;

/// A virtual client.
pub(crate) enum Client {
    Http(http::Keeping),
    NewConnection(http::Opening),
    Mcp(mcp::Client),
    Sse(sse::Streaming),
    WebSocket(websocket::Messaging),
    Tcp(tcp::Calling),
}

impl Client {
    /// See the module.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Http(client) => client.is_ready(),
            Self::NewConnection(client) => client.is_ready(),
            Self::Mcp(client) => client.is_ready(),
            Self::Sse(client) => client.is_ready(),
            Self::WebSocket(client) => client.is_ready(),
            Self::Tcp(client) => client.is_ready(),
        }
    }

    /// See the module.
    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        match self {
            Self::Http(client) => client.prepare(seat).await,
            Self::NewConnection(client) => client.prepare(seat).await,
            Self::Mcp(client) => client.prepare(seat).await,
            Self::Sse(client) => client.prepare(seat).await,
            Self::WebSocket(client) => client.prepare(seat).await,
            Self::Tcp(client) => client.prepare(seat).await,
        }
    }

    /// See the module.
    #[inline]
    pub(crate) async fn exchange(&mut self, seat: &Seat, request: usize) -> Result<Time, ErrorKind> {
        match self {
            Self::Http(client) => client.exchange(seat, request).await,
            Self::NewConnection(client) => client.exchange(seat).await,
            Self::Mcp(client) => client.exchange(seat, request).await,
            Self::Sse(client) => client.exchange(seat).await,
            Self::WebSocket(client) => client.exchange(seat, request).await,
            Self::Tcp(client) => client.exchange(seat, request).await,
        }
    }
}

/// What the clients of a thread send.
pub(crate) enum Script {
    Http(Rc<http::Script>),
    NewConnection(Rc<http::Script>),
    Mcp(Rc<mcp::Script>),
    Sse(Rc<sse::Script>),
    WebSocket(Rc<websocket::Script>),
    Tcp(Rc<tcp::Script>),
}

impl Script {
    /// # Errors
    /// What about the requests cannot be sent, for the user.
    pub(crate) fn new(spec: &Spec) -> Result<Self, String> {
        match &spec.protocol {
            Protocol::Http(mix) => {
                let requests: Vec<_> = mix.iter().map(|request| &request.what).collect();
                http::Script::new(&spec.target, &requests, false).map(|script| Self::Http(Rc::new(script)))
            }
            Protocol::NewConnection(request) => http::Script::new(&spec.target, &[request], true)
                .map(|script| Self::NewConnection(Rc::new(script))),
            Protocol::Mcp(mcp) => {
                mcp::Script::new(&spec.target, mcp).map(|script| Self::Mcp(Rc::new(script)))
            }
            Protocol::Sse { hold, stall, headers } => sse::Script::new(&spec.target, headers, *hold, *stall)
                .map(|script| Self::Sse(Rc::new(script))),
            Protocol::WebSocket { messages, headers } => {
                let texts = messages.iter().map(|message| &message.what);
                websocket::Script::new(&spec.target, headers, texts, spec.seed)
                    .map(|script| Self::WebSocket(Rc::new(script)))
            }
            Protocol::Tcp(calls) => {
                tcp::Script::new(calls.iter().map(|call| &call.what)).map(|script| Self::Tcp(Rc::new(script)))
            }
        }
    }

    /// A client that follows it.
    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Http(script) => Client::Http(http::Keeping::new(Rc::clone(script))),
            Self::NewConnection(script) => Client::NewConnection(http::Opening::new(Rc::clone(script))),
            Self::Mcp(script) => Client::Mcp(mcp::Client::new(Rc::clone(script))),
            Self::Sse(script) => Client::Sse(sse::Streaming::new(Rc::clone(script))),
            Self::WebSocket(script) => Client::WebSocket(websocket::Messaging::new(Rc::clone(script))),
            Self::Tcp(script) => Client::Tcp(tcp::Calling::new(Rc::clone(script))),
        }
    }
}

/// Names and weights of a mix, in its order.
pub(crate) fn mix(protocol: &Protocol) -> Vec<(String, u32)> {
    fn of<T>(requests: &[super::spec::Request<T>]) -> Vec<(String, u32)> {
        requests.iter().map(|request| (request.name.clone(), request.weight)).collect()
    }
    match protocol {
        Protocol::Http(requests) => of(requests),
        Protocol::Mcp(mcp) => of(&mcp.calls),
        Protocol::Sse { .. } => vec![("stream".to_owned(), 1)],
        Protocol::WebSocket { messages, .. } => of(messages),
        Protocol::Tcp(requests) => of(requests),
        Protocol::NewConnection(_) => vec![("connection".to_owned(), 1)],
    }
}

/// Names of what is recorded beside the mix, by [`Seat::aside`]: their indices follow those of the mix.
pub(crate) fn asides(protocol: &Protocol) -> Vec<String> {
    match protocol {
        Protocol::Mcp(_) => vec!["initialize".to_owned()],
        _ => Vec::new(),
    }
}

/// Whether streams are recorded, by [`Seat::streams`].
pub(crate) fn has_streams(protocol: &Protocol) -> bool {
    matches!(protocol, Protocol::Mcp(_) | Protocol::Sse { .. })
}
