//! The tokio side of erlmcp: everything that is not on the path of a request.
//!
//! Never touched by a request's bytes, except by those that the embedded MCP node serves on its own loopback port.
#![forbid(unsafe_code)]

pub mod embedded;
