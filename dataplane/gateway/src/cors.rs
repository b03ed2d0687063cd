//! Cross-origin requests: who may call, the preflight's answer, the fields of a reply (Fetch standard, CORS protocol).

use erlmcp_proto::http1::write_decimal;

use crate::link::OriginPattern;
use crate::link::snapshot::Cors;

/// Whether an origin is on a list.
pub(crate) fn is_allowed(patterns: &[OriginPattern], origin: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(origin))
}

/// Whether the gateway writes this field of the node's reply itself.
pub(crate) fn is_cors_field(name: &str) -> bool {
    const PREFIX: &str = "access-control-";
    name.len() > PREFIX.len() && name.as_bytes()[..PREFIX.len()].eq_ignore_ascii_case(PREFIX.as_bytes())
}

/// Appends the fields that let a page of `origin` read a reply.
pub(crate) fn write_fields(cors: &Cors, origin: &str, out: &mut Vec<u8>) {
    write_origin(cors, origin, out);
    if !cors.expose_headers.is_empty() {
        field(out, "Access-Control-Expose-Headers", &cors.expose_headers);
    }
}

/// Appends the fields of a preflight's answer.
pub(crate) fn write_preflight(cors: &Cors, origin: &str, asked_headers: Option<&[u8]>, out: &mut Vec<u8>) {
    write_origin(cors, origin, out);
    field(out, "Access-Control-Allow-Methods", &cors.methods);
    if !cors.headers.is_empty() {
        field(out, "Access-Control-Allow-Headers", &cors.headers);
    } else if let Some(asked) = asked_headers {
        out.extend_from_slice(b"Access-Control-Allow-Headers: ");
        out.extend_from_slice(asked);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Access-Control-Max-Age: ");
    write_decimal(out, cors.max_age.as_secs());
    out.extend_from_slice(b"\r\n");
}

fn write_origin(cors: &Cors, origin: &str, out: &mut Vec<u8>) {
    if is_allowed(&cors.origins, origin) {
        // The origin itself, never `*`: the same reply then serves callers with credentials.
        field(out, "Access-Control-Allow-Origin", origin);
        if cors.credentials {
            field(out, "Access-Control-Allow-Credentials", "true");
        }
    }
    field(out, "Vary", "Origin");
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
