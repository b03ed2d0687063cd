//! MCP over Streamable HTTP, both eras; a virtual client is an MCP client.
//!
//! Owns: sessions (2025-11-25) and mirrored headers (2026-07-28), and the exchange of one call and its reply, which is
//! one JSON text or the event with the call's id. Never does: answering what a server asks (no capability is declared),
//! GET streams, resuming. A result with `isError` is a reply: the tool failed, not the protocol.
//!
//! - A session outlives its connection. It ends with a `DELETE` after so many requests, or with the server's 404
//!   ([`ErrorKind::SessionLost`]); the next request begins another, whose `initialize` is recorded beside the mix.
//! - A streamed reply ends with its event. The client then awaits the stream's end a little, so that the connection can be
//!   used again, else it closes it: servers should end such a stream, but need not.

use std::rc::Rc;
use std::time::Duration;

use erlmcp_proto::http1::{BodyDecoder, Framing, Method, Response};
use erlmcp_proto::jsonrpc::mcp::{Method as McpMethod, Mirror, Version, encode_header_value};
use erlmcp_proto::sse::{EVENT_BYTES_MAX_DEFAULT, EventParser};
use erlmcp_ring::{RecvMode, Time};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Link;
use super::clock::EventClock;
use super::http::{LARGE_BODY, ReplyHead, drop_body, read_head_with, refuse_own, write_head};
use super::rpc::{Call, CallId, Heard, Ids, judge, next_id};
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::{Era, Mcp, McpCall, Target};

/// Longest reply in memory.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// How long the end of a stream is awaited once it has brought the reply.
const STREAM_END_WAIT: Duration = Duration::from_millis(100);
/// Memory kept for the next reply.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Headers that are not the user's.
const OWN_HEADERS: [&str; 6] =
    ["accept", "content-type", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"];

/// What is sent, computed once.
pub(crate) struct Script {
    era: Era,
    calls: Vec<Post>,
    initialize: Post,
    /// A notification: it has no id.
    initialized: Post,
    /// Head of a `DELETE`, without its last fields.
    end: Vec<u8>,
    /// Requests of a session; 0 is no limit.
    session_requests: u32,
    /// Where `initialize` is recorded.
    initialize_record: usize,
}

/// A message with its head. The session's fields, and the empty line, go between the two.
struct Post {
    head: Vec<u8>,
    call: Call,
}

impl Script {
    /// # Errors
    /// Headers or calls that cannot be sent.
    pub(crate) fn new(target: &Target, mcp: &Mcp) -> Result<Self, String> {
        if mcp.calls.is_empty() {
            return Err("the mix of calls is empty: name at least one".to_owned());
        }
        mcp.headers.iter().try_for_each(|(name, _)| refuse_own(name, &OWN_HEADERS))?;
        let post = |call: Call, len: usize, mirrored: &str| {
            let mut head = write_head(target, "POST", "", &mcp.headers, Some(len))?;
            head.push_str("Content-Type: application/json\r\n");
            head.push_str("Accept: application/json, text/event-stream\r\n");
            head.push_str(mirrored);
            Ok(Post { head: head.into_bytes(), call })
        };
        let request = |call: &McpCall, mirrored: &str| {
            let call = Call::new(call)?;
            let len = call.len();
            post(call, len, mirrored)
        };
        let calls = mcp.calls.iter().map(|entry| match mcp.era {
            Era::Sessions => request(&entry.what, ""),
            Era::Stateless => request(&with_meta(&entry.what)?, &mirrored(&entry.what)?),
        });
        let notification = Call {
            before: br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec(),
            after: Vec::new(),
        };
        let notification_len = notification.before.len();
        Ok(Self {
            era: mcp.era,
            calls: calls.collect::<Result<_, String>>()?,
            initialize: request(&initialize(), "")?,
            initialized: post(notification, notification_len, "")?,
            end: write_head(target, "DELETE", "", &mcp.headers, None)?.into_bytes(),
            session_requests: mcp.session_requests,
            initialize_record: mcp.calls.len(),
        })
    }
}

fn client_info() -> Value {
    json!({"name": "erlmcp-bench", "version": env!("CARGO_PKG_VERSION")})
}

fn initialize() -> McpCall {
    let version = Version::V2025_11_25.as_str();
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client_info()});
    McpCall { method: McpMethod::Initialize.as_str().to_owned(), params }
}

/// The call with the `_meta` that a stateless request must carry; what the user put there stays.
fn with_meta(call: &McpCall) -> Result<McpCall, String> {
    let mut params = match &call.params {
        Value::Null => Map::new(),
        Value::Object(params) => params.clone(),
        _ => return Err(format!("the params of {:?} are no object: MCP takes nothing else", call.method)),
    };
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    let Value::Object(meta) = meta else {
        return Err(format!("the _meta of {:?} is no object: MCP takes nothing else", call.method));
    };
    for (key, value) in [
        ("protocolVersion", Value::from(Version::V2026_07_28.as_str())),
        ("clientInfo", client_info()),
        ("clientCapabilities", json!({})),
    ] {
        meta.entry(format!("io.modelcontextprotocol/{key}")).or_insert(value);
    }
    Ok(McpCall { method: call.method.clone(), params: Value::Object(params) })
}

/// The header fields that repeat parts of a stateless call.
fn mirrored(call: &McpCall) -> Result<String, String> {
    let version = Version::V2026_07_28.as_str();
    let method = encode_header_value(&call.method);
    let mut fields = format!("MCP-Protocol-Version: {version}\r\nMcp-Method: {method}\r\n");
    let key = match McpMethod::from_bytes(call.method.as_bytes()).mirror() {
        Mirror::None => return Ok(fields),
        Mirror::Name => "name",
        Mirror::Uri => "uri",
        Mirror::TaskId => "taskId",
    };
    match call.params.get(key).and_then(Value::as_str) {
        Some(name) => {
            fields.push_str(&format!("Mcp-Name: {}\r\n", encode_header_value(name)));
            Ok(fields)
        }
        None => Err(format!("{:?} needs a text as its parameter {key:?}", call.method)),
    }
}

/// A session that the server knows.
struct Session {
    /// Its header fields, and the empty line that ends a head.
    fields: Vec<u8>,
    /// The server named it: it can be ended, and lost.
    has_id: bool,
    requests: u32,
}

/// What `initialize` answers, as far as it matters.
#[derive(Deserialize)]
struct InitializeReply {
    result: InitializeResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
}

/// The end of an exchange that leaves no doubt about the connection.
struct Ended {
    at: Time,
    result: Result<(), ErrorKind>,
    /// The connection can be used again.
    keep: bool,
}

/// An MCP client.
pub(crate) struct Client {
    script: Rc<Script>,
    link: Option<Link>,
    session: Option<Session>,
    ids: Option<Ids>,
    reading: Reading,
    /// Replies are long enough for large buffers.
    large: bool,
}

/// Room for replies that come in pieces.
struct Reading {
    text: Vec<u8>,
    events: EventParser,
}

impl Client {
    pub(crate) const fn new(script: Rc<Script>) -> Self {
        let reading = Reading { text: Vec::new(), events: EventParser::new(EVENT_BYTES_MAX_DEFAULT) };
        Self { script, link: None, session: None, ids: None, reading, large: false }
    }

    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_usable)
            && match self.script.era {
                Era::Stateless => true,
                Era::Sessions => self.session.is_some() && !self.is_session_over(),
            }
    }

    fn is_session_over(&self) -> bool {
        let limit = self.script.session_requests;
        limit > 0 && self.session.as_ref().is_some_and(|session| session.requests >= limit)
    }

    /// Connects; ends a session that is over, and begins one.
    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        if self.is_session_over() {
            self.end_session(seat).await?;
        }
        if self.script.era == Era::Sessions && self.session.is_none() {
            self.connect(seat).await?;
            let sent = seat.now();
            let begun = self.begin_session(seat).await;
            seat.aside(self.script.initialize_record, sent, begun.as_ref().map(drop).map_err(|kind| *kind));
            let session = begun?;
            // The wait for the end of a stream shortened it.
            seat.deadline_in(seat.spec().timeout);
            self.tell_initialized(seat, &session.fields).await?;
            self.session = Some(session);
        }
        self.connect(seat).await.map(drop)
    }

    #[inline]
    pub(crate) async fn exchange(&mut self, seat: &Seat, request: usize) -> Result<Time, ErrorKind> {
        // Back in place only when the next request may use it.
        let Some(mut link) = self.link.take() else { return Err(ErrorKind::Closed) };
        let script = Rc::clone(&self.script);
        let Some(post) = script.calls.get(request) else { return Err(ErrorKind::Garbage) };
        let id = next_id(&mut self.ids, seat);
        let session = self.session.as_mut().map(|session| {
            session.requests = session.requests.saturating_add(1);
            (session.fields.as_slice(), session.has_id)
        });
        let (fields, has_id) = session.unwrap_or((NO_FIELDS, false));
        link.send_parts(&[&post.head, fields, &post.call.before, id.text(), &post.call.after]).await?;
        seat.sending();
        let sent = seat.now();
        let (head, ()) = read_head_with(&mut link, Method::Post, |_| ()).await?;
        if !self.large && matches!(head.framing, Framing::Length(LARGE_BODY..)) {
            self.large = true;
            link.prefer_large();
        }
        let clock = head.is_event_stream.then(|| EventClock::begin(seat, sent, None));
        let ended = read_reply(&mut link, seat, &head, id, &mut self.reading, clock, |_| ()).await?;
        if ended.keep && link.is_usable() {
            self.link = Some(link);
        }
        if head.status == 404 && has_id {
            self.session = None;
            return Err(ErrorKind::SessionLost);
        }
        ended.result.map(|()| ended.at)
    }

    /// A connection that can be used.
    async fn connect(&mut self, seat: &Seat) -> Result<&mut Link, ErrorKind> {
        let link = match self.link.take().filter(Link::is_usable) {
            Some(link) => link,
            None => Link::open(seat, if self.large { RecvMode::Large } else { RecvMode::Small }).await?,
        };
        Ok(self.link.insert(link))
    }

    async fn begin_session(&mut self, seat: &Seat) -> Result<Session, ErrorKind> {
        let Some(mut link) = self.link.take() else { return Err(ErrorKind::Closed) };
        let Post { head, call } = &self.script.initialize;
        let id = next_id(&mut self.ids, seat);
        link.send_parts(&[head, NO_FIELDS, &call.before, id.text(), &call.after]).await?;
        let (head, session_id) = read_head_with(&mut link, Method::Post, session_id).await?;
        let session_id = session_id?;
        let mut version = None;
        let look = |reply: &[u8]| version = negotiated(reply);
        let ended = read_reply(&mut link, seat, &head, id, &mut self.reading, None, look).await?;
        if ended.keep && link.is_usable() {
            self.link = Some(link);
        }
        ended.result?;
        let version = version.ok_or(ErrorKind::Garbage)?;
        let mut fields = format!("MCP-Protocol-Version: {}\r\n", version.as_str());
        if let Some(id) = &session_id {
            fields.push_str(&format!("Mcp-Session-Id: {id}\r\n"));
        }
        fields.push_str("\r\n");
        Ok(Session { fields: fields.into_bytes(), has_id: session_id.is_some(), requests: 0 })
    }

    async fn tell_initialized(&mut self, seat: &Seat, fields: &[u8]) -> Result<(), ErrorKind> {
        let script = Rc::clone(&self.script);
        let Post { head, call } = &script.initialized;
        match self.tell(seat, Method::Post, &[head, fields, &call.before]).await? {
            400.. => Err(ErrorKind::Refused),
            _ => Ok(()),
        }
    }

    /// A server that does not let clients end sessions says so with 405: the session is forgotten all the same.
    async fn end_session(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        let Some(session) = self.session.take() else { return Ok(()) };
        if session.has_id {
            let script = Rc::clone(&self.script);
            let method = Method::from_text("DELETE");
            self.tell(seat, method, &[&script.end, &session.fields]).await?;
        }
        Ok(())
    }

    /// Sends what has no reply of its own but a status, which is returned.
    async fn tell(&mut self, seat: &Seat, method: Method, parts: &[&[u8]]) -> Result<u16, ErrorKind> {
        self.connect(seat).await?;
        let Some(mut link) = self.link.take() else { return Err(ErrorKind::Closed) };
        link.send_parts(parts).await?;
        let (head, ()) = read_head_with(&mut link, method, |_| ()).await?;
        drop_body(&mut link, head.framing).await?;
        if head.keep_alive && link.is_usable() {
            self.link = Some(link);
        }
        Ok(head.status)
    }
}

/// Ends the head of a request outside of any session.
const NO_FIELDS: &[u8] = b"\r\n";

/// The session that a reply's head names. It goes into heads: anything but visible ASCII is refused, as MCP does.
fn session_id(response: &Response<'_>) -> Result<Option<String>, ErrorKind> {
    let Some(id) = response.headers.get("Mcp-Session-Id") else { return Ok(None) };
    if id.is_empty() || !id.iter().all(u8::is_ascii_graphic) {
        return Err(ErrorKind::Garbage);
    }
    std::str::from_utf8(id).map(|id| Some(id.to_owned())).map_err(|_| ErrorKind::Garbage)
}

/// The revision that the server chose, among those that have sessions.
fn negotiated(reply: &[u8]) -> Option<Version> {
    let reply: InitializeReply = serde_json::from_slice(reply).ok()?;
    Version::from_bytes(reply.result.protocol_version.as_bytes()).filter(|version| !version.is_modern())
}

/// Reads the rest of a reply, whatever its form. `look` sees the message that is the reply.
async fn read_reply(
    link: &mut Link,
    seat: &Seat,
    head: &ReplyHead,
    id: CallId,
    reading: &mut Reading,
    clock: Option<EventClock>,
    look: impl FnMut(&[u8]),
) -> Result<Ended, ErrorKind> {
    if head.status >= 400 {
        drop_body(link, head.framing).await?;
        return Ok(Ended { at: seat.now(), result: Err(ErrorKind::Refused), keep: head.keep_alive });
    }
    // A call has a reply: an empty 202 is none.
    if head.status != 200 {
        return Err(ErrorKind::Garbage);
    }
    let mut ended = if head.is_event_stream {
        read_events(link, seat, head.framing, id, &mut reading.events, clock, look).await?
    } else {
        read_text(link, seat, head.framing, id, &mut reading.text, look).await?
    };
    ended.keep &= head.keep_alive;
    Ok(ended)
}

/// Reads a reply that is one JSON text.
async fn read_text(
    link: &mut Link,
    seat: &Seat,
    framing: Framing,
    id: CallId,
    text: &mut Vec<u8>,
    mut look: impl FnMut(&[u8]),
) -> Result<Ended, ErrorKind> {
    let mut heard = |message: &[u8]| match judge(message, id)? {
        Heard::Reply(result) => {
            look(message);
            Ok(Ended { at: seat.now(), result, keep: true })
        }
        Heard::Aside => Err(ErrorKind::Garbage),
    };
    // The usual case: all of it lies in one piece.
    if let Framing::Length(len) = framing
        && let Some(whole) = usize::try_from(len).ok().and_then(|len| link.bytes().get(..len))
    {
        let ended = heard(whole)?;
        link.consume(whole.len());
        return Ok(ended);
    }
    text.clear();
    if text.capacity() > KEPT_BYTES_MAX {
        *text = Vec::new();
    }
    let mut body = BodyDecoder::new(framing);
    while !body.is_done() {
        let decoded = body.decode(link.bytes()).map_err(|_| ErrorKind::Garbage)?;
        text.extend_from_slice(&link.bytes()[decoded.data]);
        link.consume(decoded.consumed);
        if text.len() > REPLY_BYTES_MAX {
            return Err(ErrorKind::Garbage);
        }
        if !decoded.done && link.bytes().is_empty() && !link.more().await? {
            body.finish().map_err(|_| ErrorKind::Closed)?;
        }
    }
    heard(text)
}

/// Reads a reply that is an event of a stream.
async fn read_events(
    link: &mut Link,
    seat: &Seat,
    framing: Framing,
    id: CallId,
    events: &mut EventParser,
    mut clock: Option<EventClock>,
    mut look: impl FnMut(&[u8]),
) -> Result<Ended, ErrorKind> {
    events.restart();
    let mut body = BodyDecoder::new(framing);
    let mut reply: Option<Ended> = None;
    loop {
        let decoded = body.decode(link.bytes()).map_err(|_| ErrorKind::Garbage)?;
        let mut data = &link.bytes()[decoded.data];
        while let Some(event) = events.next(&mut data).map_err(|_| ErrorKind::Garbage)? {
            // An event without data primes resumption: it says nothing.
            if event.data.is_empty() {
                continue;
            }
            if let Some(clock) = &mut clock {
                clock.heard(seat, 1);
            }
            match judge(event.data, id)? {
                Heard::Aside => {}
                Heard::Reply(_) if reply.is_some() => return Err(ErrorKind::Garbage),
                Heard::Reply(result) => {
                    look(event.data);
                    reply = Some(Ended { at: seat.now(), result, keep: true });
                    seat.deadline_in(STREAM_END_WAIT);
                }
            }
        }
        link.consume(decoded.consumed);
        if decoded.done {
            return reply.ok_or(ErrorKind::Closed);
        }
        if !link.bytes().is_empty() {
            continue;
        }
        match (link.more().await, reply) {
            (Ok(true), before) => reply = before,
            // The stream need not end well, or at all, once it has brought the reply.
            (_, Some(ended)) => return Ok(Ended { keep: false, ..ended }),
            (Ok(false), None) => return Err(ErrorKind::Closed),
            (Err(kind), None) => return Err(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            url: "http://x/mcp".to_owned(),
            addrs: Vec::new(),
            host: "x".to_owned(),
            path: "/mcp".to_owned(),
        }
    }

    fn script(era: Era, call: McpCall, headers: &[(&str, &str)]) -> Result<Script, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let calls = vec![crate::load::spec::Request { name: "call".to_owned(), weight: 1, what: call }];
        Script::new(&target(), &Mcp { era, headers, calls, session_requests: 0 })
    }

    fn call(method: &str, params: Value) -> McpCall {
        McpCall { method: method.to_owned(), params }
    }

    fn whole(post: &Post) -> (String, Value) {
        let body = [&post.call.before, Ids::new(0).next().text(), &post.call.after].concat();
        let head = String::from_utf8(post.head.clone()).expect("ASCII");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        (head, serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn a_stateless_call_carries_its_meta_and_mirrors_it() {
        let params = json!({"name": "grüß", "arguments": {}, "_meta": {"progressToken": 1}});
        let script = script(Era::Stateless, call("tools/call", params), &[("Authorization", "Bearer x")]);
        let script = script.expect("a good script");
        let (head, body) = whole(&script.calls[0]);
        assert!(head.starts_with("POST /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n"), "{head}");
        for field in [
            "Accept: application/json, text/event-stream\r\n",
            "MCP-Protocol-Version: 2026-07-28\r\n",
            "Mcp-Method: tools/call\r\n",
            "Mcp-Name: =?base64?Z3LDvMOf?=\r\n",
        ] {
            assert!(head.contains(field), "{field:?} is missing in {head}");
        }
        let meta = &body["params"]["_meta"];
        assert_eq!(meta["progressToken"], 1);
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "erlmcp-bench");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    }

    #[test]
    fn a_call_of_a_session_is_sent_as_it_is() {
        let script = script(Era::Sessions, call("tools/list", Value::Null), &[]).expect("a good script");
        let (head, body) = whole(&script.calls[0]);
        assert!(!head.to_ascii_lowercase().contains("mcp-"), "{head}");
        assert_eq!(body, json!({"jsonrpc": "2.0", "id": 1_000_000_001, "method": "tools/list"}));
        let (_, body) = whole(&script.initialize);
        assert_eq!(body["params"]["protocolVersion"], "2025-11-25");
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let list = || call("tools/list", Value::Null);
        let error = |made: Result<Script, String>| made.err().expect("refused");
        assert!(error(script(Era::Sessions, list(), &[("mcp-SESSION-id", "x")])).contains("mcp-SESSION-id"));
        assert!(error(script(Era::Stateless, call("tools/call", json!({})), &[])).contains("\"name\""));
        assert!(error(script(Era::Stateless, call("tools/list", json!([])), &[])).contains("no object"));
        assert!(error(script(Era::Stateless, call("x", json!({"_meta": 1})), &[])).contains("_meta"));
        assert!(error(script(Era::Sessions, call("x", json!(1)), &[])).contains("an object or an array"));
    }

    #[test]
    fn a_revision_without_sessions_cannot_be_negotiated() {
        let reply = |version: &str| format!(r#"{{"result":{{"protocolVersion":"{version}"}}}}"#).into_bytes();
        assert_eq!(negotiated(&reply("2025-06-18")), Some(Version::V2025_06_18));
        assert_eq!(negotiated(&reply("2026-07-28")), None);
        assert_eq!(negotiated(&reply("2026-07-28\r\nX: y")), None);
        assert_eq!(negotiated(b"{}"), None);
    }
}
