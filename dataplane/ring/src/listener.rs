//! The handle of a listening socket on a shard.

use std::future::poll_fn;
use std::os::fd::OwnedFd;

use crate::addr::PeerAddr;
use crate::error::IoError;
use crate::handle::Handle;
use crate::slab::Key;

/// An accepted socket before anything was read from it: it may go to another shard.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: OwnedFd,
    /// Who is at the other end.
    pub peer: PeerAddr,
}

/// A listening socket of this shard; the same socket may be shared by several shards.
///
/// Dropping it cancels the accept; connections that come late are closed. To serve them, [`Self::stop`] it.
pub struct Listener {
    handle: Handle,
    key: Key,
}

impl Listener {
    pub(crate) fn new(handle: Handle, key: Key) -> Self {
        Self { handle, key }
    }

    /// The next connection.
    ///
    /// # Errors
    /// [`IoError::NoDescriptors`] and other failures of accepting; the listener goes on by itself after a pause of
    /// 50 ms. [`IoError::TimedOut`] when the task's deadline passes.
    pub async fn accept(&mut self) -> Result<Accepted, IoError> {
        poll_fn(|_| self.handle.with_io(|io| io.poll_accept(self.key))).await
    }

    /// Stops accepting for now. What is accepted already can still be taken.
    pub fn pause(&mut self) {
        self.handle.with_io(|io| io.pause_listener(self.key, true));
    }

    /// Accepts again.
    pub fn resume(&mut self) {
        self.handle.with_io(|io| io.pause_listener(self.key, false));
    }

    /// Stops accepting for good, and returns what was accepted or waited in the backlog by then.
    pub async fn stop(self) -> Vec<Accepted> {
        self.handle.with_io(|io| io.stop_listener(self.key));
        poll_fn(|_| self.handle.with_io(|io| io.poll_stopped(self.key))).await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.with_io(|io| io.end_listener(self.key));
    }
}
