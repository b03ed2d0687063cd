//! Event streams: each request opens one with `GET`, and holds it until its time is over or the server ends it.
//!
//! Owns: that exchange and its clock. Never does: reading what events say, or resuming a stream. The exchange ends with
//! the stream, so that requests in flight are open streams; how soon events came is in the record of streams.
//! Comments (heartbeats) are no events.

use std::rc::Rc;
use std::time::Duration;

use erlmcp_proto::http1::{BodyDecoder, Framing, Method};
use erlmcp_proto::sse::{EVENT_BYTES_MAX_DEFAULT, EventFramer};
use erlmcp_ring::{RecvMode, Time};

use super::Link;
use super::clock::EventClock;
use super::http::{drop_body, read_head, refuse_own, write_head};
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;
use crate::load::spec::Target;

/// What is sent, computed once.
pub(crate) struct Script {
    request: Vec<u8>,
    hold: Duration,
    stall: Duration,
}

impl Script {
    /// # Errors
    /// Headers that cannot be sent.
    pub(crate) fn new(
        target: &Target,
        headers: &[(String, String)],
        hold: Duration,
        stall: Duration,
    ) -> Result<Self, String> {
        headers.iter().try_for_each(|(name, _)| refuse_own(name, &["accept"]))?;
        let mut head = write_head(target, "GET", "", headers, None)?;
        head.push_str("Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n");
        Ok(Self { request: head.into_bytes(), hold, stall })
    }
}

/// A client that has one stream after the other.
pub(crate) struct Streaming {
    script: Rc<Script>,
    link: Option<Link>,
}

impl Streaming {
    pub(crate) const fn new(script: Rc<Script>) -> Self {
        Self { script, link: None }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_usable)
    }

    pub(crate) async fn prepare(&mut self, seat: &Seat) -> Result<(), ErrorKind> {
        self.link = None;
        self.link = Some(Link::open(seat, RecvMode::Small).await?);
        Ok(())
    }

    /// Ends with the stream.
    pub(crate) async fn exchange(&mut self, seat: &Seat) -> Result<Time, ErrorKind> {
        // Back in place only when the next request may use it.
        let Some(mut link) = self.link.take() else { return Err(ErrorKind::Closed) };
        link.send(&self.script.request).await?;
        seat.sending();
        let sent = seat.now();
        let head = read_head(&mut link, Method::Get).await?;
        if head.status >= 400 {
            drop_body(&mut link, head.framing).await?;
            self.link = Some(link).filter(|link| head.keep_alive && link.is_usable());
            return Err(ErrorKind::Refused);
        }
        if head.status != 200 || !head.is_event_stream {
            return Err(ErrorKind::Garbage);
        }
        let mut clock = EventClock::begin(seat, sent, Some(self.script.stall));
        seat.deadline_in(self.script.hold);
        match hold(&mut link, seat, head.framing, &mut clock).await {
            Ok(()) => self.link = Some(link).filter(|link| head.keep_alive && link.is_usable()),
            // The time is over: a reset leaves no port behind in TIME_WAIT.
            Err(ErrorKind::Timeout) => {
                clock.ended(seat);
                link.reset_on_close();
            }
            Err(kind) => return Err(kind),
        }
        Ok(seat.now())
    }
}

/// Reads the stream until the server ends it.
async fn hold(
    link: &mut Link,
    seat: &Seat,
    framing: Framing,
    clock: &mut EventClock,
) -> Result<(), ErrorKind> {
    let mut body = BodyDecoder::new(framing);
    let mut events = EventFramer::new(EVENT_BYTES_MAX_DEFAULT);
    while !body.is_done() {
        let decoded = body.decode(link.bytes()).map_err(|_| ErrorKind::Garbage)?;
        let fed = events.feed(&link.bytes()[decoded.data]);
        link.consume(decoded.consumed);
        if fed.oversized {
            return Err(ErrorKind::Garbage);
        }
        clock.heard(seat, fed.events);
        if !decoded.done && link.bytes().is_empty() && !link.more().await? {
            return body.finish().map_err(|_| ErrorKind::Closed);
        }
    }
    Ok(())
}
