//! An HTTP/1 client connection: requests in order, one at a time, replies framed for what the client knows.
//!
//! Owns the socket, the bytes received ahead and the reply being written. Never decides where a request goes.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;

use erlmcp_proto::http1::{BodyDecoder, BodyError, Framing, Method, Request, Response};
use erlmcp_ring::{PeerAddr, RecvMode, SendList, Sent};

use crate::body::{Encoding, Keep, discard, transfer};
use crate::chunk::Inbound;
use crate::link::ids::ListenerId;
use crate::link::reason::Reason;
use crate::link::snapshot::{Route, Snapshot};
use crate::note::Note;
use crate::own_reply::{self, Probe};
use crate::reply_head;
use crate::state::{Shared, SnapshotRef};
use crate::transport::Transport;

/// Bodies with more than this still to come are received into large buffers.
const LARGE_BODY_BYTES: u64 = 16 * 1024;

/// Up to so many bytes the end of a reply is sent without waiting for the kernel to take it: a socket's buffer has
/// room for them in all but odd cases, and those are bounded by the keep-alive timeout.
const RELEASED_BYTES_MAX: usize = 16 * 1024;

/// What is known of the send in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// There is none.
    No,
    /// One that is waited for.
    Waited,
    /// One that nobody waits for, until the next has to start.
    Released,
}

/// One client connection.
pub(crate) struct Http1 {
    transport: Transport,
    pub(crate) inbound: Inbound,
    pub(crate) note: Note,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) listener: ListenerId,
    /// Requests begun.
    pub(crate) served: u32,
    /// Whether the connection may carry another request.
    pub(crate) keep_alive: bool,
    http10: bool,
    large: bool,
    replied: bool,
    encoding: Encoding,
    request_body: BodyDecoder,
    body_bytes_left: u64,
    out: Option<SendList>,
    sending: Sending,
    open: OpenConnection,
}

/// Counts the connection as open for as long as it lives, through panics too.
struct OpenConnection {
    state: Shared,
    listener: ListenerId,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.state.page.load.sub(1);
        self.state.page.listeners[usize::from(self.listener.0)].open.sub(1);
    }
}

impl Http1 {
    pub(crate) fn new(
        state: &Shared,
        transport: Transport,
        peer: &PeerAddr,
        listener: ListenerId,
    ) -> Box<Self> {
        state.page.load.add(1);
        state.page.listeners[usize::from(listener.0)].open.add(1);
        Box::new(Self {
            transport,
            inbound: Inbound::default(),
            note: Note::new(),
            peer: peer.ip().map(|ip| ip.to_canonical()),
            listener,
            served: 0,
            keep_alive: true,
            http10: false,
            large: false,
            replied: false,
            encoding: Encoding::Plain,
            request_body: BodyDecoder::new(Framing::None),
            body_bytes_left: 0,
            out: None,
            sending: Sending::No,
            open: OpenConnection { state: state.clone(), listener },
        })
    }

    fn state(&self) -> &Shared {
        &self.open.state
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Takes a request's head off the bytes received and gets ready for its body and its reply.
    pub(crate) fn begin(&mut self, head_len: usize, terms: &Terms) {
        self.inbound.consume(head_len);
        self.keep_alive = terms.keep_alive;
        self.http10 = terms.http10;
        self.replied = false;
        self.encoding = Encoding::Plain;
        self.body_bytes_left = terms.body_bytes_max;
        self.request_body = BodyDecoder::new(terms.framing);
        let large = match terms.framing {
            Framing::Chunked => true,
            Framing::Length(length) => length > LARGE_BODY_BYTES + self.inbound.bytes().len() as u64,
            Framing::None | Framing::UntilClose => false,
        };
        // A chunked body that is here whole needs no large buffers either.
        if large && !self.peek_is_whole() {
            self.set_large(true);
        }
    }

    /// Whether the bytes at hand hold the whole body of a chunked request.
    fn peek_is_whole(&self) -> bool {
        self.inbound.bytes().ends_with(b"0\r\n\r\n")
    }

    fn set_large(&mut self, large: bool) {
        if self.large != large {
            self.large = large;
            self.transport.set_recv_mode(if large { RecvMode::Large } else { RecvMode::Small });
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.transport.watch_end()
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.request_body.is_done()
    }

    /// Moves body bytes that are already here.
    pub(crate) fn body_at_hand(
        &mut self,
        encoding: Encoding,
        keep: Keep,
        out: &mut SendList,
    ) -> Result<usize, Reason> {
        let moved = transfer(&mut self.request_body, &mut self.inbound, encoding, keep, out, |_| ())
            .map_err(Reason::BadBody)?;
        self.note.bytes_in += moved as u64;
        self.body_bytes_left = self.body_bytes_left.checked_sub(moved as u64).ok_or(Reason::BodyTooLarge)?;
        if self.request_body.is_done() && self.large {
            self.set_large(false);
        }
        Ok(moved)
    }

    /// Moves body bytes as they come. Ready with their number; 0 only at the body's end.
    pub(crate) fn poll_body(
        &mut self,
        encoding: Encoding,
        keep: Keep,
        out: &mut SendList,
    ) -> Poll<Result<usize, Reason>> {
        loop {
            let was_done = self.request_body.is_done();
            let moved = self.body_at_hand(encoding, keep, out)?;
            if moved > 0 || was_done || self.request_body.is_done() {
                return Poll::Ready(Ok(moved));
            }
            match std::task::ready!(self.transport.poll_recv()) {
                Ok(Some(chunk)) => self.inbound.push(chunk),
                Ok(None) => return Poll::Ready(Err(Reason::BadBody(BodyError::Truncated))),
                Err(error) if error.is_timed_out() => return Poll::Ready(Err(Reason::BodyTimeout)),
                Err(_) => return Poll::Ready(Err(Reason::ClientGone)),
            }
        }
    }

    pub(crate) fn start_reply(
        &mut self,
        response: &Response<'_>,
        snapshot: &SnapshotRef,
        route: &Route,
        method: Method,
    ) {
        let knows_chunks = !self.http10;
        let interim = response.is_interim();
        // A client of HTTP/1.0 would take it for the reply (RFC 9110 15.2).
        if interim && self.http10 {
            return;
        }
        if !interim {
            // An answer before the request's end: whether the rest ever comes is not known.
            self.keep_alive &= self.request_body.is_done();
            self.encoding = Encoding::of(response.framing, knows_chunks);
            let endless = matches!(response.framing, Framing::Chunked | Framing::UntilClose);
            if endless && !knows_chunks {
                // The connection's end is the only end that such a client can see.
                self.keep_alive = false;
            }
            self.note.status = response.status;
            self.replied = true;
        }
        let ring = &self.open.state.ring;
        let out = self.out.get_or_insert_with(|| ring.send_list());
        let context = reply_head::Context {
            snapshot,
            route,
            request_id: self.note.request_id(),
            origin: self.note.origin(),
            method,
            http10: self.http10,
        };
        reply_head::write(response, &context, out.head_mut());
        self.end_head(interim);
    }

    /// Begins a reply of our own; `write` appends its head less `Connection` and the empty line.
    pub(crate) fn start_own(&mut self, status: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.encoding = Encoding::Plain;
        self.note.status = status;
        self.replied = true;
        // What is left of a body that nobody reads cannot be told from the next request.
        let read = discard(&mut self.request_body, &mut self.inbound);
        self.keep_alive &= read.is_ok() && self.request_body.is_done();
        write(self.out_list().head_mut());
        self.end_head(false);
    }

    fn end_head(&mut self, interim: bool) {
        // A drain says so with the last reply, so that no client finds its connection closed under a request.
        if self.state().is_draining() {
            self.keep_alive = false;
        }
        let connection: &[u8] = match (interim, self.keep_alive, self.http10) {
            (true, ..) | (false, true, false) => b"\r\n",
            (false, true, true) => b"Connection: keep-alive\r\n\r\n",
            (false, false, _) => b"Connection: close\r\n\r\n",
        };
        self.out_list().push_bytes(connection);
    }

    /// Answers a probe.
    pub(crate) fn answer_probe(&mut self, probe: Probe, snapshot: &Snapshot, draining: bool, is_head: bool) {
        let (status, body) = probe.answer(snapshot, draining);
        self.start_own(status, |out| own_reply::write_probe_head(status, body, out));
        if !is_head {
            self.out_list().push_bytes(body.as_bytes());
        }
    }

    /// Sends an answer of our own and accounts for it. Returns whether the client took it.
    pub(crate) async fn answered(&mut self, state: &Shared) -> bool {
        state.page.own_replies.add(1);
        let taken = self.flush_own(state).await;
        state.account(&self.note, self.listener, self.peer);
        taken
    }

    /// Answers with a refusal. Returns whether the client took it.
    pub(crate) async fn refuse(&mut self, state: &Shared, reason: Reason) -> bool {
        if self.sending == Sending::Waited || self.replied {
            return false;
        }
        self.out = None;
        if reason.status() == 499 {
            self.note.status = 499;
            return false;
        }
        let (body, is_head) = {
            let snapshot = state.snapshot();
            let id_header = &snapshot.identity.request_id_header;
            let (head, body) = own_reply::refusal(reason, self.note.request_id(), id_header);
            let is_head = self.note.method() == "HEAD";
            self.start_own(reason.status(), |out| out.extend_from_slice(&head));
            (body, is_head)
        };
        if !is_head {
            self.out_list().push_bytes(body.as_bytes());
            self.note.bytes_out += body.len() as u64;
        }
        self.flush_own(state).await
    }

    async fn flush_own(&mut self, state: &Shared) -> bool {
        let listener = usize::from(self.listener.0);
        let timeout = state.with_snapshot(|snapshot| snapshot.listeners[listener].write_timeout);
        let at = state.ring.now() + timeout;
        poll_fn(|_| {
            state.ring.set_deadline(Some(state.within_drain(at)));
            self.poll_flush()
        })
        .await
        .is_ok()
    }

    /// Tells the client to send the body that it holds back (RFC 9110 10.1.1).
    pub(crate) fn send_continue(&mut self) {
        self.out_list().push_bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    fn out_list(&mut self) -> &mut SendList {
        let ring = &self.open.state.ring;
        self.out.get_or_insert_with(|| ring.send_list())
    }

    pub(crate) fn out(&mut self) -> (&mut SendList, Encoding) {
        let encoding = self.encoding;
        (self.out_list(), encoding)
    }

    pub(crate) fn finish_reply(&mut self, trailers: &[u8]) {
        if self.encoding == Encoding::Chunked {
            let encoding = self.encoding;
            encoding.finish(trailers, self.out_list());
        }
    }

    pub(crate) fn has_replied(&self) -> bool {
        self.replied
    }

    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), Reason>> {
        loop {
            if self.sending == Sending::Released {
                std::task::ready!(self.transport.poll_send_free());
                self.sending = Sending::No;
            }
            if self.sending == Sending::Waited {
                let Sent { result, .. } = std::task::ready!(self.transport.poll_sent());
                self.sending = Sending::No;
                if let Err(error) = result {
                    let reason =
                        if error.is_timed_out() { Reason::ClientStalled } else { Reason::ClientGone };
                    return Poll::Ready(Err(reason));
                }
            }
            match self.out.take() {
                Some(list) if !list.is_empty() => {
                    self.transport.start_send(list);
                    self.sending = Sending::Waited;
                }
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Sends the end of a reply and lets go of it. Returns whether that was possible: else it has to be flushed.
    pub(crate) fn release(&mut self) -> bool {
        let is_free = match self.sending {
            Sending::No => true,
            Sending::Released => self.transport.poll_send_free().is_ready(),
            Sending::Waited => false,
        };
        match self.out.take() {
            Some(list) if is_free && list.len() <= RELEASED_BYTES_MAX => {
                self.transport.start_send(list);
                self.transport.release_sent();
                self.sending = Sending::Released;
                true
            }
            list => {
                self.out = list;
                false
            }
        }
    }

    /// Moves while the client takes anything.
    pub(crate) fn progress(&self) -> u64 {
        self.transport.progress()
    }

    /// Whether the connection can carry the next request: all of this one was read, and nobody asked to close.
    pub(crate) fn can_go_on(&self) -> bool {
        self.keep_alive && self.request_body.is_done() && self.sending != Sending::Waited
    }
}

/// What a request's head fixes for its body and reply.
pub(crate) struct Terms {
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) http10: bool,
    pub(crate) body_bytes_max: u64,
}

impl Terms {
    pub(crate) fn of(request: &Request<'_>, keep_alive: bool, body_bytes_max: u64) -> Self {
        Self { framing: request.framing, keep_alive, http10: request.http10, body_bytes_max }
    }
}
