//! The shard: listeners, exchanges, routing, pools, balancing, counters.
//!
//! Runs on the ring crate's executor, reads snapshots, writes pages. It never resolves a name, checks a node's
//! health by itself, opens a file or waits for the control plane.
//!
//! Where to start reading: [`plane`] for what its owner sees, `shard` for the tasks of one thread, `client` for a
//! connection, `pipeline` and `exchange` for a request from its head to its last byte.
//!
//! # Decisions
//! - A request whose reused connection died without a reply byte is sent again only when its method is idempotent
//!   or the node's kernel acknowledged none of its bytes (`TCP_INFO`): a tool call never runs twice.
//! - A client that closes its sending side has left: MCP's 2026-07-28 revision makes closing a stream its
//!   cancellation, and HTTP/1.1 clients do not half-close.
//! - `Upgrade` is not passed on yet, so a node can never answer 101.
//! - `Expect: 100-continue` is answered by the gateway when a node was picked, and not passed on.
//! - Bodies whose length is told and at most 64 KiB are gathered before a node's connection is taken, so that a slow
//!   client holds no place; longer and chunked ones stream.
//! - The end of a reply up to 16 KiB is sent without waiting for it: a request is polled twice, not four times.
//! - A whole request that waits for a node's connection is sent by whoever gives one back, and its read timeout runs from
//!   then; its own task runs only when the reply has come. No allocation for each wait, 800 instructions less a request.
//! - The node's side of an exchange is made in place and never moved between futures: each move was a 170-byte copy, ten
//!   for each request.
//! - A stalled client is one whose kernel acknowledges nothing for one to two write timeouts; a slow one is served.
//! - `Forwarded` and `X-Forwarded-*` of a peer that is not trusted are dropped, whatever they say.
//! - Lingering that did not help ends in a reset: a plain close can leave a client writing into a shut window for as
//!   long as the kernel remembers the connection.
#![forbid(unsafe_code)]

mod access;
mod body;
mod chunk;
mod client;
mod cors;
mod downstream;
mod exchange;
pub mod explain;
pub mod link;
mod note;
mod own_reply;
mod pipeline;
mod placement;
pub mod plane;
mod reply_head;
mod request_head;
mod request_id;
mod route;
mod shard;
mod state;
mod transport;
mod upstream;

pub use explain::{ExplainRequest, Explanation, explain};
pub use plane::{AccessFeed, DataPlane, PlaneError, Setup};
