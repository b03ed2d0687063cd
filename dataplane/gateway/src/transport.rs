//! A byte stream to a peer, whatever it runs over: the one place where the gateway touches the ring's connections.
//!
//! TLS is to be another variant: it takes leases in and gives decrypted chunks out behind the same methods.

use std::task::{Poll, ready};

use erlmcp_ring::{Conn, IoError, RecvMode, SendList, Sent, TaskRef};

use crate::chunk::Chunk;

/// A connection's byte stream.
pub(crate) enum Transport {
    /// As it comes from the socket.
    Plain(Conn),
}

impl Transport {
    /// The next bytes; `None` at the end of the stream.
    #[inline]
    pub(crate) fn poll_recv(&self) -> Poll<Result<Option<Chunk>, IoError>> {
        match self {
            Self::Plain(conn) => {
                let received = ready!(conn.poll_recv())?;
                Poll::Ready(Ok(received.map(Chunk::Lease)))
            }
        }
    }

    /// Bytes that are here already.
    pub(crate) fn try_recv(&self) -> Option<Chunk> {
        match self {
            Self::Plain(conn) => conn.try_recv().map(Chunk::Lease),
        }
    }

    /// Whether nothing has come that nobody has used: neither bytes nor an end.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(conn) => conn.is_quiet(),
        }
    }

    /// Whether the peer has closed or reset its side, whatever is still unread. Wakes the running task when it comes
    /// to be so.
    pub(crate) fn watch_end(&self) -> bool {
        match self {
            Self::Plain(conn) => conn.recv_ended(),
        }
    }

    /// Lets another task of the shard be woken by what comes next.
    pub(crate) fn wake_on_recv(&self, task: TaskRef) {
        match self {
            Self::Plain(conn) => conn.wake_on_recv(task),
        }
    }

    /// Begins to send; one list at a time.
    #[inline]
    pub(crate) fn start_send(&self, list: SendList) {
        match self {
            Self::Plain(conn) => conn.start_send(list),
        }
    }

    /// The list that was sent, with how it went.
    pub(crate) fn poll_sent(&self) -> Poll<Sent> {
        match self {
            Self::Plain(conn) => conn.poll_sent(),
        }
    }

    /// Lets go of the send in flight: nobody is woken by its end, and if it fails, receiving fails.
    pub(crate) fn release_sent(&self) {
        match self {
            Self::Plain(conn) => conn.release_sent(),
        }
    }

    /// Ready when no send is in flight.
    pub(crate) fn poll_send_free(&self) -> Poll<()> {
        match self {
            Self::Plain(conn) => conn.poll_send_free(),
        }
    }

    /// Which buffers the next bytes come in.
    pub(crate) fn set_recv_mode(&self, mode: RecvMode) {
        match self {
            Self::Plain(conn) => conn.set_recv_mode(mode),
        }
    }

    /// Ends our side after what is being sent.
    pub(crate) fn shutdown_write(&self) {
        match self {
            Self::Plain(conn) => conn.shutdown_write(),
        }
    }

    /// Makes the close that follows a reset: the peer had its time, and must not wait for what nobody reads.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Self::Plain(conn) => conn.reset_on_close(),
        }
    }

    /// A number that moves while the peer takes anything at all. Asks the kernel: for deadlines, not for each send.
    pub(crate) fn progress(&self) -> u64 {
        match self {
            Self::Plain(conn) => conn.bytes_sent() + conn.bytes_acked().unwrap_or(0),
        }
    }

    /// Payload bytes handed to the kernel so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        match self {
            Self::Plain(conn) => conn.bytes_sent(),
        }
    }

    /// Whether the peer's kernel has acknowledged none of what was sent after the first `before` bytes. `false`
    /// where that cannot be known.
    pub(crate) fn is_untouched_since(&self, before: u64) -> bool {
        match self {
            Self::Plain(conn) => conn.bytes_acked().is_some_and(|acked| acked <= before),
        }
    }
}
