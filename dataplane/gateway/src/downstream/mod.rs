//! The client's side of an exchange, whatever protocol the client speaks.
//!
//! Exchanges see this enum and never a socket: another client protocol is another variant and its file.

pub(crate) mod http1;

use std::net::IpAddr;
use std::task::Poll;

use erlmcp_proto::http1::{Method, Response};
use erlmcp_ring::SendList;

use crate::body::{Encoding, Keep};
use crate::link::ids::ListenerId;
use crate::link::reason::Reason;
use crate::link::snapshot::Route;
use crate::note::Note;
use crate::state::{Shared, SnapshotRef};
use http1::Http1;

/// A client with a request under way.
pub(crate) enum Downstream {
    /// HTTP/1.0 and 1.1 (RFC 9112).
    Http1(Box<Http1>),
}

impl Downstream {
    /// Notes on the request.
    pub(crate) fn note(&mut self) -> &mut Note {
        match self {
            Self::Http1(http1) => &mut http1.note,
        }
    }

    pub(crate) fn listener(&self) -> ListenerId {
        match self {
            Self::Http1(http1) => http1.listener,
        }
    }

    pub(crate) fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Http1(http1) => http1.peer,
        }
    }

    /// Whether the client has left. Wakes the task when it does.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_gone(),
        }
    }

    /// Whether the request's body has come whole.
    pub(crate) fn is_body_done(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_body_done(),
        }
    }

    /// Moves what has come of the request's body to `out`. Ready with the number of bytes, 0 only at its end.
    pub(crate) fn poll_body(
        &mut self,
        encoding: Encoding,
        keep: Keep,
        out: &mut SendList,
    ) -> Poll<Result<usize, Reason>> {
        match self {
            Self::Http1(http1) => http1.poll_body(encoding, keep, out),
        }
    }

    /// Begins the reply with the node's head. Interim heads (1xx) may come before.
    pub(crate) fn start_reply(
        &mut self,
        response: &Response<'_>,
        snapshot: &SnapshotRef,
        route: &Route,
        method: Method,
    ) {
        match self {
            Self::Http1(http1) => http1.start_reply(response, snapshot, route, method),
        }
    }

    /// Where reply bytes are put, and how they are encoded.
    pub(crate) fn out(&mut self) -> (&mut SendList, Encoding) {
        match self {
            Self::Http1(http1) => http1.out(),
        }
    }

    /// Answers with a refusal, if nothing of a reply went out. Returns whether the client took it.
    pub(crate) async fn refuse(&mut self, state: &Shared, reason: Reason) -> bool {
        match self {
            Self::Http1(http1) => http1.refuse(state, reason).await,
        }
    }

    /// Ends the reply.
    pub(crate) fn finish_reply(&mut self, trailers: &[u8]) {
        match self {
            Self::Http1(http1) => http1.finish_reply(trailers),
        }
    }

    /// Sends what was put out, and waits until all of it is taken. Ready at once when there is nothing.
    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), Reason>> {
        match self {
            Self::Http1(http1) => http1.poll_flush(),
        }
    }

    /// Moves while the client takes anything. Asks the kernel: for deadlines, not for each send.
    pub(crate) fn progress(&self) -> u64 {
        match self {
            Self::Http1(http1) => http1.progress(),
        }
    }

    /// Sends the end of a reply without waiting for it, where that is safe. Returns whether it was.
    pub(crate) fn release(&mut self) -> bool {
        match self {
            Self::Http1(http1) => http1.release(),
        }
    }

    /// Whether any byte of a final reply's head went out: then a failure can only cut it.
    pub(crate) fn has_replied(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.has_replied(),
        }
    }
}
