//! Listening sockets: one multishot accept each, paused by its own queue, backed off when descriptors run out.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::Poll;

use super::{Driver, Io};
use crate::addr::PeerAddr;
use crate::error::IoError;
use crate::exec::{Alarm, NO_TASK};
use crate::listener::Accepted;
use crate::slab::Key;
use crate::sys;
use crate::table::{Event, ListenerSlot, Op, Stop};

/// Pause of a listener after an accept failed for want of descriptors or memory.
const BACKOFF_NANOS: u64 = 50_000_000;

impl Io {
    pub(crate) fn listen(&mut self, socket: OwnedFd) -> Result<Key, IoError> {
        if self.down {
            return Err(IoError::Closed);
        }
        let fd = socket.as_raw_fd();
        sys::set_nonblocking(fd, matches!(self.driver, Driver::Epoll(_)))?;
        if let Some(keepalive) = &self.keepalive {
            // What it accepts inherits this. A Unix socket has no such option.
            let _ = sys::set_keepalive(fd, keepalive);
        }
        let key = self.listeners.insert(ListenerSlot::new(socket));
        if let Driver::Epoll(epoll) = &mut self.driver
            && let Err(error) = epoll.register_listener(key, fd)
        {
            self.listeners.remove(key);
            return Err(error.into());
        }
        self.arm_accept(key);
        Ok(key)
    }

    fn arm_accept(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        if self.down || !slot.wants_accept(self.accept_queue_max) {
            return;
        }
        slot.armed = true;
        match &mut self.driver {
            Driver::Uring(uring) => uring.accept(key, slot.fd.as_raw_fd()),
            Driver::Epoll(epoll) => epoll.accept(key, slot),
            Driver::Down => slot.armed = false,
        }
    }

    fn cancel_accept(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        if !slot.armed || slot.canceling {
            return;
        }
        slot.canceling = true;
        match &mut self.driver {
            Driver::Uring(uring) => uring.cancel(Op::CancelAccept, Op::Accept, key),
            Driver::Epoll(epoll) => epoll.cancel(Op::Accept, key),
            Driver::Down => {}
        }
    }

    pub(super) fn on_canceled_accept(&mut self, key: Key, result: i32) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        // Not found although it is in flight: it had not been submitted yet.
        if result == -libc::ENOENT && slot.armed && (slot.canceling || slot.stop == Stop::Draining) {
            slot.canceling = false;
            self.cancel_accept(key);
        }
    }

    pub(super) fn on_accept(&mut self, key: Key, event: Event) {
        // Owned before anything else, so that one that comes late is closed.
        // SAFETY: a result of zero or more is a descriptor that the kernel has just made for us.
        let socket = (event.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(event.result) });
        let Some(slot) = self.listeners.get_mut(key) else { return };
        if let (Some(socket), false) = (socket, slot.closing) {
            // A peer that has gone already has no name and is not worth serving.
            match sys::peer_name(socket.as_raw_fd()).and_then(|raw| PeerAddr::from_raw(&raw)) {
                Ok(peer) => {
                    self.stats.accepts.add(1);
                    slot.queue.push_back(Accepted { socket, peer });
                    self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
                }
                Err(_) => self.stats.accept_errors.add(1),
            }
        }
        if event.more() {
            if slot.queue.len() >= self.accept_queue_max {
                self.cancel_accept(key);
            }
            return;
        }
        (slot.armed, slot.canceling) = (false, false);
        if event.result < 0 && event.result != -libc::ECANCELED {
            self.on_accept_error(key, -event.result);
        }
        self.go_on_accepting(key, event.result >= 0);
    }

    fn on_accept_error(&mut self, key: Key, errno: i32) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        self.stats.accept_errors.add(1);
        if matches!(errno, libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN | libc::EPERM) {
            return;
        }
        slot.error = Some(IoError::from_errno(errno));
        slot.backing_off = true;
        self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
        self.exec.add_alarm(self.now_nanos + BACKOFF_NANOS, Alarm::Listener(key));
    }

    /// No accept is in flight: what comes next?
    fn go_on_accepting(&mut self, key: Key, accepted: bool) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        if slot.closing {
            if let Driver::Epoll(epoll) = &mut self.driver {
                epoll.forget(slot.fd.as_raw_fd());
            }
            self.listeners.remove(key);
            return;
        }
        match slot.stop {
            Stop::No => self.arm_accept(key),
            Stop::Canceling => self.drain_backlog(key),
            Stop::Draining if accepted => self.drain_backlog(key),
            Stop::Draining | Stop::Done => {
                slot.stop = Stop::Done;
                self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
            }
        }
    }

    /// Takes what waits in the backlog, without waiting for more.
    fn drain_backlog(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.stop = Stop::Draining;
        match &mut self.driver {
            Driver::Uring(uring) => {
                slot.armed = true;
                uring.accept_now(key, slot.fd.as_raw_fd());
                return;
            }
            Driver::Epoll(_) => {
                while let Ok(socket) = sys::accept(slot.fd.as_raw_fd()) {
                    if let Ok(peer) =
                        sys::peer_name(socket.as_raw_fd()).and_then(|raw| PeerAddr::from_raw(&raw))
                    {
                        self.stats.accepts.add(1);
                        slot.queue.push_back(Accepted { socket, peer });
                    }
                }
            }
            Driver::Down => {}
        }
        slot.stop = Stop::Done;
        self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
    }

    pub(crate) fn on_listener_alarm(&mut self, key: Key) {
        if let Some(slot) = self.listeners.get_mut(key) {
            slot.backing_off = false;
            self.arm_accept(key);
        }
    }

    pub(crate) fn poll_accept(&mut self, key: Key) -> Poll<Result<Accepted, IoError>> {
        let Some(slot) = self.listeners.get_mut(key) else { return Poll::Ready(Err(IoError::Closed)) };
        if let Some(accepted) = slot.queue.pop_front() {
            if slot.queue.len() <= self.accept_queue_max / 2 {
                self.arm_accept(key);
            }
            return Poll::Ready(Ok(accepted));
        }
        if let Some(error) = slot.error.take() {
            return Poll::Ready(Err(error));
        }
        if self.down {
            return Poll::Ready(Err(IoError::Closed));
        }
        if self.exec.running_expired() {
            return Poll::Ready(Err(IoError::TimedOut));
        }
        slot.task = self.exec.running();
        Poll::Pending
    }

    pub(crate) fn pause_listener(&mut self, key: Key, pause: bool) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.paused = pause;
        if pause {
            self.cancel_accept(key);
        } else {
            self.arm_accept(key);
        }
    }

    /// Begins to stop accepting for good; [`Self::poll_stopped`] gives what came late.
    pub(crate) fn stop_listener(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.stop = Stop::Canceling;
        if slot.armed {
            self.cancel_accept(key);
        } else {
            self.drain_backlog(key);
        }
    }

    pub(crate) fn poll_stopped(&mut self, key: Key) -> Poll<Vec<Accepted>> {
        let Some(slot) = self.listeners.get_mut(key) else { return Poll::Ready(Vec::new()) };
        if slot.stop == Stop::Done || self.down {
            return Poll::Ready(slot.queue.drain(..).collect());
        }
        slot.task = self.exec.running();
        Poll::Pending
    }

    /// The handle is gone: the socket is closed when no accept is in flight.
    pub(crate) fn end_listener(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.closing = true;
        self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
        let queue = std::mem::take(&mut slot.queue);
        drop(queue);
        if slot.armed && matches!(self.driver, Driver::Uring(_)) {
            slot.canceling = false;
            self.cancel_accept(key);
        } else {
            self.go_on_accepting(key, false);
        }
    }
}
