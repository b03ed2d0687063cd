//! Reads the reply to a call, whatever its form: one JSON text, or the event with the call's id.
//!
//! A streamed reply ends with its event. The stream's own end is then awaited a little, so that the connection can be
//! used again; servers should end such a stream, but need not.

use std::time::Duration;

use erlmcp_proto::http1::{BodyDecoder, Framing};
use erlmcp_proto::sse::{EVENT_BYTES_MAX_DEFAULT, EventParser};
use erlmcp_ring::Time;

use super::super::Link;
use super::super::clock::EventClock;
use super::super::http::{ReplyHead, drop_body};
use super::super::rpc::{CallId, Heard, judge};
use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;

/// Longest reply in memory.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// How long the end of a stream is awaited once it has brought the reply.
const STREAM_END_WAIT: Duration = Duration::from_millis(100);
/// Memory kept for the next reply.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The end of an exchange that leaves no doubt about the connection.
pub(super) struct Ended {
    pub(super) at: Time,
    pub(super) result: Result<(), ErrorKind>,
    /// The connection can be used again.
    pub(super) keep: bool,
}

/// Room for replies that come in pieces.
pub(super) struct Reading {
    text: Vec<u8>,
    events: EventParser,
}

impl Reading {
    pub(super) const fn new() -> Self {
        Self { text: Vec::new(), events: EventParser::new(EVENT_BYTES_MAX_DEFAULT) }
    }
}

/// Reads the rest of a reply, whatever its form. `look` sees the message that is the reply.
pub(super) async fn read_reply(
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
