//! What a run is to do: target, protocol, arrivals, mix, lengths. Complete values, checked by whoever makes them.

use std::net::SocketAddr;
use std::time::Duration;

use erlmcp_ring::DriverChoice;
use serde::Serialize;

/// A run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where the load goes.
    pub target: Target,
    /// What the clients speak.
    pub protocol: Protocol,
    /// When requests are to start.
    pub arrivals: Arrivals,
    /// Pause of a virtual client between a reply and its next request (closed loop only).
    pub think: Think,
    /// Virtual clients, each with one connection; split over the threads.
    pub connections: u32,
    /// Generator threads, each a shard of its own.
    pub threads: u32,
    /// Processors to pin the threads to, in turn; empty leaves them to the system.
    pub cpus: Vec<usize>,
    /// Driven and thrown away before measuring.
    pub warmup: Duration,
    /// Measured.
    pub duration: Duration,
    /// A request without its whole reply after so long is an error, and its connection is opened anew.
    pub timeout: Duration,
    /// Length of an [`Interval`](super::Interval).
    pub interval: Duration,
    /// Seed of arrivals, mix and think times: the same seed gives the same schedule.
    pub seed: u64,
    /// How the generator talks to the kernel.
    pub driver: DriverChoice,
    /// Stop after so many measured requests, if that comes before `duration`.
    pub requests_max: Option<u64>,
}

/// Where the load goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// As the user wrote it, for reports.
    pub url: String,
    /// Resolved; connections are spread over them in turn.
    pub addrs: Vec<SocketAddr>,
    /// Value of `Host`.
    pub host: String,
    /// Path with query.
    pub path: String,
}

/// When requests are to start. All but [`Self::Closed`] are open loops: the schedule does not wait for replies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Each client starts its next request when it has its reply (and has thought).
    Closed,
    /// Evenly spaced, requests per second over all threads.
    Constant(f64),
    /// Exponential gaps with this mean rate, requests per second.
    Poisson(f64),
    /// From one rate to another, linearly over warm-up-less `duration`.
    Ramp {
        /// Requests per second at the start of measuring.
        from: f64,
        /// At its end.
        to: f64,
    },
    /// One rate after the other, evenly spaced; the run lasts as long as they do together.
    Steps(Vec<Step>),
    /// Recorded starts, relative to the start of measuring, ascending. The run ends with the last.
    Replay(Vec<Duration>),
}

/// A stretch of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Requests per second.
    pub rate: f64,
    /// How long.
    pub length: Duration,
}

/// Pause between a reply and the next request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Think {
    /// None.
    No,
    /// Always the same.
    Fixed(Duration),
    /// Anything between two lengths.
    Uniform(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Duration),
}

/// What the clients speak, with the mix of their requests.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Requests over HTTP/1.1 keep-alive connections.
    Http(Vec<Request<Http>>),
    /// MCP over Streamable HTTP; sessions are kept per virtual client.
    Mcp(Mcp),
    /// One `text/event-stream` after the other; the arrivals open them, each is held for `hold` (or the server's end).
    Sse {
        /// How long a stream is held before the client ends it.
        hold: Duration,
        /// A gap between events longer than this is a stall.
        stall: Duration,
        /// Of each request, besides `Host` and `Accept`, such as `Mcp-Session-Id`.
        headers: Vec<(String, String)>,
    },
    /// WebSocket text messages, one reply awaited for each.
    WebSocket {
        /// The mix.
        messages: Vec<Request<String>>,
        /// Of the handshake, besides those of RFC 6455, such as `Authorization`.
        headers: Vec<(String, String)>,
    },
    /// JSON-RPC, a line a message, over a bare TCP connection; the reply is the line with the request's `id`.
    Tcp(Vec<Request<McpCall>>),
    /// The connection itself: each request opens a new one, sends this, awaits the reply, closes.
    NewConnection(Http),
}

/// One of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<T> {
    /// For reports.
    pub name: String,
    /// Share among its neighbours.
    pub weight: u32,
    /// What is sent.
    pub what: T,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Method, such as `GET`.
    pub method: String,
    /// Path with query; empty takes the target's.
    pub path: String,
    /// Besides `Host` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Sent with its length.
    pub body: Vec<u8>,
}

/// MCP's two eras.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Era {
    /// With `initialize` and a session, revision 2025-11-25.
    #[serde(rename = "2025-11-25")]
    Sessions,
    /// Stateless, revision 2026-07-28.
    #[serde(rename = "2026-07-28")]
    Stateless,
}

/// Traffic of MCP clients.
#[derive(Clone, Debug)]
pub struct Mcp {
    /// Which era the clients are of.
    pub era: Era,
    /// Extra headers of each request, such as `Authorization`.
    pub headers: Vec<(String, String)>,
    /// The mix. `initialize` itself is measured as a request of that name.
    pub calls: Vec<Request<McpCall>>,
    /// Requests after which a client ends its session and begins another; 0 never.
    pub session_requests: u32,
}

/// One JSON-RPC call.
#[derive(Clone, Debug, PartialEq)]
pub struct McpCall {
    /// Such as `tools/list`.
    pub method: String,
    /// `params`, without what the era adds.
    pub params: serde_json::Value,
}
