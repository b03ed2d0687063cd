//! The parsed heads and the limits that they were parsed under: plain data, no logic beyond constructors.

use super::fields::{ConnectionTokens, Headers};
use super::method::Method;
use super::target::Target;

/// Most header fields that a head may carry, whatever the limits say: the size of the array on the stack.
pub const HEADERS_MAX: usize = 128;

/// Bounds on a head. Reaching one is an error with its own status, never a silent cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Start line, fields and the empty line together, in bytes (431 beyond it).
    pub head_bytes_max: usize,
    /// Header fields; values above [`HEADERS_MAX`] mean that one (431 beyond it).
    pub headers_max: usize,
    /// The request target, in bytes (414 beyond it).
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, headers_max: 100, target_bytes_max: 8 * 1024 }
    }
}

/// How a body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body follows.
    None,
    /// Exactly this many bytes follow; zero is reported as `Length(0)`, so that it can be forwarded as such.
    Length(u64),
    /// Chunks follow, then trailers.
    Chunked,
    /// The body ends with the connection (responses only).
    UntilClose,
}

/// A request head that passed every check. Slices point into the buffer that was parsed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    /// The method.
    pub method: Method,
    /// The method as it was written.
    pub method_text: &'b str,
    /// The request target.
    pub target: Target<'b>,
    /// The request line as it was written, less its line end.
    pub line: &'b [u8],
    /// HTTP/1.0; otherwise HTTP/1.1.
    pub http10: bool,
    /// All fields in their order.
    pub headers: Headers<'b>,
    /// Bytes of the head: the body, or the next request, starts there.
    pub head_len: usize,
    /// How the body ends: never [`Framing::UntilClose`].
    pub framing: Framing,
    /// The client lets the connection live on (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// `Expect: 100-continue` from an HTTP/1.1 client.
    pub expect_continue: bool,
    /// The `Upgrade` field, when `Connection` names it and the request is HTTP/1.1.
    pub upgrade: Option<&'b [u8]>,
    /// Host and port that the request is for: the target's authority, else `Host` (RFC 9112 section 3.2.2).
    pub host: Option<&'b str>,
    /// Fields named by `Connection` beyond those of [`super::is_hop_by_hop`]: drop them when forwarding.
    pub connection_tokens: ConnectionTokens<'b>,
    /// `TE` names `trailers`.
    pub has_te_trailers: bool,
}

/// A response head that passed every check. Slices point into the buffer that was parsed.
#[derive(Clone, Copy, Debug)]
pub struct Response<'b> {
    /// Status code, 100 to 999.
    pub status: u16,
    /// Reason phrase; empty when it was absent or not ASCII.
    pub reason: &'b str,
    /// Bytes of the status line, its line end included, if it can be passed on as it stands: of HTTP/1.1 and with a
    /// reason. Otherwise 0.
    pub plain_line_len: usize,
    /// HTTP/1.0; otherwise HTTP/1.1.
    pub http10: bool,
    /// All fields in their order.
    pub headers: Headers<'b>,
    /// Bytes of the head: the body starts there.
    pub head_len: usize,
    /// How the body ends, given the request's method.
    pub framing: Framing,
    /// `Content-Length` as declared, also where no body follows (`HEAD`, 304).
    pub length_declared: Option<u64>,
    /// The server lets the connection live on, and the framing allows it.
    pub keep_alive: bool,
    /// `Content-Type` is `text/event-stream`.
    pub is_event_stream: bool,
    /// The `Upgrade` field, when `Connection` names it.
    pub upgrade: Option<&'b [u8]>,
    /// Fields named by `Connection` beyond those of [`super::is_hop_by_hop`]: drop them when forwarding.
    pub connection_tokens: ConnectionTokens<'b>,
}

impl Response<'_> {
    /// An interim response: another head follows for the same request (101 is final).
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}
