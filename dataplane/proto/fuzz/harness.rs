//! What must hold for any bytes at all: one function per fuzz target, shared with `tests/replay.rs`.
//!
//! Owns: the properties. Never does: choosing inputs. A property that does not hold panics.
#![expect(clippy::expect_used, reason = "a broken expectation is what a fuzz target reports")]

use erlmcp_proto::http1::{
    self, BodyDecoder, BodyError, Framing, HEADERS_MAX, HeadLimits, HeaderSlots, Headers, Method,
};
use erlmcp_proto::jsonrpc::{self, Id, Kind, ScanError, ScanLimits};
use erlmcp_proto::sse::{EventFramer, EventParser, KEEP_ALIVE};
use erlmcp_proto::websocket::{
    self, Checked, FrameDecoder, FrameError, FrameHeader, Message, MessageReader, RelayCheck, Role, Utf8Check,
};

/// Most prefixes tried per input.
const PREFIXES_MAX: usize = 96;

/// A target and its name, which is also the name of its corpus.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 6] = [
    ("http1_request", http1_request),
    ("http1_response", http1_response),
    ("http1_body", http1_body),
    ("sse", sse),
    ("jsonrpc", jsonrpc),
    ("websocket", websocket),
];

/// An accepted head is read alike by a naive reader, and each part of it is "need more".
pub(crate) fn http1_request(data: &[u8]) {
    let limits = HeadLimits::default();
    let mut slots = HeaderSlots::new();
    let Ok(Some(request)) = http1::parse_request(data, &mut slots, &limits) else { return };
    let head = &data[..request.head_len];
    let start = head.iter().position(|b| !b"\r\n".contains(b)).expect("a request line");
    let first_line = check_naively(&head[start..], request.headers);
    let version = if request.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let expected = format!("{} {} {version}", request.method_text, request.target.text);
    assert_eq!(first_line, expected.as_bytes());
    assert_framing(request.framing, request.headers);
    assert_ne!(request.framing, Framing::UntilClose);
    assert!(request.host.is_some() || request.http10);
    if let Some(host) = request.host {
        assert!(http1::is_valid_authority(host));
    }
    assert!(request.target.path == "*" || request.target.path.starts_with('/'));
    assert!(request.target.text.len() <= limits.target_bytes_max);
    for len in prefixes(head.len()) {
        let mut slots = HeaderSlots::new();
        let part = http1::parse_request(&head[..len], &mut slots, &limits);
        assert!(matches!(part, Ok(None)), "{len} of {} bytes: {part:?}", head.len());
    }
    let mut slots = HeaderSlots::new();
    let again = http1::parse_request(head, &mut slots, &limits);
    assert!(again.is_ok_and(|again| again.is_some_and(|again| again.head_len == head.len())));
}

/// As for requests; the first byte chooses the method of the request.
pub(crate) fn http1_response(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { Method::Get } else { Method::Head };
    let limits = HeadLimits::default();
    let mut slots = HeaderSlots::new();
    let Ok(Some(response)) = http1::parse_response(data, &mut slots, &limits, method) else { return };
    let head = &data[..response.head_len];
    check_naively(head, response.headers);
    assert!((100..1000).contains(&response.status));
    if method == Method::Head || response.status < 200 || matches!(response.status, 204 | 304) {
        assert_eq!(response.framing, Framing::None);
    } else if response.framing == Framing::UntilClose {
        assert!(!response.keep_alive && response.length_declared.is_none());
    } else {
        assert_framing(response.framing, response.headers);
    }
    for len in prefixes(head.len()) {
        let mut slots = HeaderSlots::new();
        let part = http1::parse_response(&head[..len], &mut slots, &limits, method);
        assert!(matches!(part, Ok(None)), "{len} of {} bytes: {part:?}", head.len());
    }
}

/// Splits a head at CR LF and compares every field; returns the first line.
fn check_naively<'d>(head: &'d [u8], headers: Headers<'_>) -> &'d [u8] {
    assert!(headers.len() <= HEADERS_MAX);
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        assert!(
            !rest[..at].contains(&b'\n') && !rest[..at].contains(&b'\r'),
            "a bare line end was let through"
        );
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    assert!(rest.is_empty(), "the head ends with a line end");
    assert_eq!(lines.pop().map(<[u8]>::len), Some(0), "the last line is empty");
    let first_line = lines.remove(0);
    assert_eq!(lines.len(), headers.len());
    for (line, (name, value)) in lines.iter().zip(headers.iter()) {
        let colon = line.iter().position(|&b| b == b':').expect("a colon");
        assert_eq!(&line[..colon], name.as_bytes());
        assert_eq!(line[colon + 1..].trim_ascii(), value);
        assert!(http1::is_token(name.as_bytes()));
        assert!(value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)));
    }
    first_line
}

/// The framing is the only one that any reader of these fields could choose.
fn assert_framing(framing: Framing, headers: Headers<'_>) {
    let lengths: Vec<&[u8]> = headers.get_all("Content-Length").collect();
    let codings: Vec<&[u8]> = headers.get_all("transfer-ENCODING").collect();
    match framing {
        Framing::None | Framing::UntilClose => assert!(lengths.is_empty() && codings.is_empty()),
        Framing::Length(length) => {
            assert!(codings.is_empty() && lengths.len() == 1);
            let text = core::str::from_utf8(lengths[0]).expect("digits");
            assert!(text.bytes().all(|b| b.is_ascii_digit()));
            assert_eq!(text.parse(), Ok(length));
        }
        Framing::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1);
            assert!(codings[0].eq_ignore_ascii_case(b"chunked"));
        }
    }
}

/// What a decoder made of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) data: Vec<u8>,
    pub(crate) consumed: usize,
    pub(crate) done: bool,
    pub(crate) error: Option<BodyError>,
    pub(crate) trailers: Vec<u8>,
    pub(crate) trailers_seen: u16,
}

/// Decodes `input` in pieces of the sizes that `piece` gives.
pub(crate) fn read_body(framing: Framing, input: &[u8], mut piece: impl FnMut() -> usize) -> Read {
    let mut decoder = BodyDecoder::new(framing).keeping_trailers();
    let mut read = Read {
        data: Vec::new(),
        consumed: 0,
        done: decoder.is_done(),
        error: None,
        trailers: Vec::new(),
        trailers_seen: 0,
    };
    let mut given = 0;
    while !read.done && read.error.is_none() && (read.consumed < given || given < input.len()) {
        if read.consumed == given {
            given = given.saturating_add(piece().max(1)).min(input.len());
        }
        let part = &input[read.consumed..given];
        match decoder.decode(part) {
            Ok(decoded) => {
                assert!(decoded.data.start <= decoded.data.end && decoded.data.end <= decoded.consumed);
                assert!(decoded.consumed <= part.len());
                assert!(decoded.consumed > 0 || decoded.done, "no progress");
                assert!(decoded.consumed == part.len() || decoded.done || !decoded.data.is_empty());
                assert_eq!(decoded.done, decoder.is_done());
                read.data.extend_from_slice(&part[decoded.data]);
                read.consumed += decoded.consumed;
                read.done = decoded.done;
            }
            Err(error) => {
                assert_eq!(decoder.decode(part), Err(error), "errors are final");
                read.error = Some(error);
            }
        }
    }
    read.trailers = decoder.trailers().to_vec();
    read.trailers_seen = decoder.trailers_seen();
    read
}

/// Any split gives the same body. The first byte chooses framing, the second the piece sizes.
pub(crate) fn http1_body(data: &[u8]) {
    let [choice, seed, input @ ..] = data else { return };
    let framing = match choice & 3 {
        0 => Framing::Length(u64::from(*choice) * 3),
        1 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let whole = read_body(framing, input, || usize::MAX);
    let bytewise = read_body(framing, input, || 1);
    let mut state = u32::from(*seed);
    let pieces = read_body(framing, input, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize % 17 + 1
    });
    for other in [bytewise, pieces] {
        assert_eq!(whole.error, other.error);
        if whole.error.is_none() {
            assert_eq!(whole, other);
        } else {
            assert!(other.data.starts_with(&whole.data), "pieces see no less before an error");
        }
    }
    assert!(whole.trailers.is_empty() || whole.trailers.ends_with(b"\r\n") || !whole.done);
    if framing == Framing::UntilClose {
        assert_eq!(whole.data, input);
    }
}

/// An event, owned: name, data, id.
pub(crate) type OwnedEvent = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Events, and the last `retry` in milliseconds.
pub(crate) type EventsAndRetry = (Vec<OwnedEvent>, Option<u64>);

/// Parses `input` in pieces; `None` for an event that is too long.
pub(crate) fn read_events(input: &[u8], event_bytes_max: usize, piece: usize) -> Option<EventsAndRetry> {
    let mut parser = EventParser::new(event_bytes_max);
    let mut events = Vec::new();
    for mut part in input.chunks(piece) {
        while let Some(event) = parser.next(&mut part).ok()? {
            events.push((event.name.to_vec(), event.data.to_vec(), event.id.to_vec()));
        }
        assert!(part.is_empty());
    }
    Some((events, parser.retry_ms()))
}

/// Any split gives the same events and boundaries; a comment at any boundary changes no event.
pub(crate) fn sse(data: &[u8]) {
    const EVENT_BYTES_MAX: usize = 512;
    let mut framer = EventFramer::new(EVENT_BYTES_MAX);
    let whole = framer.feed(data);
    let parsed = read_events(data, EVENT_BYTES_MAX, usize::MAX);
    let mut boundaries = Vec::new();
    for piece in [1, 2, 3, 7] {
        let mut pieces = EventFramer::new(EVENT_BYTES_MAX);
        let (mut events, mut oversized, mut boundary) = (0, false, None);
        for (index, part) in data.chunks(piece).enumerate() {
            let fed = pieces.feed(part);
            assert!(fed.boundary.is_none_or(|at| 0 < at && at <= part.len()));
            assert!(fed.events == 0 || fed.boundary.is_some());
            events += fed.events;
            oversized |= fed.oversized;
            if let Some(at) = fed.boundary {
                boundary = Some(index * piece + at);
                boundaries.extend(boundary.filter(|_| piece == 1));
            }
        }
        assert_eq!((events, boundary, oversized), (whole.events, whole.boundary, whole.oversized));
        assert_eq!(pieces.at_boundary(), framer.at_boundary());
        assert_eq!(read_events(data, EVENT_BYTES_MAX, piece), parsed);
    }
    assert_eq!(framer.at_boundary(), whole.boundary.unwrap_or(0) == data.len());
    let Some((events, _)) = &parsed else { return };
    assert!(events.len() <= whole.events as usize);
    for &at in boundaries.iter().take(PREFIXES_MAX) {
        let with_comment = [&data[..at], KEEP_ALIVE, &data[at..]].concat();
        assert_eq!(
            read_events(&with_comment, EVENT_BYTES_MAX + KEEP_ALIVE.len(), usize::MAX),
            parsed,
            "at {at}"
        );
    }
}

/// Longest message that the WebSocket properties accept.
const MESSAGE_BYTES_MAX: usize = 600;

/// A message or control frame, owned: what it is, its payload (of a close, the reason), its close code.
pub(crate) type OwnedMessage = (char, Vec<u8>, Option<u16>);

/// Reads messages in pieces: those before the end or the error, and the error.
pub(crate) fn read_messages(
    role: Role,
    input: &[u8],
    piece: usize,
) -> (Vec<OwnedMessage>, Option<FrameError>) {
    let mut reader = MessageReader::new(role, MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    for mut part in input.chunks(piece) {
        loop {
            messages.push(match reader.next(&mut part) {
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(&mut part), Err(error), "errors are final");
                    return (messages, Some(error));
                }
                Ok(Some(Message::Text(text))) => {
                    assert!(core::str::from_utf8(text).is_ok());
                    ('t', text.to_vec(), None)
                }
                Ok(Some(Message::Binary(bytes))) => ('b', bytes.to_vec(), None),
                Ok(Some(Message::Ping(bytes))) => ('i', bytes.to_vec(), None),
                Ok(Some(Message::Pong(bytes))) => ('o', bytes.to_vec(), None),
                Ok(Some(Message::Close(close))) => {
                    ('c', close.reason.into(), close.code.map(websocket::CloseCode::get))
                }
            });
            assert!(messages.last().is_some_and(|(_, payload, _)| payload.len() <= MESSAGE_BYTES_MAX));
        }
        assert!(part.is_empty());
    }
    (messages, None)
}

/// Checks in pieces; offsets in the answer are of the whole input.
fn check_messages(role: Role, input: &[u8], piece: usize) -> Result<Checked, FrameError> {
    let mut check = RelayCheck::new(role, MESSAGE_BYTES_MAX as u64);
    let mut all = Checked::default();
    for (index, part) in input.chunks(piece).enumerate() {
        let checked = match check.feed(part) {
            Ok(checked) => checked,
            Err(error) => {
                assert_eq!(check.feed(b""), Err(error), "errors are final");
                return Err(error);
            }
        };
        assert!(checked.forward == part.len() || checked.closed);
        all.forward += checked.forward;
        all.boundary = checked.boundary.map(|at| index * piece + at).or(all.boundary);
        all.messages += checked.messages;
        all.heartbeats += checked.heartbeats;
        all.closed = checked.closed;
    }
    assert_eq!(check.at_boundary(), all.boundary.unwrap_or(0) == all.forward);
    Ok(all)
}

/// Decodes frames in pieces and writes them again: lengths are minimal, so that the same bytes must come out.
fn rewrite_frames(role: Role, input: &[u8], piece: usize) -> Result<Vec<u8>, FrameError> {
    let mut decoder = FrameDecoder::new(role);
    let mut out = Vec::new();
    let mut frame: Option<(FrameHeader, u64)> = None;
    for mut part in input.chunks(piece) {
        while !part.is_empty() {
            let decoded = decoder.decode(part)?;
            assert!(decoded.consumed > 0 && decoded.payload.end == decoded.consumed, "no progress");
            if let Some(header) = decoded.header {
                out.extend_from_slice(&websocket::frame_header(&header));
                frame = Some((header, 0));
            }
            if let Some((header, seen)) = &mut frame {
                assert!(decoded.payload.is_empty() || decoded.payload_offset == *seen);
                *seen += decoded.payload.len() as u64;
                assert_eq!(decoded.ended, *seen == header.payload_len);
            }
            out.extend_from_slice(&part[decoded.payload]);
            if decoded.ended {
                frame = None;
                assert!(decoder.at_boundary());
            } else {
                assert_eq!(decoded.consumed, part.len());
            }
            part = &part[decoded.consumed..];
        }
    }
    Ok(out)
}

/// Any split gives the same messages, and the relay's check agrees with the reader. The first byte chooses the role.
pub(crate) fn websocket(data: &[u8]) {
    let Some((choice, input)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let whole = read_messages(role, input, usize::MAX);
    let checked = check_messages(role, input, usize::MAX);
    let rewritten = rewrite_frames(role, input, usize::MAX);
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_messages(role, input, piece), whole);
        assert_eq!(check_messages(role, input, piece), checked);
        assert_eq!(rewrite_frames(role, input, piece), rewritten);
    }
    let (messages, error) = whole;
    let of_kind = |kinds: &str| messages.iter().filter(|(kind, ..)| kinds.contains(*kind)).count();
    match checked {
        Ok(checked) => {
            assert_eq!(error, None);
            assert_eq!(checked.messages as usize, of_kind("tb"));
            assert_eq!(checked.heartbeats as usize, of_kind("io"));
            assert_eq!(checked.closed, of_kind("c") == 1);
            assert!(checked.forward == input.len() || checked.closed);
            if !checked.closed {
                check_rewritten(&rewritten.expect("the check knows more rules"), input);
            }
        }
        // The reader looks into a close frame only once it is whole.
        Err(early @ (FrameError::CloseCodeInvalid | FrameError::CloseReasonNotUtf8)) => {
            assert!(error.is_none_or(|error| error == early));
        }
        Err(early) => assert_eq!(error, Some(early)),
    }
    check_text_and_mask(*choice, input);
}

/// A header that is cut off is not written again.
fn check_rewritten(rewritten: &[u8], input: &[u8]) {
    assert!(input.starts_with(rewritten));
    assert!(input.len() - rewritten.len() < websocket::HEADER_BYTES_MAX);
}

/// UTF-8 is judged as the standard library does, in pieces too; masking twice changes nothing.
fn check_text_and_mask(seed: u8, input: &[u8]) {
    for piece in [1, 2, 5] {
        let mut check = Utf8Check::new();
        let fed = input.chunks(piece).try_for_each(|part| check.feed(part));
        assert_eq!(fed.is_ok() && check.is_complete(), core::str::from_utf8(input).is_ok());
    }
    let key = [seed, !seed, seed.rotate_left(3), 7];
    let mut masked = input.to_vec();
    let cut = usize::from(seed) % (input.len() + 1);
    let (head, tail) = masked.split_at_mut(cut);
    websocket::apply_mask(head, key, 0);
    websocket::apply_mask(tail, key, cut as u64);
    websocket::apply_mask(&mut masked, key, 0);
    assert_eq!(masked, input);
}

/// The scan agrees with `serde_json` about what JSON is and what it says; parts never contradict the whole.
pub(crate) fn jsonrpc(data: &[u8]) {
    let limits = ScanLimits::default();
    let scanned = jsonrpc::scan(data, &limits);
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    match scanned {
        Ok(scan) if scan.complete => {
            assert!(is_json, "accepted what serde_json refuses");
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
                check_against(&scan, &value);
            }
        }
        Ok(_) => assert!(!is_json, "found a whole message incomplete"),
        Err(ScanError::TooDeep | ScanError::DuplicateKey | ScanError::NotUtf8) => {}
        Err(ScanError::Syntax | ScanError::TrailingData) => {
            assert!(!is_json, "refused what serde_json accepts")
        }
    }
    let Ok(whole) = scanned else { return };
    for len in prefixes(data.len()) {
        let part =
            jsonrpc::scan(&data[..len], &limits).expect("a part of an acceptable message is acceptable");
        assert!(part.method.is_none() || part.method == whole.method);
        assert!(part.id.is_none() || part.id == whole.id);
        assert!(part.name.is_none() || part.name == whole.name);
        assert!(part.uri.is_none() || part.uri == whole.uri);
    }
    if whole.kind == Kind::Batch && whole.complete {
        let elements =
            jsonrpc::batch_items(data, &limits).collect::<Result<Vec<_>, _>>().expect("a checked array");
        let values = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(data).expect("a checked array");
        assert_eq!(elements.len(), values.len());
    }
}

fn check_against(scan: &jsonrpc::Scan<'_>, value: &serde_json::Value) {
    let text = |found: Option<jsonrpc::Str<'_>>, value: Option<&serde_json::Value>| {
        let expected = value.and_then(serde_json::Value::as_str);
        assert_eq!(found.is_some(), expected.is_some());
        if let (Some(found), Some(expected)) = (found, expected) {
            assert!(found.means(expected));
            let mut buf = vec![0; found.raw().len()];
            assert_eq!(found.unescape_into(&mut buf), Ok(expected));
            assert!(found.as_plain().is_none_or(|plain| plain == expected));
        }
    };
    if value.is_object() {
        let params = value.get("params").filter(|params| params.is_object());
        let param = |name: &str| params.and_then(|params| params.get(name));
        text(scan.method, value.get("method"));
        text(scan.name, param("name"));
        text(scan.uri, param("uri"));
        text(scan.task_id, param("taskId"));
        let version = param("_meta").and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"));
        text(
            scan.protocol_version,
            version.filter(|text| text.is_string()).or_else(|| param("protocolVersion")),
        );
        assert_eq!(scan.params.is_some(), params.is_some());
        assert_eq!(scan.has_error, value.get("error").is_some());
        match scan.id {
            None => {
                assert!(value.get("id").is_none_or(|id| id.is_object() || id.is_array() || id.is_boolean()))
            }
            Some(Id::Null) => assert!(value["id"].is_null()),
            Some(Id::Number(_)) => assert!(value["id"].is_number()),
            Some(Id::String(id)) => text(Some(id), value.get("id")),
        }
    }
    let expected = match value {
        serde_json::Value::Array(_) => Kind::Batch,
        value if value.get("jsonrpc").and_then(|version| version.as_str()) != Some("2.0") => Kind::Invalid,
        value => {
            let has = |key: &str| value.get(key).is_some();
            let has_id = value.get("id").is_some_and(|id| id.is_string() || id.is_number());
            let no_id = value.get("id").is_none_or(serde_json::Value::is_null);
            match (has("method"), has("result"), has("error")) {
                (true, false, false) if !value["method"].is_string() => Kind::Invalid,
                (true, false, false) if has_id => Kind::Request,
                (true, false, false) if !has("id") => Kind::Notification,
                (false, true, false) if has_id => Kind::Response,
                (false, false, true) if has_id || no_id => Kind::Response,
                _ => Kind::Invalid,
            }
        }
    };
    assert_eq!(scan.kind, expected);
}

/// Up to [`PREFIXES_MAX`] lengths below `len`, evenly spread, the last ones always.
fn prefixes(len: usize) -> impl Iterator<Item = usize> {
    let step = len.div_ceil(PREFIXES_MAX / 2).max(1);
    (0..len).step_by(step).chain(len.saturating_sub(PREFIXES_MAX / 2)..len)
}
