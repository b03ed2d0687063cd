//! The head that a node receives: the client's, less what belongs to one hop, plus what a gateway tells.
//!
//! One pass over the client's fields. Never decides where a request goes.

use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use erlmcp_proto::http1::{self, Framing, Request, TargetForm};

use crate::link::snapshot::{Endpoint, HostPolicy, Network, PathMatch, Route};
use crate::state::SnapshotRef;

/// What the head is made from besides the client's own.
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a SnapshotRef,
    pub(crate) route: &'a Route,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) client: Option<IpAddr>,
    /// Whether the client's own forwarding fields are believed and appended to.
    pub(crate) trusted: bool,
    pub(crate) request_id: &'a str,
}

/// Appends the head, its empty line included. Returns where the value of `Host` stands, so that it can be
/// replaced when another node has to take the request.
pub(crate) fn write(request: &Request<'_>, context: &Context<'_>, out: &mut Vec<u8>) -> Range<u32> {
    let route = context.route;
    write_request_line(request, route, out);
    let start = out.len();
    out.extend_from_slice(host(route, context.endpoint, request.host).as_bytes());
    // Heads are far below 4 GiB.
    let host_value = start as u32..out.len() as u32;
    out.extend_from_slice(b"\r\n");
    let forwarded = write_fields(request, context, out);
    write_forwarded(request, context, &forwarded, out);
    for (name, value) in route.request_headers.set.iter().chain(&route.request_headers.add) {
        http1::write_field(out, name, value.as_bytes());
    }
    match request.framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            http1::write_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
    host_value
}

/// What `Host` a node sees.
pub(crate) fn host<'a>(route: &'a Route, endpoint: &'a Endpoint, client: Option<&'a str>) -> &'a str {
    match &route.host {
        HostPolicy::Upstream => &endpoint.host_header,
        HostPolicy::Literal(host) => host,
        HostPolicy::Keep => client.unwrap_or(&endpoint.host_header),
    }
}

/// Appends the request line and the name of the field that follows, `Host`.
fn write_request_line(request: &Request<'_>, route: &Route, out: &mut Vec<u8>) {
    if route.path_prefix.is_none() && request.target.form == TargetForm::Origin && !request.http10 {
        out.extend_from_slice(request.line);
        return out.extend_from_slice(b"\r\nHost: ");
    }
    out.extend_from_slice(request.method_text.as_bytes());
    out.push(b' ');
    write_path(request.target.path, route, out);
    if let Some(query) = request.target.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
}

/// Appends the path, its prefix replaced where the route says so.
fn write_path(path: &str, route: &Route, out: &mut Vec<u8>) {
    match (&route.path_prefix, &route.path) {
        (Some(new), PathMatch::Exact(_)) => out.extend_from_slice(new.as_bytes()),
        (Some(new), PathMatch::Prefix(old)) => {
            let rest = path.strip_prefix(old.as_str()).unwrap_or(path).trim_start_matches('/');
            out.extend_from_slice(new.trim_end_matches('/').as_bytes());
            if !rest.is_empty() || new.ends_with('/') {
                out.push(b'/');
            }
            out.extend_from_slice(rest.as_bytes());
        }
        (None, _) => out.extend_from_slice(path.as_bytes()),
    }
}

/// Forwarding fields of the client that were held back, to be written once with ours.
#[derive(Default)]
struct Forwarded<'b> {
    /// All lines joined; empty in nearly every request.
    for_: Vec<u8>,
    proto: Option<&'b [u8]>,
    host: Option<&'b [u8]>,
}

/// Copies the client's fields that pass this hop.
fn write_fields<'b>(request: &Request<'b>, context: &Context<'_>, out: &mut Vec<u8>) -> Forwarded<'b> {
    let edits = &context.route.request_headers;
    let plain = edits.is_empty() && request.connection_tokens.is_empty();
    let id_header = &context.snapshot.identity.request_id_header;
    let mut forwarded = Forwarded::default();
    request.headers.write_kept(out, 0, |name, value| {
        let held_back = is_ours(name, id_header, value, &mut forwarded)
            || http1::is_hop_by_hop(name)
            || (!context.trusted && is_forwarding(name))
            || (!plain && (request.connection_tokens.contains(name) || is_edited(edits, name)));
        !held_back
    });
    forwarded
}

fn is_edited(edits: &crate::link::snapshot::HeaderEdits, name: &str) -> bool {
    edits.remove.iter().any(|one| one.eq_ignore_ascii_case(name))
        || edits.set.iter().any(|(one, _)| one.eq_ignore_ascii_case(name))
}

/// Whether a field claims something about hops before this one.
fn is_forwarding(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    name.eq_ignore_ascii_case("forwarded")
        || name.get(..PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(PREFIX))
}

/// Whether the gateway writes this field itself; what it appends to is noted.
fn is_ours<'b>(name: &str, id_header: &str, value: &'b [u8], forwarded: &mut Forwarded<'b>) -> bool {
    let same = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        4 => same("host"),
        6 => same("expect"),
        14 if same("content-length") => true,
        15 if same("x-forwarded-for") => {
            if !forwarded.for_.is_empty() {
                forwarded.for_.extend_from_slice(b", ");
            }
            forwarded.for_.extend_from_slice(value);
            true
        }
        16 if same("x-forwarded-host") => {
            forwarded.host = Some(value);
            true
        }
        17 if same("x-forwarded-proto") => {
            forwarded.proto = Some(value);
            true
        }
        length => length == id_header.len() && same(id_header),
    }
}

fn write_forwarded<'b>(
    request: &Request<'b>,
    context: &Context<'_>,
    held: &Forwarded<'b>,
    out: &mut Vec<u8>,
) {
    // The client's own `Via` lines stand above: a list may span lines.
    out.extend_from_slice(context.snapshot.marks(request.http10).as_bytes());
    out.extend_from_slice(context.request_id.as_bytes());
    out.extend_from_slice(b"\r\nX-Forwarded-For: ");
    if context.trusted && !held.for_.is_empty() {
        out.extend_from_slice(&held.for_);
        out.extend_from_slice(b", ");
    }
    write_address(out, context.client);
    let believed = |claim: Option<&'b [u8]>| claim.filter(|_| context.trusted);
    match believed(held.proto) {
        None => out.extend_from_slice(b"\r\nX-Forwarded-Proto: http"),
        Some(proto) => {
            out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
            out.extend_from_slice(proto);
        }
    }
    if let Some(host) = believed(held.host).or(request.host.map(str::as_bytes)) {
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(host);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an address without going through `fmt`: this runs for every request.
fn write_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(IpAddr::V4(v4)) => {
            let (mut text, mut end) = ([0; V4_BYTES_MAX + 1], 0);
            for octet in v4.octets() {
                let (digits, length) = OCTETS[usize::from(octet)];
                text[end..end + 4].copy_from_slice(&digits);
                end += usize::from(length);
            }
            // Less the last dot.
            out.extend_from_slice(&text[..end - 1]);
        }
        Some(IpAddr::V6(v6)) => {
            // Writing to memory cannot fail.
            let _ = write!(out, "{v6}");
        }
        // RFC 7239 section 6.3's word for an unnamed peer.
        None => out.extend_from_slice(b"unknown"),
    }
}

/// Longest IPv4 address as text.
const V4_BYTES_MAX: usize = "255.255.255.255".len();

/// Each octet in decimal with a dot behind it, and the length of both.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        table[octet] = match octet {
            0..10 => ([digits[2], b'.', 0, 0], 2),
            10..100 => ([digits[1], digits[2], b'.', 0], 3),
            _ => ([digits[0], digits[1], digits[2], b'.'], 4),
        };
        octet += 1;
    }
    table
};

/// Whether `address` lies within one of the networks.
pub(crate) fn is_trusted(networks: &[Network], address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| networks.iter().any(|network| contains(network, address)))
}

fn contains(network: &Network, address: IpAddr) -> bool {
    let (ours, theirs, width) = match (network.address, address.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let shift = width - u32::from(network.prefix).min(width);
    ours.checked_shr(shift).unwrap_or(0) == theirs.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 255 - octet, 0, octet / 3]);
            let mut out = Vec::new();
            write_address(&mut out, Some(address));
            assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
        }
        let mut out = Vec::new();
        write_address(&mut out, Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])));
        assert_eq!(out, b"2001:db8::1");
    }

    #[test]
    fn networks_contain_by_their_leading_bits() {
        let network = Network { address: [10, 1, 0, 0].into(), prefix: 15 };
        for (address, want) in [([10, 0, 9, 9], true), ([10, 1, 0, 1], true), ([10, 2, 0, 0], false)] {
            assert_eq!(contains(&network, address.into()), want, "{address:?}");
        }
        let all = Network { address: [0, 0, 0, 0].into(), prefix: 0 };
        assert!(contains(&all, [1, 2, 3, 4].into()));
        assert!(contains(&all, "::ffff:9.9.9.9".parse().unwrap()), "a mapped address is the address");
        assert!(!contains(&all, "::1".parse().unwrap()));
    }
}
