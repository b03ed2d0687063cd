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
