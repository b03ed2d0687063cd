//! The embedded MCP node: what answers behind a gateway that was started before no server at all.
//!
//! Owns a small MCP server on the official SDK, on a loopback port that the control plane chose. It never sees the
//! gateway's configuration and the gateway treats it as any other upstream.
