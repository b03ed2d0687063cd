//! Replies that the gateway makes itself: probes, preflights, refusals.
//!
//! A refusal names its reason in one JSON object; the same label counts it in the metrics.

use erlmcp_proto::http1::{write_decimal, write_field as field};

use crate::cors;
use crate::link::reason::{Fault, Reason};
use crate::link::snapshot::{Cors, Snapshot};
use crate::reply_head::write_status_line;

/// The probe that a path asks for; the probes of `k8s/resources.yaml` stand on the traffic port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// `/health`: the process serves at all.
    Health,
    /// `/ready`: send traffic here.
    Ready,
    /// `/startup`: the first look at the nodes is over.
    Startup,
}

impl Probe {
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/startup" => Some(Self::Startup),
            _ => None,
        }
    }

    /// Status and body.
    pub(crate) fn answer(self, snapshot: &Snapshot, draining: bool) -> (u16, &'static str) {
        match self {
            Self::Health => (200, "{\"status\":\"ok\"}\n"),
            Self::Ready if draining => (503, "{\"status\":\"draining\"}\n"),
            Self::Ready if !snapshot.ready => (503, "{\"status\":\"no fit node\"}\n"),
            Self::Startup if !snapshot.started => (503, "{\"status\":\"starting\"}\n"),
            Self::Ready | Self::Startup => (200, "{\"status\":\"ok\"}\n"),
        }
    }
}

/// Appends a probe's head, less `Connection` and the empty line.
pub(crate) fn write_probe_head(status: u16, body: &str, out: &mut Vec<u8>) {
    write_status_line(status, None, out);
    field(out, "Cache-Control", b"no-store");
    write_json(body.len(), out);
}

/// Appends a preflight's head.
pub(crate) fn write_preflight(cors: &Cors, origin: &str, asked_headers: Option<&[u8]>, out: &mut Vec<u8>) {
    write_status_line(204, None, out);
    cors::write_preflight(cors, origin, asked_headers, out);
}

/// A refusal: its head, less `Connection` and the empty line, and its body.
pub(crate) fn refusal(reason: Reason, request_id: &str, id_header: &str) -> (Vec<u8>, String) {
    let status = reason.status();
    let fault = match reason.fault() {
        Fault::Client => "client",
        Fault::Upstream => "upstream",
        Fault::Gateway => "gateway",
    };
    // Request ids are checked for what JSON would need to escape.
    let body = format!(
        "{{\"error\":\"{}\",\"status\":{status},\"fault\":\"{fault}\",\"request_id\":\"{request_id}\"}}\n",
        reason.label()
    );
    let mut head = Vec::with_capacity(256);
    write_status_line(status, None, &mut head);
    if status == 503 {
        field(&mut head, "Retry-After", b"1");
    }
    if !request_id.is_empty() {
        field(&mut head, id_header, request_id.as_bytes());
    }
    write_json(body.len(), &mut head);
    (head, body)
}

fn write_json(length: usize, out: &mut Vec<u8>) {
    field(out, "Content-Type", b"application/json");
    out.extend_from_slice(b"Content-Length: ");
    write_decimal(out, length as u64);
    out.extend_from_slice(b"\r\n");
}
