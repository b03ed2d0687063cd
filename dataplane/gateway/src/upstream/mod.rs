//! The node's side of an exchange: picked, connected, spoken to.
//!
//! Exchanges see the enum [`Upstream`] and never a socket: another node protocol is another variant and its file.

pub(crate) mod acquire;
pub(crate) mod balance;
pub(crate) mod http1;
mod line;
pub(crate) mod pool;

use std::task::Poll;

use erlmcp_proto::http1::{Method, Response};
use erlmcp_ring::{SendList, Time};

use crate::downstream::Downstream;
use crate::link::ids::EndpointId;
use crate::link::reason::Reason;
use http1::Http1;

/// A node with a request under way.
pub(crate) enum Upstream {
    /// HTTP/1.1 over a pooled connection.
    Http1(Http1),
}

impl Upstream {
    /// Which node it is.
    pub(crate) fn endpoint(&self) -> EndpointId {
        match self {
            Self::Http1(http1) => http1.endpoint(),
        }
    }

    /// When the request was on its way: it may have been sent before its task knew.
    pub(crate) fn begun_at(&self) -> Time {
        match self {
            Self::Http1(http1) => http1.begun_at(),
        }
    }

    /// Where request bytes are put.
    pub(crate) fn out(&mut self) -> &mut SendList {
        match self {
            Self::Http1(http1) => http1.out(),
        }
    }

    /// Sends what was put out, and waits until all of it is taken. Ready at once when there is nothing.
    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), Reason>> {
        match self {
            Self::Http1(http1) => http1.poll_flush(),
        }
    }

    /// Starts to send what was put out, without waiting for it: the reply will tell.
    pub(crate) fn start_flush(&mut self) {
        match self {
            Self::Http1(http1) => http1.start_flush(),
        }
    }

    /// Waits for the reply's next head and shows it to `use_head`, which must not keep it.
    pub(crate) fn poll_head(
        &mut self,
        method: Method,
        use_head: impl FnMut(&Response<'_>),
    ) -> Poll<Result<(), Reason>> {
        match self {
            Self::Http1(http1) => http1.poll_head(method, use_head),
        }
    }

    /// Moves what has come of the reply's body to the client's side. Ready with the number of bytes, 0 only at its end.
    pub(crate) fn poll_body(
        &mut self,
        down: &mut Downstream,
        look: impl FnMut(&[u8]),
    ) -> Poll<Result<usize, Reason>> {
        match self {
            Self::Http1(http1) => http1.poll_body(down, look),
        }
    }

    /// Bytes that the node's connection has taken so far: moves as long as it makes progress.
    pub(crate) fn bytes_sent(&self) -> u64 {
        match self {
            Self::Http1(http1) => http1.bytes_sent(),
        }
    }

    /// Whether the reply's body has come whole.
    pub(crate) fn is_body_done(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.is_body_done(),
        }
    }

    /// Trailer fields of the finished reply, as lines.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Http1(http1) => http1.trailers(),
        }
    }

    /// The exchange became a stream: it no longer counts against the node's cap.
    pub(crate) fn become_stream(&self) {
        match self {
            Self::Http1(http1) => http1.become_stream(),
        }
    }

    /// What to send again after the node's connection died; see [`Http1::take_replay`].
    pub(crate) fn take_replay(&mut self, method: Method) -> Option<SendList> {
        match self {
            Self::Http1(http1) => http1.take_replay(method),
        }
    }

    /// Ends the exchange; the connection serves again where it can. Nothing else may follow.
    pub(crate) fn give_back(&mut self, served_max: u32) {
        match self {
            Self::Http1(http1) => http1.give_back(served_max),
        }
    }
}
