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

mod reply;
mod script;

use std::rc::Rc;

use erlmcp_proto::http1::{Framing, Method, Response};
use erlmcp_proto::jsonrpc::mcp::Version;
use erlmcp_ring::{RecvMode, Time};
use serde::Deserialize;

use super::Link;
use super::clock::EventClock;
use super::http::{LARGE_BODY, drop_body, read_head_with};
use super::rpc::{Ids, next_id};
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::Era;
use reply::{Reading, read_reply};
use script::Post;
pub(crate) use script::Script;

/// Ends the head of a request outside of any session.
const NO_FIELDS: &[u8] = b"\r\n";

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

impl Client {
    pub(crate) const fn new(script: Rc<Script>) -> Self {
        Self { script, link: None, session: None, ids: None, reading: Reading::new(), large: false }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_without_sessions_cannot_be_negotiated() {
        let reply = |version: &str| format!(r#"{{"result":{{"protocolVersion":"{version}"}}}}"#).into_bytes();
        assert_eq!(negotiated(&reply("2025-06-18")), Some(Version::V2025_06_18));
        assert_eq!(negotiated(&reply("2026-07-28")), None);
        assert_eq!(negotiated(&reply("2026-07-28\r\nX: y")), None);
        assert_eq!(negotiated(b"{}"), None);
    }
}
