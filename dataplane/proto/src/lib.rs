//! Sans-IO protocol code: HTTP/1.1 heads and bodies, SSE framing, WebSocket frames, JSON-RPC and MCP scanning.
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
//! - `http1` stands on `httparse`'s tokenizer; it tolerates bare LF, so a vector search for LF re-checks each head.
//! - A repeated `Content-Length` is refused even when its values agree, in requests and in responses.
//! - `Transfer-Encoding` means exactly one `chunked`; other codings before it are answered 501, all else 400.
//! - `Connection` may not name `Host`, `Content-Length` or `Transfer-Encoding`; at most eight other names are kept.
//! - `BodyDecoder` checks trailers always and keeps them only on request: most relays drop them.
//! - A parsed head borrows its fields from the caller's `HeaderSlots`, so that 4 KiB are neither zeroed nor copied for each
//!   head. A head of 151 bytes takes 108 ns, of which `httparse` takes 42 (`examples/speed.rs`).
//! - JSON keys that routing depends on may occur once, however they are spelled; keys that differ in case are only told
//!   (`has_case_variant`), because they are legal and the router knows which servers fold case.
//! - `websocket` knows no extensions: every reserved bit is refused and an answer that names one too, so a relay strips
//!   `Sec-WebSocket-Extensions`. A relay keeps no payload (`RelayCheck`), an endpoint one message (`MessageReader`).
//! - Close codes 1012 to 1014 (IANA) are accepted; 1004 to 1006, 1015 to 2999 and 5000 up are not.
//! - Raw non-ASCII bytes and `#` in a request target are refused; percent-encoding is left to the router.
#![forbid(unsafe_code)]

pub mod http1;
pub mod jsonrpc;
pub mod sse;
pub mod websocket;
