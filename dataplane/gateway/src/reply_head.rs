//! The head that a client receives: the node's, less what belongs to one hop, plus what a gateway tells.

use erlmcp_proto::http1::{self, Framing, Method, Response};

use crate::cors;
use crate::link::snapshot::Route;
use crate::state::SnapshotRef;

/// What the head is made from besides the node's own.
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a SnapshotRef,
    pub(crate) route: &'a Route,
    /// Our id of the request.
    pub(crate) request_id: &'a str,
    /// The origin that the client named, empty without one.
    pub(crate) origin: &'a str,
    pub(crate) method: Method,
    /// Whether the client speaks HTTP/1.0: no chunks for it.
    pub(crate) http10: bool,
}

/// Appends the head without its `Connection` field and empty line; the connection's owner ends it.
pub(crate) fn write(response: &Response<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
    if response.plain_line_len == 0 {
        write_status_line(response.status, Some(response.reason), out);
    }
    let route = context.route;
    let cors = route.cors.as_ref().filter(|_| !context.origin.is_empty());
    let edits = &route.response_headers;
    let plain = edits.is_empty() && response.connection_tokens.is_empty() && cors.is_none();
    let id_header = &context.snapshot.identity.request_id_header;
    // The parser has checked that there is one length at most and that it is the body's.
    let keeps_length = tells_length(response, context.method);
    response.headers.write_kept(out, response.plain_line_len, |name, _| {
        let held_back = http1::is_hop_by_hop(name)
            || (!keeps_length && name.len() == 14 && name.eq_ignore_ascii_case("content-length"))
            || (name.len() == id_header.len() && name.eq_ignore_ascii_case(id_header))
            || (!plain
                && (edits.remove.iter().any(|one| one.eq_ignore_ascii_case(name))
                    || edits.set.iter().any(|(one, _)| one.eq_ignore_ascii_case(name))
                    || response.connection_tokens.contains(name)
                    || (cors.is_some() && cors::is_cors_field(name))));
        !held_back
    });
    if response.is_interim() {
        return;
    }
    for (name, value) in edits.set.iter().chain(&edits.add) {
        http1::write_field(out, name, value.as_bytes());
    }
    if let Some(cors) = cors {
        cors::write_fields(cors, context.origin, out);
    }
    out.extend_from_slice(context.snapshot.marks(response.http10).as_bytes());
    out.extend_from_slice(context.request_id.as_bytes());
    out.extend_from_slice(b"\r\n");
    if !context.http10 && matches!(response.framing, Framing::Chunked | Framing::UntilClose) {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
}

/// Whether the node's `Content-Length` is right for the client as it stands.
fn tells_length(response: &Response<'_>, method: Method) -> bool {
    match response.framing {
        Framing::Length(_) => true,
        // A reply to HEAD, or 304, tells the length that a GET would have.
        Framing::None => method == Method::Head || response.status == 304,
        Framing::Chunked | Framing::UntilClose => false,
    }
}

/// Appends a status line; without a reason phrase the registered one.
pub(crate) fn write_status_line(status: u16, reason: Option<&str>, out: &mut Vec<u8>) {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    let mut start = *b"HTTP/1.1 000 ";
    start[9..12].copy_from_slice(&[digit(status / 100), digit(status / 10), digit(status)]);
    out.extend_from_slice(&start);
    out.extend_from_slice(reason.unwrap_or_else(|| http1::status_reason(status)).as_bytes());
    out.extend_from_slice(b"\r\n");
}
