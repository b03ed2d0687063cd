//! What is remembered of one request from its head to its access-log record.
//!
//! Lives in the connection and is reused: a request in steady state allocates nothing here.

use std::time::Duration;

use erlmcp_ring::Time;

use crate::link::ids::{EndpointId, NO_ENDPOINT, NO_ROUTE, RouteIndex};
use crate::link::reason::Reason;

/// Capacity kept between requests; what a longer path took goes back.
const TEXT_BYTES_KEPT: usize = 512;

/// Notes on the request under way.
pub(crate) struct Note {
    /// Request id, method, path with query, host, RPC method, origin: one after the other.
    text: String,
    ends: [u32; 6],
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
    pub(crate) rpc_method: &'a str,
    pub(crate) origin: &'a str,
}

impl Note {
    pub(crate) fn new() -> Self {
        Self {
            text: String::new(),
            ends: [0; 6],
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
    pub(crate) fn keep(&mut self, texts: Texts<'_>) {
        self.text.clear();
        let Texts { request_id, method, path, host, rpc_method, origin } = texts;
        let all = [request_id, method, path, host, rpc_method, origin];
        for (end, text) in self.ends.iter_mut().zip(all) {
            self.text.push_str(text);
            // Heads are far below 4 GiB.
            *end = self.text.len() as u32;
        }
    }

    /// The texts that were kept.
    pub(crate) fn texts(&self) -> Texts<'_> {
        let part = |index: usize| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
            self.text.get(start..self.ends[index] as usize).unwrap_or_default()
        };
        Texts {
            request_id: part(0),
            method: part(1),
            path: part(2),
            host: part(3),
            rpc_method: part(4),
            origin: part(5),
        }
    }

    /// Microseconds since the head, at most 71 minutes.
    pub(crate) fn elapsed_us(&self, now: Time) -> u32 {
        micros(now.since(self.started))
    }
}

/// Whole microseconds, capped at what the record holds.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
