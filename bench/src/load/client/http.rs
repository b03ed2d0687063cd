//! HTTP/1.1: keep-alive clients with a mix of precomputed requests, and clients that open a connection for each.
//!
//! Owns: the exchange of one request and its reply; bodies of any framing are counted and dropped. Replies are parsed
//! by `erlmcp_proto` as strictly as the gateway does: what that refuses is garbage here too.

use std::rc::Rc;
use std::time::Duration;

use erlmcp_proto::http1::{
    BodyDecoder, Framing, HeadLimits, HeaderSlots, Method, Response, is_token, parse_response,
};
use erlmcp_ring::{RecvMode, Time};

use super::Link;
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::{Http, Target};

/// Sizes that a reply's head may have.
pub(crate) const REPLY_LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 64 * 1024, headers_max: 128, target_bytes_max: 0 };
/// Interim replies before the final one; a server that sends more misbehaves.
const INTERIM_MAX: u8 = 16;
/// Bodies from this length on go into large buffers.
pub(super) const LARGE_BODY: u64 = 8 * 1024;
/// How long a client awaits the close that it asked for, before it resets the connection.
const CLOSE_WAIT: Duration = Duration::from_millis(5);

/// What is sent, computed once.
pub(crate) struct Script {
    requests: Vec<(Vec<u8>, Method)>,
}

impl Script {
    /// # Errors
    /// What cannot be written as a request.
    pub(crate) fn new(target: &Target, requests: &[&Http], closing: bool) -> Result<Self, String> {
        if requests.is_empty() {
            return Err("the mix of requests is empty: name at least one".to_owned());
        }
        let written =
            |http: &&Http| Ok((write_request(target, http, closing)?, Method::from_text(&http.method)));
        requests.iter().map(written).collect::<Result<_, String>>().map(|requests| Self { requests })
    }
}

/// A whole request, head and body.
///
/// # Errors
/// A part that would break the request's framing.
pub(crate) fn write_request(target: &Target, http: &Http, closing: bool) -> Result<Vec<u8>, String> {
    let bodyless = matches!(http.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS");
    let body_len = Some(http.body.len()).filter(|len| *len > 0 || !bodyless);
    let mut head = write_head(target, &http.method, &http.path, &http.headers, body_len)?;
    if closing {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&http.body);
    Ok(bytes)
}

/// A head without the empty line that ends it; an empty `path` takes the target's.
///
/// # Errors
/// See [`write_request`].
pub(super) fn write_head(
    target: &Target,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body_len: Option<usize>,
) -> Result<String, String> {
    if !is_token(method.as_bytes()) {
        return Err(format!("the method {method:?} is no HTTP token"));
    }
    let path = if path.is_empty() { &target.path } else { path };
    let path = if path.is_empty() { "/" } else { path };
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("the path {path:?} has white space or control characters: encode them with %"));
    }
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", target.host);
    for (name, value) in headers {
        let broken = value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        if !is_token(name.as_bytes()) || broken {
            return Err(format!("the header {name:?} with the value {value:?} cannot be sent in one line"));
        }
        refuse_own(name, &["host", "content-length", "transfer-encoding"])?;
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(len) = body_len {
        head.push_str(&format!("Content-Length: {len}\r\n"));
    }
    Ok(head)
}

/// # Errors
/// The user gave a header that is among the generator's `own`.
pub(super) fn refuse_own(name: &str, own: &[&str]) -> Result<(), String> {
    match own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        true => Err(format!("the header {name:?} is written by the generator itself: leave it out")),
        false => Ok(()),
    }
}

/// What the head of a reply says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyHead {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) is_event_stream: bool,
    len: usize,
    interim: bool,
}

/// The head at the start of `bytes`, if it is whole.
#[inline]
fn parse_head<T>(
    bytes: &[u8],
    method: Method,
    look: impl Fn(&Response<'_>) -> T,
) -> Result<Option<(ReplyHead, T)>, ErrorKind> {
    let mut slots = HeaderSlots::new();
    let parsed = parse_response(bytes, &mut slots, &REPLY_LIMITS, method).map_err(|_| ErrorKind::Garbage)?;
    Ok(parsed.map(|response| {
        let head = ReplyHead {
            status: response.status,
            framing: response.framing,
            keep_alive: response.keep_alive,
            is_event_stream: response.is_event_stream,
            len: response.head_len,
            interim: response.is_interim(),
        };
        (head, look(&response))
    }))
}

/// Reads a reply's head and consumes it; interim ones before it are dropped. `look` sees it whole. The reply may be 101.
#[inline]
pub(super) async fn read_head_with<T>(
    link: &mut Link,
    method: Method,
    look: impl Fn(&Response<'_>) -> T,
) -> Result<(ReplyHead, T), ErrorKind> {
    let mut interim = 0;
    loop {
        let head = if link.bytes().is_empty() { None } else { parse_head(link.bytes(), method, &look)? };
        match head {
            Some((head, _)) if head.interim && interim < INTERIM_MAX => {
                interim += 1;
                link.consume(head.len);
            }
            Some((head, _)) if head.interim => return Err(ErrorKind::Garbage),
            Some((head, seen)) => {
                link.consume(head.len);
                return Ok((head, seen));
            }
            None if link.more().await? => {}
            None => return Err(ErrorKind::Closed),
        }
    }
}

/// As [`read_head_with`], for a request that asked for no upgrade.
#[inline]
pub(super) async fn read_head(link: &mut Link, method: Method) -> Result<ReplyHead, ErrorKind> {
    let (head, ()) = read_head_with(link, method, |_| ()).await?;
    if head.status == 101 { Err(ErrorKind::Garbage) } else { Ok(head) }
}

/// Reads a body to its end and drops it.
pub(super) async fn drop_body(link: &mut Link, framing: Framing) -> Result<(), ErrorKind> {
    let mut body = BodyDecoder::new(framing);
    while !body.is_done() {
        let decoded = body.decode(link.bytes()).map_err(|_| ErrorKind::Garbage)?;
        link.consume(decoded.consumed);
        if !decoded.done && link.bytes().is_empty() && !link.more().await? {
            return body.finish().map_err(|_| ErrorKind::Closed);
        }
    }
    Ok(())
}

/// A client that keeps its connection.
pub(crate) struct Keeping {
    script: Rc<Script>,
    link: Option<Link>,
    /// Replies are long enough for large buffers.
    large: bool,
}

impl Keeping {
    pub(crate) fn new(script: Rc<Script>) -> Self {
        Self { script, link: None, large: false }
    }

    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_usable)
    }

    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        self.link = None;
        let mode = if self.large { RecvMode::Large } else { RecvMode::Small };
        self.link = Some(Link::open(seat, mode).await?);
        Ok(())
    }

    #[inline]
    pub(crate) async fn exchange(&mut self, seat: &Seat, request: usize) -> Result<Time, ErrorKind> {
        let Some(link) = &mut self.link else { return Err(ErrorKind::Closed) };
        let Some((bytes, method)) = self.script.requests.get(request) else { return Err(ErrorKind::Garbage) };
        let reply = async {
            link.send(bytes).await?;
            seat.sending();
            let head = read_head(link, *method).await?;
            if !self.large && matches!(head.framing, Framing::Length(LARGE_BODY..)) {
                self.large = true;
                link.prefer_large();
            }
            drop_body(link, head.framing).await?;
            // Bytes beyond the reply are nobody's reply.
            if link.bytes().is_empty() { Ok(head) } else { Err(ErrorKind::Garbage) }
        };
        let reply = reply.await;
        if reply.is_ok_and(|head| head.keep_alive) {
            // Stays.
        } else {
            self.link = None;
        }
        finished(seat, reply)
    }
}

fn finished(seat: &Seat, reply: Result<ReplyHead, ErrorKind>) -> Result<Time, ErrorKind> {
    match reply {
        Ok(head) if head.status >= 400 => Err(ErrorKind::Refused),
        Ok(_) => Ok(seat.now()),
        Err(kind) => Err(kind),
    }
}

/// A client that opens a connection for each request.
pub(crate) struct Opening {
    script: Rc<Script>,
    /// The last one, which the server was asked to close: who closes first keeps the port, and that should not be us.
    closing: Option<Link>,
}

impl Opening {
    pub(crate) fn new(script: Rc<Script>) -> Self {
        Self { script, closing: None }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.closing.as_ref().is_none_or(Link::has_ended)
    }

    /// Waits a little for the server's close; at first, shows that the target accepts connections at all.
    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        match self.closing.take() {
            Some(mut link) => {
                seat.deadline_in(CLOSE_WAIT);
                if !matches!(link.more().await, Ok(false)) {
                    link.reset_on_close();
                }
                Ok(())
            }
            None => Link::open(seat, RecvMode::Small).await.map(|link| link.reset_on_close()),
        }
    }

    pub(crate) async fn exchange(&mut self, seat: &Seat) -> Result<Time, ErrorKind> {
        self.closing = None;
        let Some((bytes, method)) = self.script.requests.first() else { return Err(ErrorKind::Garbage) };
        seat.sending();
        let mut link = Link::open(seat, RecvMode::Small).await?;
        let reply = async {
            link.send(bytes).await?;
            let head = read_head(&mut link, *method).await?;
            drop_body(&mut link, head.framing).await?;
            Ok(head)
        };
        let reply = finished(seat, reply.await);
        if reply.is_ok() {
            self.closing = Some(link);
        } else {
            link.reset_on_close();
        }
        reply
    }
}
