//! The handle of a connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::addr::PeerAddr;
use crate::config::RecvMode;
use crate::error::IoError;
use crate::handle::{Handle, TaskRef};
use crate::lease::Lease;
use crate::send::{SendList, Sent};
use crate::slab::Key;
use crate::sys;

/// A connection of this shard.
///
/// One task at a time owns it: an operation registers the *running* task, which is woken when the operation can go
/// on, so that no waker is cloned. Operations must therefore be polled by the task itself, and not inside a
/// combinator that tracks wakers of its own. Dropping it ends whatever is in flight and closes the descriptor
/// after the last completion; it never blocks.
pub struct Conn {
    handle: Handle,
    key: Key,
}

const _: () = assert!(size_of::<Conn>() <= 16);

impl Conn {
    pub(crate) fn new(handle: Handle, key: Key) -> Self {
        Self { handle, key }
    }

    /// The next chunk that was received, in order; `Ok(None)` once the peer has ended its side.
    #[inline]
    pub fn poll_recv(&self) -> Poll<Result<Option<Lease>, IoError>> {
        self.handle.with_io(|io| io.poll_recv(self.key))
    }

    /// Lets another task of this shard be woken by what is received next, as if it had polled [`Self::poll_recv`];
    /// at once if something has come already. For handing a connection on without running its new owner.
    #[inline]
    pub fn wake_on_recv(&self, task: TaskRef) {
        if let Some(task) = task.0 {
            self.handle.with_io(|io| io.wake_on_recv(self.key, task.index));
        }
    }

    /// The future of [`Self::poll_recv`].
    ///
    /// # Errors
    /// Why receiving ended; after what was received before.
    #[inline]
    pub fn recv(&self) -> Recv<'_> {
        Recv(self)
    }

    /// The next chunk, if one is queued already.
    #[must_use]
    #[inline]
    pub fn try_recv(&self) -> Option<Lease> {
        self.handle.with_io(|io| io.try_recv(self.key))
    }

    /// The peer has ended its side or the connection is broken, and nothing is queued before that: a connection that
    /// nobody uses is dead. Asks and nothing more: nobody is woken for having asked.
    #[must_use]
    pub fn closed_by_peer(&self) -> bool {
        self.handle.with_io(|io| io.has_ended(self.key) && !io.has_queued(self.key))
    }

    /// The peer has ended its side or the connection is broken, whatever is still queued before that. Asks and nothing
    /// more, as a pool does about connections that nobody uses; to be woken by the end, see [`Self::poll_ended`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.handle.with_io(|io| io.has_ended(self.key))
    }

    /// Nothing is queued and the peer has not ended its side: what a connection looks like that nobody uses. Asks and
    /// nothing more.
    #[must_use]
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.handle.with_io(|io| io.is_quiet(self.key))
    }

    /// Ready when [`Self::has_ended`]. Registers the running task, which whatever is received next wakes as well: it
    /// takes the place of the task that waits in [`Self::poll_recv`].
    #[inline]
    pub fn poll_ended(&self) -> Poll<()> {
        self.handle.with_io(|io| io.poll_ended(self.key))
    }

    /// [`Self::poll_ended`] as a question: it registers the running task when the answer is no.
    #[must_use]
    #[inline]
    pub fn recv_ended(&self) -> bool {
        self.poll_ended().is_ready()
    }

    /// Starts to send `list`. One send at a time: the one before must have been taken with [`Self::poll_sent`].
    #[inline]
    pub fn start_send(&self, list: SendList) {
        let started = self.handle.with_io(|io| io.start_send(self.key, list));
        debug_assert!(started, "one send at a time");
    }

    /// How the send went, and its list. After the task's deadline the send is canceled first, so this stays pending
    /// until the kernel has let go of the list.
    #[inline]
    pub fn poll_sent(&self) -> Poll<Sent> {
        self.handle.with_io(|io| io.poll_sent(self.key))
    }

    /// Lets go of the send that was started: its memory goes back to the pool when it has ended, and nobody is woken.
    /// If it fails, receiving fails. Before the next [`Self::start_send`] wait with [`Self::poll_send_free`].
    #[inline]
    pub fn release_sent(&self) {
        self.handle.with_io(|io| io.release_sent(self.key));
    }

    /// Ready when no send is in flight. After the task's deadline the send is canceled first, like in
    /// [`Self::poll_sent`].
    #[inline]
    pub fn poll_send_free(&self) -> Poll<()> {
        self.handle.with_io(|io| io.poll_send_free(self.key))
    }

    /// [`Self::start_send`] and [`Self::poll_sent`] in one.
    #[inline]
    pub fn send(&self, list: SendList) -> impl Future<Output = Sent> + '_ {
        self.start_send(list);
        Sending(self)
    }

    /// Switches to the other group of buffers; nothing is lost or reordered.
    pub fn set_recv_mode(&self, mode: RecvMode) {
        self.handle.with_io(|io| io.set_recv_mode(self.key, mode));
    }

    /// Ends our side, after the send that is in flight.
    pub fn shutdown_write(&self) {
        self.handle.with_io(|io| io.shutdown_write(self.key));
    }

    /// Makes the close a reset that throws away what is unsent and unread.
    pub fn reset_on_close(&self) {
        if let Some((fd, ..)) = self.handle.with_io(|io| io.conn_info(self.key)) {
            // On a connection that is gone there is nothing left to reset.
            let _ = sys::set_linger_zero(fd);
        }
    }

    /// Payload bytes that the peer has acknowledged (TCP_INFO); `None` on other sockets. Works after a reset too.
    #[must_use]
    pub fn bytes_acked(&self) -> Option<u64> {
        let (fd, sent, active) = self.handle.with_io(|io| io.conn_info(self.key))?;
        // The SYN of the side that connects counts as one byte, and so does an acknowledged FIN of either.
        sys::tcp_bytes_acked(fd).map(|acked| acked.saturating_sub(u64::from(active)).min(sent))
    }

    /// Payload bytes handed to the kernel so far.
    #[must_use]
    #[inline]
    pub fn bytes_sent(&self) -> u64 {
        self.handle.with_io(|io| io.conn_info(self.key)).map_or(0, |(_, sent, _)| sent)
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<PeerAddr> {
        PeerAddr::from_raw(&sys::peer_name(self.fd()?)?)
    }

    /// Our own end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<PeerAddr> {
        PeerAddr::from_raw(&sys::local_name(self.fd()?)?)
    }

    fn fd(&self) -> io::Result<i32> {
        let info = self.handle.with_io(|io| io.conn_info(self.key));
        info.map(|(fd, _, _)| fd).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The shard that it lives on.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) async fn connected(&self) -> Result<(), IoError> {
        poll_fn(|_| self.handle.with_io(|io| io.poll_connected(self.key))).await
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.handle.with_io(|io| io.close(self.key));
    }
}

/// See [`Conn::recv`].
#[must_use = "a future does nothing unless polled"]
pub struct Recv<'a>(&'a Conn);

impl Future for Recv<'_> {
    type Output = Result<Option<Lease>, IoError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_recv()
    }
}

struct Sending<'a>(&'a Conn);

impl Future for Sending<'_> {
    type Output = Sent;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Sent> {
        self.0.poll_sent()
    }
}
