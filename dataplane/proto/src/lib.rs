//! Sans-IO protocol code: HTTP/1.1 heads and bodies, SSE framing, JSON-RPC and MCP scanning.
//!
//! Owns: what bytes mean. Never does: sockets, clocks, randomness, `unsafe`, routing decisions, or buffering of a
//! message. Every entry point takes bytes that the caller owns and returns slices or ranges of them.
//!
//! Invariants:
//! - *Same answer in pieces*: feeding a message in any split gives what feeding it whole gives.
//! - *One framing*: a head that two readers could frame differently is refused, never repaired.
//! - *Bounded*: memory and work per message have named limits.
//!
//! # Decisions
//! - Names of `http1` stand on `httparse`'s tokenizer; it tolerates bare LF, so a vector search for LF re-checks each head.
//! - A repeated `Content-Length` is refused even when its values agree, in requests and in responses.
//! - `Transfer-Encoding` means exactly one `chunked`; other codings before it are answered 501, all else 400.
//! - Raw non-ASCII bytes and `#` in a request target are refused; percent-encoding is left to the router.
#![forbid(unsafe_code)]

pub mod http1;
pub mod jsonrpc;
pub mod sse;
