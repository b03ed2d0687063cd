//! HTTP/1.1 towards a node: one request on one lent connection.
//!
//! Keeps what was sent until the first byte of the reply, so that a request which a dying reused connection
//! swallowed can be sent once more, and knows when that is safe.

use std::task::{Poll, ready};

use erlmcp_proto::http1::{BodyDecoder, Framing, HeadLimits, HeaderSlots, Method, Response, parse_response};
use erlmcp_ring::{IoError, SendList, Sent, Time};

use super::acquire::Active;
use super::pool::{Lent, Sent as SentFirst};
use crate::body::{Keep, WINDOW_BYTES, transfer};
use crate::chunk::Inbound;
use crate::downstream::Downstream;
use crate::link::ids::EndpointId;
use crate::link::reason::Reason;
use crate::transport::Transport;

/// Sizes that a node's reply head may have; larger than a client's, as nodes are known.
const REPLY_LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 64 * 1024, headers_max: 128, target_bytes_max: 0 };
/// Interim replies before the final one; a node that sends more misbehaves.
const INTERIM_MAX: u8 = 16;

/// One exchange with a node.
pub(crate) struct Http1 {
    conn: Lent,
    /// Counts the exchange at its node for as long as it lives.
    active: Active,
    inbound: Inbound,
    body: BodyDecoder,
    out: Option<SendList>,
    sending: bool,
    /// The first send of this exchange: what a replay would send.
    kept: Option<SendList>,
    /// Whether a replay of the first send would be all that was sent, and no byte of a reply has come.
    replayable: bool,
    /// When the exchange began, and the payload bytes sent on the connection before it.
    begun: SentFirst,
    interim: u8,
    keep_alive: bool,
}

impl Http1 {
    /// Begins an exchange with what is to be sent first, or goes on with one that was begun on its behalf.
    #[inline]
    pub(super) fn new(conn: Lent, active: Active, first: Option<SendList>, begun: SentFirst) -> Self {
        // A connection that has not served yet cannot have died of old age: its request is never sent again.
        let replayable = conn.served() > 0;
        Self {
            conn,
            active,
            inbound: Inbound::default(),
            body: BodyDecoder::new(Framing::None),
            sending: first.is_none(),
            out: first,
            kept: None,
            replayable,
            begun,
            interim: 0,
            keep_alive: true,
        }
    }

    pub(crate) fn endpoint(&self) -> EndpointId {
        self.active.id()
    }

    pub(crate) fn begun_at(&self) -> Time {
        self.begun.at
    }

    fn transport(&self) -> &Transport {
        self.conn.transport()
    }

    pub(crate) fn out(&mut self) -> &mut SendList {
        let ring = self.active.ring();
        self.out.get_or_insert_with(|| ring.send_list())
    }

    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), Reason>> {
        loop {
            if self.sending {
                let Sent { list, result } = ready!(self.conn.transport().poll_sent());
                self.sending = false;
                if self.replayable {
                    self.kept = Some(list);
                }
                if let Err(error) = result {
                    return Poll::Ready(Err(failure(error)));
                }
            }
            match self.out.take() {
                Some(list) if !list.is_empty() => {
                    // A second send: the first alone would no longer be what the node was told.
                    self.replayable &= self.kept.is_none();
                    if !self.replayable {
                        self.kept = None;
                    }
                    self.conn.transport().start_send(list);
                    self.sending = true;
                }
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Starts to send what was put out, without waiting for it: the reply will tell.
    pub(crate) fn start_flush(&mut self) {
        if !self.sending
            && let Some(list) = self.out.take()
        {
            self.conn.transport().start_send(list);
            self.sending = true;
        }
    }

    pub(crate) fn poll_head(
        &mut self,
        method: Method,
        mut use_head: impl FnMut(&Response<'_>),
    ) -> Poll<Result<(), Reason>> {
        loop {
            if !self.inbound.is_empty() && self.parse_head(method, &mut use_head)? {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.transport().poll_recv()) {
                Ok(Some(chunk)) => self.inbound.push(chunk),
                Ok(None) => return Poll::Ready(Err(Reason::UpstreamReset)),
                Err(error) => return Poll::Ready(Err(failure(error))),
            }
            self.replayable = false;
            self.kept = None;
        }
    }

    fn parse_head(
        &mut self,
        method: Method,
        use_head: &mut impl FnMut(&Response<'_>),
    ) -> Result<bool, Reason> {
        let mut slots = HeaderSlots::new();
        let parsed = parse_response(self.inbound.bytes(), &mut slots, &REPLY_LIMITS, method);
        let Some(response) = parsed.map_err(|_| Reason::BadReply)? else { return Ok(false) };
        // Upgrades are not asked for, so none may be granted.
        if response.status == 101 {
            return Err(Reason::BadReply);
        }
        use_head(&response);
        if response.is_interim() {
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Err(Reason::BadReply);
            }
        } else {
            self.keep_alive = response.keep_alive && response.framing != Framing::UntilClose;
            let body = BodyDecoder::new(response.framing);
            self.body = if response.framing == Framing::Chunked { body.keeping_trailers() } else { body };
        }
        let head_len = response.head_len;
        self.inbound.consume(head_len);
        Ok(true)
    }

    pub(crate) fn poll_body(
        &mut self,
        down: &mut Downstream,
        mut look: impl FnMut(&[u8]),
    ) -> Poll<Result<usize, Reason>> {
        let mut moved = 0;
        loop {
            let (out, encoding) = down.out();
            moved += transfer(&mut self.body, &mut self.inbound, encoding, Keep::Leases, out, &mut look)
                .map_err(|_| Reason::BadReply)?;
            if self.body.is_done() || out.len() >= WINDOW_BYTES {
                return Poll::Ready(Ok(moved));
            }
            if moved > 0 {
                // Enough to send: take what is queued, wait for no more.
                match self.conn.transport().try_recv() {
                    Some(chunk) => self.inbound.push(chunk),
                    None => return Poll::Ready(Ok(moved)),
                }
                continue;
            }
            match ready!(self.conn.transport().poll_recv()) {
                Ok(Some(chunk)) => self.inbound.push(chunk),
                Ok(None) => self.body.finish().map_err(|_| Reason::ReplyCut)?,
                Err(error) if error.is_timed_out() => return Poll::Ready(Err(Reason::UpstreamTimeout)),
                Err(_) => return Poll::Ready(Err(Reason::ReplyCut)),
            }
        }
    }

    pub(crate) fn bytes_sent(&self) -> u64 {
        self.transport().bytes_sent()
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    pub(crate) fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    pub(crate) fn become_stream(&self) {
        self.conn.leave_cap();
    }

    pub(crate) fn give_back(&mut self, served_max: u32) {
        // Bytes beyond the reply are nobody's reply.
        if self.keep_alive
            && self.body.is_done()
            && self.inbound.is_empty()
            && !self.sending
            && self.out.is_none()
        {
            self.conn.give_back(served_max);
        }
    }

    /// What to send again on a fresh connection after this one died without a byte of a reply; `None` where
    /// that could run the request twice.
    ///
    /// Safe are idempotent methods, and requests of which the node's kernel never acknowledged a byte: a
    /// keep-alive connection that the node closed at the moment when the request was on its way.
    pub(crate) fn take_replay(&mut self, method: Method) -> Option<SendList> {
        let untouched = || self.transport().is_untouched_since(self.begun.bytes_before);
        let safe = self.replayable && (method.is_idempotent() || untouched());
        if safe { self.kept.take() } else { None }
    }
}

/// What a failed operation on the node's connection means for the exchange.
fn failure(error: IoError) -> Reason {
    if error.is_timed_out() { Reason::UpstreamTimeout } else { Reason::UpstreamReset }
}
