//! JSON-RPC over a bare TCP connection, a line a message: the reply is the line with the request's `id`.
//!
//! Owns: that exchange. Lines of the server's own (notifications, requests) are read over; a reply to anything else is
//! garbage, after which the connection is opened anew.

use std::rc::Rc;

use erlmcp_ring::{RecvMode, Time};

use super::Link;
use super::rpc::{Call, CallId, Heard, Ids, judge, next_id};
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::McpCall;

/// What is sent, computed once.
pub(crate) struct Script {
    calls: Vec<Call>,
}

impl Script {
    /// # Errors
    /// Calls that JSON-RPC has no place for.
    pub(crate) fn new<'c>(calls: impl IntoIterator<Item = &'c McpCall>) -> Result<Self, String> {
        let line = |call| {
            let mut call = Call::new(call)?;
            call.after.push(b'\n');
            Ok(call)
        };
        let calls = calls.into_iter().map(line).collect::<Result<Vec<_>, String>>()?;
        if calls.is_empty() {
            return Err("the mix of calls is empty: name at least one".to_owned());
        }
        Ok(Self { calls })
    }
}

/// A client that keeps its connection.
pub(crate) struct Calling {
    script: Rc<Script>,
    link: Option<Link>,
    ids: Option<Ids>,
}

impl Calling {
    pub(crate) const fn new(script: Rc<Script>) -> Self {
        Self { script, link: None, ids: None }
    }

    /// Unread lines are no hindrance: the server may say something unasked.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.has_ended())
    }

    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        self.link = None;
        self.link = Some(Link::open(seat, RecvMode::Small).await?);
        Ok(())
    }

    #[inline]
    pub(crate) async fn exchange(&mut self, seat: &Seat, request: usize) -> Result<Time, ErrorKind> {
        let Some(link) = &mut self.link else { return Err(ErrorKind::Closed) };
        let Some(call) = self.script.calls.get(request) else { return Err(ErrorKind::Garbage) };
        let id = next_id(&mut self.ids, seat);
        let reply = async {
            link.send_parts(&[&call.before, id.text(), &call.after]).await?;
            seat.sending();
            read_reply(link, id).await
        };
        match reply.await {
            Ok(result) => result.map(|()| seat.now()),
            Err(kind) => {
                self.link = None;
                Err(kind)
            }
        }
    }
}

/// Reads lines up to the reply.
async fn read_reply(link: &mut Link, id: CallId) -> Result<Result<(), ErrorKind>, ErrorKind> {
    // What was looked through for a line end before.
    let mut seen = 0;
    loop {
        let bytes = link.bytes();
        let Some(len) = bytes[seen..].iter().position(|&byte| byte == b'\n').map(|at| seen + at) else {
            seen = bytes.len();
            if link.more().await? {
                continue;
            }
            return Err(ErrorKind::Closed);
        };
        let line = bytes[..len].trim_ascii_end();
        let heard = if line.is_empty() { Heard::Aside } else { judge(line, id)? };
        link.consume(len + 1);
        seen = 0;
        if let Heard::Reply(result) = heard {
            return Ok(result);
        }
    }
}
