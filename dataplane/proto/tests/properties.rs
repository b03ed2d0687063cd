//! Properties over generated and over mutated messages: round trips, splits, and agreement with naive readers.

#[expect(dead_code, reason = "the list of targets is for `replay.rs`")]
#[path = "../fuzz/harness.rs"]
mod harness;

use erlmcp_proto::http1::{
    CHUNK_TAIL, Framing, HeadLimits, HeaderSlots, LAST_CHUNK, is_forbidden_trailer, is_hop_by_hop,
    parse_request, write_chunk_head, write_decimal,
};
use erlmcp_proto::jsonrpc::mcp::{decode_header_value, encode_header_value, header_value_means};
use erlmcp_proto::jsonrpc::{Kind, ScanLimits, scan};
use erlmcp_proto::sse::write_event;
use erlmcp_proto::websocket::{
    CloseCode, DataKind, Opcode, Role, write_close, write_control, write_fragment,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}"
}

/// Names that carry no meaning for framing or routing.
fn plain_name() -> impl Strategy<Value = String> {
    token().prop_map(|name| format!("X-{name}"))
}

fn value() -> impl Strategy<Value = String> {
    "([!-~\u{e4}-\u{ff}]([ \t!-~]{0,40}[!-~])?)?"
}

/// Replaces, inserts or removes bytes.
fn mutate(bytes: &mut Vec<u8>, edits: &[(u16, u8, u8)]) {
    for &(at, kind, byte) in edits {
        let at = usize::from(at) % (bytes.len() + 1);
        match kind % 3 {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<(u16, u8, u8)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n :,;\t\0\"\\{}[]0".to_vec())];
    vec((any::<u16>(), any::<u8>(), byte), 0..4)
}

/// Whether it is text, the text, where it is cut in two, and a ping between its fragments.
type Said = (bool, String, u8, Vec<u8>);

fn conversation() -> impl Strategy<Value = Vec<Said>> {
    vec((any::<bool>(), "\\PC{0,60}", any::<u8>(), vec(any::<u8>(), 0..=125)), 0..5)
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Reads chunks as RFC 9112 section 7.1 writes them, over the whole input at once: `None` is cut off, `Some(None)` wrong.
fn naive_chunks(mut input: &[u8]) -> Option<Option<Vec<u8>>> {
    let line = |input: &mut &[u8]| -> Option<Option<Vec<u8>>> {
        let end = input.iter().position(|&b| b == b'\r' || b == b'\n')?;
        if input[end] == b'\n' {
            return Some(None);
        }
        let line = input[..end].to_vec();
        if *input.get(end + 1)? != b'\n' {
            return Some(None);
        }
        *input = &input[end + 2..];
        Some(Some(line))
    };
    let mut data = Vec::new();
    loop {
        let Some(head) = line(&mut input)? else { return Some(None) };
        let digits = head.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(head.len());
        let extension = head[digits..].trim_ascii_start();
        let has_extension = extension.first() == Some(&b';');
        let is_clean = head[digits..].iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
        let separated = head[digits..].iter().take_while(|&&b| b != b';').all(|b| b" \t".contains(b));
        if digits == 0 || digits > 15 || (digits < head.len() && !(has_extension && separated && is_clean)) {
            return Some(None);
        }
        let hex = |b: u8| char::from(b).to_digit(16).map_or(0, |digit| digit as usize);
        let size = head[..digits].iter().fold(0_usize, |size, &b| size << 4 | hex(b));
        if size == 0 {
            break;
        }
        if input.len() < size {
            return None;
        }
        data.extend_from_slice(&input[..size]);
        input = &input[size..];
        match line(&mut input)? {
            Some(empty) if empty.is_empty() => {}
            _ => return Some(None),
        }
    }
    loop {
        let Some(field) = line(&mut input)? else { return Some(None) };
        if field.is_empty() {
            return Some(Some(data));
        }
        let colon = field.iter().position(|&b| b == b':').unwrap_or(0);
        let value_ok = field[colon..].iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
        if !erlmcp_proto::http1::is_token(&field[..colon]) || !value_ok {
            return Some(None);
        }
    }
}

/// The standard's algorithm (WHATWG HTML 9.2.6) over the whole stream at once.
fn naive_events(input: &[u8]) -> Vec<harness::OwnedEvent> {
    let text: String =
        input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input).iter().map(|&b| char::from(b)).collect();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let (mut events, mut name, mut data, mut id) = (Vec::new(), String::new(), None::<String>, String::new());
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((bytes(&name), bytes(&data), bytes(&id)));
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data = Some(data.map_or_else(|| value.to_owned(), |data| data + "\n" + value)),
            "id" if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    events
}

/// JSON documents shaped like messages, and others.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let text = prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", "[\u{0}-\u{1f}\"\\\\/]{0,4}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "jsonrpc",
            "method",
            "id",
            "params",
            "result",
            "error",
            "name",
            "uri",
            "_meta",
            "protocolVersion",
            "progressToken",
            "requestId",
            "taskId",
            "io.modelcontextprotocol/protocolVersion",
            "Method",
            "ID",
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,6}",
    ];
    let any_json = leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    let message = vec(
        (any_json.clone(), prop::sample::select(vec!["id", "method", "params", "result", "error", "x"])),
        0..5,
    )
    .prop_map(|members| {
        let mut object = serde_json::Map::new();
        object.insert("jsonrpc".to_owned(), Value::from("2.0"));
        object.extend(members.into_iter().map(|(value, key)| (key.to_owned(), value)));
        Value::Object(object)
    });
    prop_oneof![message, any_json]
}

/// Writes JSON with white space and escapes where `choices` says so.
fn write_json(value: &serde_json::Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    use serde_json::Value;
    let mut pad = |out: &mut String| {
        out.push_str(
            ["", "", "", " ", "\n", "\t", "\r\n", "  "][usize::from(choices.next().unwrap_or(0) % 8)],
        )
    };
    pad(out);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, choices, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, item)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, choices, out);
                out.push(':');
                write_json(item, choices, out);
            }
            out.push('}');
        }
        Value::String(text) => write_text(text, choices, out),
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let must = c < ' ' || c == '"' || c == '\\';
        if must || choices.next().is_some_and(|choice| choice % 16 == 0) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn a_written_request_is_read_back(
        method in token(),
        path in "/[!\"$-~]{0,40}",
        fields in vec((plain_name(), value(), "[ \t]{0,3}", "[ \t]{0,3}"), 0..12),
        length in prop::option::of(0..1_u64 << 40),
        rest in vec(any::<u8>(), 0..20),
    ) {
        prop_assume!(method != "CONNECT" && method != "TRACE");
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: a.example:80\r\n");
        for (name, value, before, after) in &fields {
            head.push_str(&format!("{name}:{before}{value}{after}\r\n"));
        }
        let mut head = head.into_bytes();
        if let Some(length) = length {
            head.extend_from_slice(b"Content-Length: ");
            write_decimal(&mut head, length);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let head_len = head.len();
        head.extend_from_slice(&rest);
        let mut slots = HeaderSlots::new();
        let request = parse_request(&head, &mut slots, &HeadLimits::default()).unwrap().unwrap();
        prop_assert_eq!(request.method_text, &method);
        prop_assert_eq!(request.target.text, &path);
        prop_assert_eq!(request.target.path.len() + request.target.query.map_or(0, |query| query.len() + 1), path.len());
        prop_assert_eq!(request.head_len, head_len);
        prop_assert_eq!(request.framing, length.map_or(Framing::None, Framing::Length));
        prop_assert_eq!(request.host, Some("a.example:80"));
        let read: Vec<_> = request.headers.iter().skip(1).take(fields.len()).collect();
        let written: Vec<_> = fields.iter().map(|(name, value, ..)| (name.as_str(), value.as_bytes())).collect();
        prop_assert_eq!(read, written);
        harness::http1_request(&head);
    }

    #[test]
    fn mutated_heads_are_refused_or_read_alike(
        seed in prop::sample::select(vec![
            "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x\r\n\r\n0\r\n\r\n",
            "POST http://b/p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nhello",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ]),
        edits in edits(),
    ) {
        let mut head = seed.as_bytes().to_vec();
        mutate(&mut head, &edits);
        harness::http1_request(&head);
        let mut response = seed.replacen("POST /mcp HTTP/1.1", "0HTTP/1.1 200 OK", 1).into_bytes();
        mutate(&mut response, &edits);
        harness::http1_response(&response);
    }

    #[test]
    fn written_chunks_are_read_back(
        chunks in vec(vec(any::<u8>(), 0..50), 0..8),
        trailers in vec((token(), value()), 0..4),
        piece in 1..40_usize,
        rest in vec(any::<u8>(), 0..10),
    ) {
        let mut body = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            write_chunk_head(&mut body, chunk.len());
            body.extend_from_slice(chunk);
            body.extend_from_slice(CHUNK_TAIL);
        }
        let mut kept = Vec::new();
        if trailers.is_empty() {
            body.extend_from_slice(LAST_CHUNK);
        } else {
            body.extend_from_slice(b"0\r\n");
            for (name, value) in &trailers {
                let line = format!("{name}: {value}\r\n");
                body.extend_from_slice(line.as_bytes());
                if !is_forbidden_trailer(name) && !is_hop_by_hop(name) {
                    kept.extend_from_slice(line.as_bytes());
                }
            }
            body.extend_from_slice(b"\r\n");
        }
        let body_len = body.len();
        body.extend_from_slice(&rest);
        let read = harness::read_body(Framing::Chunked, &body, || piece);
        prop_assert_eq!(read.error, None);
        prop_assert!(read.done);
        prop_assert_eq!(read.consumed, body_len);
        prop_assert_eq!(read.data, chunks.concat());
        prop_assert_eq!(read.trailers, kept);
        prop_assert_eq!(usize::from(read.trailers_seen), trailers.len());
    }

    #[test]
    fn mutated_chunks_agree_with_a_naive_reader(
        seed in prop::sample::select(vec![
            "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-A: b\r\n\r\n",
            "0a \t;e\r\n0123456789\r\n00\r\n\r\n",
            "1\r\na\r\n1\r\nb\r\n0\r\nTrailer:\r\n\r\n",
        ]),
        edits in edits(),
        piece in 1..20_usize,
    ) {
        let mut body = seed.as_bytes().to_vec();
        mutate(&mut body, &edits);
        let read = harness::read_body(Framing::Chunked, &body, || piece);
        match naive_chunks(&body) {
            Some(Some(data)) => {
                prop_assert_eq!(read.error, None);
                prop_assert!(read.done);
                prop_assert_eq!(read.data, data);
            }
            Some(None) => prop_assert!(read.error.is_some(), "accepted {}", body.escape_ascii()),
            // The naive reader sees a wrong line only once it ends.
            None => prop_assert!(!read.done),
        }
        harness::http1_body(&[b"\x02s".as_slice(), &body].concat());
    }

    #[test]
    fn written_events_are_read_back(
        events in vec((prop::option::of("[^\r\n\0]{1,10}"), prop::option::of("[^\r\n\0]{0,10}"), "([^\r]|\r|\r\n){0,40}"), 0..6),
        piece in 1..30_usize,
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        let mut last_id = String::new();
        for (name, id, data) in &events {
            write_event(&mut stream, name.as_deref(), id.as_deref(), Some(data.as_bytes()));
            last_id = id.clone().unwrap_or(last_id);
            expected.push((name.clone().unwrap_or_default().into_bytes(), data.replace("\r\n", "\n").replace('\r', "\n").into_bytes(), last_id.clone().into_bytes()));
        }
        prop_assert_eq!(harness::read_events(&stream, 4096, piece).map(|(events, _)| events), Some(expected));
        harness::sse(&stream);
    }

    #[test]
    fn any_stream_is_read_as_the_standard_says(
        parts in vec(prop::sample::select(vec![
            "\r", "\n", "\r\n", ":", " ", "data", "data: x", "event: e", "id: 1", "id", "retry: 5", "\0", "y", "\u{feff}", "\n\n", "\r\r",
        ]), 0..40),
        piece in 1..9_usize,
    ) {
        let stream = parts.concat().into_bytes();
        harness::sse(&stream);
        let read = harness::read_events(&stream, 4096, piece).map(|(events, _)| events);
        prop_assert_eq!(read, Some(naive_events(&stream)));
    }

    #[test]
    fn the_scan_agrees_with_serde_json(value in json(), choices in vec(any::<u8>(), 0..400), edits in edits()) {
        let mut text = String::new();
        write_json(&value, &mut choices.iter().copied().cycle().take(4000), &mut text);
        let complete = scan(text.as_bytes(), &ScanLimits::default());
        // A top-level scalar number may always go on; everything else is whole.
        prop_assert!(complete.is_ok_and(|scan| scan.complete), "{}", text);
        harness::jsonrpc(text.as_bytes());
        let mut mutated = text.into_bytes();
        mutate(&mut mutated, &edits);
        harness::jsonrpc(&mutated);
    }

    #[test]
    fn an_id_and_a_method_survive_any_spelling(method in "\\PC{1,20}", id in any::<i64>(), choices in vec(any::<u8>(), 1..60)) {
        let value = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"name": method}});
        let mut text = String::new();
        write_json(&value, &mut choices.iter().copied().cycle(), &mut text);
        let scan = scan(text.as_bytes(), &ScanLimits::default()).unwrap();
        prop_assert_eq!(scan.kind, Kind::Request);
        let found = scan.method.unwrap();
        prop_assert!(found.means(&method));
        let longer = format!("{method}x");
        prop_assert!(!found.means(&longer));
        prop_assert!(header_value_means(encode_header_value(&method).as_bytes(), &scan.name.unwrap()).unwrap());
        prop_assert!(!header_value_means(encode_header_value(&longer).as_bytes(), &scan.name.unwrap()).unwrap());
    }

    #[test]
    fn header_values_round_trip(text in prop_oneof!["\\PC{0,40}", " ?[ -~]{0,20} ?", "=\\?base64\\?[A-Za-z=]{0,8}\\?="]) {
        let encoded = encode_header_value(&text);
        prop_assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)));
        prop_assert!(!encoded.starts_with(' ') && !encoded.ends_with(' '));
        prop_assert_eq!(decode_header_value(encoded.as_bytes()).unwrap(), text.as_str());
    }

    /// Each encoded text has exactly one spelling: what decodes to it is what encodes it.
    #[test]
    fn base64_is_canonical(inside in "[A-Da-d+/=]{0,12}") {
        let value = format!("=?base64?{inside}?=");
        if let Ok(text) = decode_header_value(value.as_bytes()) {
            let respelled = encode_header_value(&text);
            prop_assert!(respelled == value || respelled == text);
        }
    }

    #[test]
    fn written_messages_are_read_back(said in conversation(), role in roles(), key: [u8; 4], piece in 1..40_usize, edits in edits()) {
        let mut stream = Vec::new();
        let mask = (role == Role::Server).then_some(key);
        for (is_text, text, cut, ping) in &said {
            let kind = if *is_text { DataKind::Text } else { DataKind::Binary };
            let (head, tail) = text.as_bytes().split_at(usize::from(*cut) % (text.len() + 1));
            write_fragment(&mut stream, Some(kind), false, mask, head);
            write_control(&mut stream, Opcode::Ping, mask, ping).unwrap();
            write_fragment(&mut stream, None, true, mask, tail);
        }
        write_close(&mut stream, mask, CloseCode::new(3000), "done");
        let mut expected: Vec<harness::OwnedMessage> = Vec::new();
        for (is_text, text, _, ping) in said {
            expected.push(('i', ping, None));
            expected.push((if is_text { 't' } else { 'b' }, text.into_bytes(), None));
        }
        expected.push(('c', b"done".to_vec(), Some(3000)));
        prop_assert_eq!(harness::read_messages(role, &stream, piece), (expected, None));
        let choice = [u8::from(role == Role::Client)];
        harness::websocket(&[choice.as_slice(), &stream].concat());
        mutate(&mut stream, &edits);
        harness::websocket(&[choice.as_slice(), &stream].concat());
    }

    #[test]
    fn any_bytes_are_judged_alike_in_pieces(data in vec(any::<u8>(), 0..200)) {
        harness::websocket(&data);
    }
}
