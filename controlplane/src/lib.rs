//! The tokio side of erlmcp: everything that is not on the path of a request.
//!
//! Start at [`cli`] for the commands, at [`run`] for how both planes come up and go down, at [`control::Control`] for
//! what the tasks share. Never touched by a request's bytes, except by those that the embedded MCP node serves on its
//! own loopback port.
//!
//! # Decisions
//! - Wishes (`desired`) and observations (`addresses`, `health`, `operator`) are kept apart; the publisher alone joins
//!   them, by a pure function. A reload changes wishes only, so nothing that was learned is lost by it.
//! - A node that was never checked takes traffic: a gateway must not refuse everything while its first round of checks
//!   runs. Its first check decides at once; thresholds count from then on.
//! - The access log is written by a thread that looks at the lanes, not by a task that is woken: a wake would cost a
//!   shard a system call.
//! - Names are asked for with hickory, since `getaddrinfo` hides the time to live; where the system has no
//!   `resolv.conf`, `getaddrinfo` is used.
//! - The command line finds a gateway by its socket's name (`admin-PORT.sock`) in the folders where it may be; there is
//!   no other record of what runs.
//! - Each check opens a connection of its own. Reuse would be cheaper and would hide a listener that has died.
//! - `Host` is checked strictly on loopback addresses only (DNS rebinding): elsewhere scrapers come under names that
//!   we cannot know.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod admin;
pub mod cli;
pub mod control;
pub mod desired;
pub mod discovery;
pub mod embedded;
pub mod endpoints;
pub mod fetch;
pub mod health;
mod jitter;
pub mod metrics;
pub mod publish;
pub mod reload;
pub mod run;
pub mod short;
pub mod supervise;
mod turned_file;
pub mod wish;
