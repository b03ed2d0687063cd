//! Writes events: for heartbeats and for events that the gateway itself sends.

/// A comment block: keeps intermediaries from closing an idle stream, and no client sees it.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Appends one event. Fields left out are `None`; line ends in `data` make several `data` lines.
///
/// CR, LF and NUL cannot stand in `name` or `id`; they are left out.
pub fn write_event(out: &mut Vec<u8>, name: Option<&str>, id: Option<&str>, data: Option<&[u8]>) {
    for (field, value) in [("event: ", name), ("id: ", id)] {
        if let Some(value) = value {
            out.extend_from_slice(field.as_bytes());
            out.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
            out.push(b'\n');
        }
    }
    if let Some(mut rest) = data {
        loop {
            let end = memchr::memchr2(b'\r', b'\n', rest);
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            out.push(b'\n');
            let Some(end) = end else { break };
            let skip = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
            rest = &rest[end + skip..];
        }
    }
    out.push(b'\n');
}
