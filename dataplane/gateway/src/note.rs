//! What is remembered of one request from its head to its access-log record.
//!
//! Lives in the connection and is reused: a request in steady state allocates nothing here.

use erlmcp_proto::jsonrpc::mcp;
use erlmcp_ring::Time;

use crate::link::ids::{EndpointId, NO_ENDPOINT, NO_ROUTE, RouteIndex};
use crate::link::reason::Reason;

/// Capacity kept between requests; what a longer path took goes back.
const TEXT_BYTES_KEPT: usize = 512;

/// Notes on the request under way.
pub(crate) struct Note {
    /// Request id, method, path with query, host, origin: one after the other.
    text: String,
    ends: [u32; 5],
    rpc_method: Option<mcp::Method>,
    /// When its head was whole.
    pub(crate) started: Time,
    /// From the request's last byte to the reply's head.
    pub(crate) upstream_us: u32,
    pub(crate) status: u16,
    pub(crate) route: RouteIndex,
    pub(crate) endpoint: EndpointId,
    pub(crate) reason: Option<Reason>,
    pub(crate) retries: u8,
    pub(crate) logged: bool,
    pub(crate) is_stream: bool,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) revision: u64,
}

/// The texts of a request that outlive its head.
#[derive(Clone, Copy, Default)]
pub(crate) struct Texts<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) rpc_method: Option<mcp::Method>,
}

impl Note {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            ends: [0; 5],
            rpc_method: None,
            started: Time::ZERO,
            upstream_us: 0,
            status: 0,
            route: NO_ROUTE,
            endpoint: NO_ENDPOINT,
            reason: None,
            retries: 0,
            logged: true,
            is_stream: false,
            bytes_in: 0,
            bytes_out: 0,
            revision: 0,
        }
    }

    /// Begins anew for the next request.
    pub(crate) fn begin(&mut self, now: Time, revision: u64) {
        self.text.clear();
        self.text.shrink_to(TEXT_BYTES_KEPT);
        *self = Self { text: std::mem::take(&mut self.text), started: now, revision, ..Self::new() };
    }

    /// Keeps the request's texts.
    pub(crate) fn keep(&mut self, texts: &Texts<'_>) {
        self.text.clear();
        let Texts { request_id, method, path, host, origin, rpc_method } = *texts;
        for (end, text) in self.ends.iter_mut().zip([request_id, method, path, host, origin]) {
            self.text.push_str(text);
            // Heads are far below 4 GiB.
            *end = self.text.len() as u32;
        }
        self.rpc_method = rpc_method;
    }

    /// The texts that were kept.
    pub(crate) fn texts(&self) -> Texts<'_> {
        let mut rest = self.text.as_str();
        let mut start = 0;
        let [request_id, method, path, host, origin] = self.ends.map(|end| {
            let (part, after) = rest.split_at_checked((end - start) as usize).unwrap_or_default();
            (rest, start) = (after, end);
            part
        });
        Texts { request_id, method, path, host, origin, rpc_method: self.rpc_method }
    }

    pub(crate) fn request_id(&self) -> &str {
        self.part(0)
    }

    pub(crate) fn method(&self) -> &str {
        self.part(1)
    }

    pub(crate) fn origin(&self) -> &str {
        self.part(4)
    }

    #[inline]
    fn part(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        self.text.get(start..self.ends[index] as usize).unwrap_or_default()
    }

    /// Microseconds since the head, at most 71 minutes.
    pub(crate) fn elapsed_us(&self, now: Time) -> u32 {
        micros_between(self.started, now)
    }
}

/// Whole microseconds from one time to another, capped at what the record holds.
pub(crate) fn micros_between(start: Time, end: Time) -> u32 {
    let micros = end.as_nanos().saturating_sub(start.as_nanos()) / 1000;
    u32::try_from(micros).unwrap_or(u32::MAX)
}
