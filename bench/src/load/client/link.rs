//! A client's connection: made, measured and counted; what was received and not yet used.
//!
//! Owns: one ring connection and its unread bytes, which stay in the ring's buffer as long as one buffer holds them.
//! Never interprets a byte. Every wait ends with the seat's deadline.

use std::future::poll_fn;

use erlmcp_ring::{Conn, IoError, Lease, RecvMode, SockAddr};

use crate::load::outcome::ErrorKind;
use crate::load::seat::Seat;

/// Unread bytes that a connection may pile up: a message longer than this is none that a client would take.
const UNREAD_BYTES_MAX: usize = 16 << 20;

/// A connection of a client.
pub(crate) struct Link {
    conn: Conn,
    seat: Seat,
    /// Unread bytes: in the buffer that they came in, or, once a second buffer came, in memory of our own.
    lease: Option<Lease>,
    owned: Vec<u8>,
    read: usize,
}

impl Link {
    /// Connects to the seat's address. Time and failure are counted here.
    pub(crate) async fn open(seat: &Seat, mode: RecvMode) -> Result<Self, ErrorKind> {
        let begun = seat.now();
        match seat.handle().connect(&SockAddr::Inet(seat.addr()), mode).await {
            Ok(conn) => {
                seat.count_connect(seat.now().as_nanos() - begun.as_nanos());
                Ok(Self { conn, seat: seat.clone(), lease: None, owned: Vec::new(), read: 0 })
            }
            Err(error) => {
                let kind = match error {
                    IoError::NoDescriptors => ErrorKind::Exhausted,
                    IoError::Os(errno) if is_exhausted(errno) => ErrorKind::Exhausted,
                    _ => ErrorKind::Connect,
                };
                seat.count_failure(kind, Some(error));
                Err(kind)
            }
        }
    }

    /// Starts to send; waits only while an earlier send is still under way. Whether it arrives, receiving tells.
    #[inline]
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.send_parts(&[bytes]).await
    }

    /// As [`Self::send`], one part behind the other.
    pub(crate) async fn send_parts(&mut self, parts: &[&[u8]]) -> Result<(), ErrorKind> {
        poll_fn(|_| self.conn.poll_send_free()).await;
        if self.conn.handle().deadline_passed() {
            return Err(ErrorKind::Timeout);
        }
        let mut list = self.conn.handle().send_list();
        for part in parts {
            list.push_bytes(part);
        }
        self.seat.count_out(list.len());
        self.conn.start_send(list);
        self.conn.release_sent();
        Ok(())
    }

    /// Waits until what was sent has been given to the kernel: what is dropped before that may never go out.
    pub(crate) async fn flush(&mut self) {
        poll_fn(|_| self.conn.poll_send_free()).await;
    }

    /// Bytes received and not yet consumed.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.lease {
            Some(lease) => lease,
            None => self.owned.get(self.read..).unwrap_or_default(),
        }
    }

    /// Forgets the first `n` of [`Self::bytes`].
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        match &mut self.lease {
            Some(lease) if n < lease.len() => lease.advance(n),
            Some(_) => self.lease = None,
            None => {
                self.read = (self.read + n).min(self.owned.len());
                if self.read == self.owned.len() {
                    self.owned.clear();
                    self.read = 0;
                }
            }
        }
    }

    /// Waits for more bytes. `false`: the peer has ended its side, and none will come.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] by the seat's deadline, [`ErrorKind::Closed`] when the connection broke,
    /// [`ErrorKind::Garbage`] when more is unread than any message may be long.
    #[inline]
    pub(crate) async fn more(&mut self) -> Result<bool, ErrorKind> {
        match self.conn.recv().await {
            Ok(Some(lease)) => {
                self.seat.count_in(lease.len());
                self.push(lease)?;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(IoError::TimedOut) => Err(ErrorKind::Timeout),
            Err(_) => Err(ErrorKind::Closed),
        }
    }

    fn push(&mut self, lease: Lease) -> Result<(), ErrorKind> {
        if self.bytes().is_empty() {
            self.owned.clear();
            self.read = 0;
            self.lease = Some(lease);
            return Ok(());
        }
        if let Some(first) = self.lease.take() {
            self.owned.clear();
            self.read = 0;
            self.owned.extend_from_slice(&first);
        }
        if self.owned.len() - self.read + lease.len() > UNREAD_BYTES_MAX {
            return Err(ErrorKind::Garbage);
        }
        // What was read makes room, once that moves less than it frees.
        if self.read > self.owned.len() / 2 {
            self.owned.drain(..self.read);
            self.read = 0;
        }
        self.owned.extend_from_slice(&lease);
        Ok(())
    }

    /// Nothing is unread and the peer has not ended it: the next request may use it.
    pub(crate) fn is_usable(&self) -> bool {
        self.bytes().is_empty() && !self.conn.has_ended()
    }

    /// The peer has ended it, whatever is still unread.
    pub(crate) fn has_ended(&self) -> bool {
        self.conn.has_ended()
    }

    /// Receives into large buffers from now on: for replies that are longer than a small one holds.
    pub(crate) fn prefer_large(&self) {
        self.conn.set_recv_mode(RecvMode::Large);
    }

    /// Makes the close a reset, which leaves no port behind in TIME_WAIT.
    pub(crate) fn reset_on_close(&self) {
        self.conn.reset_on_close();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.seat.count_close();
    }
}

/// No local port, no memory or table of the system has room for another socket.
fn is_exhausted(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN, Errno::ADDRINUSE]
        .iter()
        .any(|known| known.raw_os_error() == errno)
}
