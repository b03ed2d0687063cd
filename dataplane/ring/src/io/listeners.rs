//! Listening sockets: one multishot accept each, paused by its own queue, backed off when descriptors run out.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::Poll;

use super::{Driver, Io};
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
        let key = self.listeners.insert(ListenerSlot::new(socket));
        let Some(slot) = self.listeners.get(key) else { return Err(IoError::Closed) };
        if let Err(error) = self.driver.prepare_listener(key, &slot.fd, self.keepalive.as_ref()) {
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
        let target = if slot.polling { Op::AcceptPoll } else { Op::Accept };
        match &mut self.driver {
            Driver::Uring(uring) => uring.cancel(Op::CancelAccept, target, key),
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
            match self.driver.peer_of(&socket) {
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
        let going_on = slot.stop == Stop::No && !slot.closing;
        match event.result {
            result if result == -libc::EAGAIN && going_on => return self.poll_for_accept(key),
            result if result >= 0 || result == -libc::ECANCELED || result == -libc::EAGAIN => {}
            result => self.on_accept_error(key, -result),
        }
        self.go_on_accepting(key, event.result >= 0 || is_passing(-event.result));
    }

    /// The listening socket does not block, as somebody who shares it wants: waits until it has something. Kernels
    /// from before Linux 6.0 end an accept with EAGAIN then.
    fn poll_for_accept(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        if self.down || !slot.wants_accept(self.accept_queue_max) {
            return;
        }
        if let Driver::Uring(uring) = &mut self.driver {
            (slot.armed, slot.polling) = (true, true);
            uring.accept_poll(key, slot.fd.as_raw_fd());
        }
    }

    pub(super) fn on_accept_poll(&mut self, key: Key, result: i32) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        (slot.armed, slot.polling, slot.canceling) = (false, false, false);
        if result < 0 && result != -libc::ECANCELED {
            self.on_accept_error(key, -result);
        }
        self.go_on_accepting(key, false);
    }

    fn on_accept_error(&mut self, key: Key, errno: i32) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        self.stats.accept_errors.add(1);
        if is_passing(errno) {
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

    /// Takes what waits in the backlog, without waiting for more: at most as many as a listener may queue. What is
    /// left then stays with the others who share the socket, or is refused when it is closed.
    fn drain_backlog(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.stop = Stop::Draining;
        match &mut self.driver {
            Driver::Uring(uring) if slot.drained < self.accept_queue_max => {
                slot.drained += 1;
                slot.armed = true;
                uring.accept_now(key, slot.fd.as_raw_fd());
                return;
            }
            Driver::Uring(_) => self.stats.backlogs_cut.add(1),
            Driver::Epoll(_) => self.accept_all(key),
            Driver::Down => {}
        }
        let Some(slot) = self.listeners.get_mut(key) else { return };
        slot.stop = Stop::Done;
        self.exec.wake(std::mem::replace(&mut slot.task, NO_TASK));
    }

    /// Empties the backlog by accepts that do not block, for a driver that has no other.
    fn accept_all(&mut self, key: Key) {
        let Some(slot) = self.listeners.get_mut(key) else { return };
        for _ in 0..self.accept_queue_max {
            let accepted = sys::accept_nonblocking(slot.fd.as_raw_fd());
            match accepted.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)) {
                Ok(socket) => match self.driver.peer_of(&socket) {
                    Ok(peer) => {
                        self.stats.accepts.add(1);
                        slot.queue.push_back(Accepted { socket, peer });
                    }
                    Err(_) => self.stats.accept_errors.add(1),
                },
                Err(libc::EAGAIN) => return,
                Err(errno) => {
                    self.stats.accept_errors.add(1);
                    if !is_passing(errno) {
                        return;
                    }
                }
            }
        }
        self.stats.backlogs_cut.add(1);
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

/// The failure of one connection, or of one attempt, and not of the listener.
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DriverChoice, ShardConfig};
    use crate::probe;
    use crate::shard::Shard;
    use crate::table::user_data;
    use std::time::Duration;

    #[test]
    fn an_accept_that_does_not_wait_is_waited_for() {
        let cfg = ShardConfig::default();
        let chosen = probe::choose(DriverChoice::IoUring, &cfg).expect("this test needs io_uring");
        let mut shard = Shard::new(&cfg, &chosen).expect("a shard");
        let handle = shard.handle();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = tcp.local_addr().expect("address");
        let key = handle.with_io(|io| io.listen(tcp.into())).expect("listens");
        let state = |wanted: (bool, bool)| {
            handle
                .with_io(|io| io.listeners.get(key).is_some_and(|slot| (slot.armed, slot.polling) == wanted))
        };
        let mut turn_until = |done: &dyn Fn() -> bool| {
            for _ in 0..1000 {
                if done() {
                    return true;
                }
                shard.turn(Some(Duration::from_millis(5)));
            }
            false
        };
        handle.with_io(|io| io.pause_listener(key, true));
        assert!(turn_until(&|| state((false, false))));
        // As such a kernel would say it.
        handle.with_io(|io| {
            let slot = io.listeners.get_mut(key).expect("the listener");
            (slot.paused, slot.armed) = (false, true);
            io.on_accept(
                key,
                Event { user_data: user_data(Op::Accept, key), result: -libc::EAGAIN, flags: 0 },
            );
        });
        assert!(state((true, true)), "it must wait, and not ask again and again");
        let _peer = std::net::TcpStream::connect(addr).expect("connects");
        assert!(turn_until(&|| handle.stats().accepts.get() == 1));
        assert_eq!(handle.stats().accept_errors.get(), 0);
        // The wait can be canceled like the accept.
        handle.with_io(|io| io.pause_listener(key, true));
        assert!(turn_until(&|| state((false, false))));
        handle.with_io(|io| {
            let slot = io.listeners.get_mut(key).expect("the listener");
            (slot.paused, slot.armed) = (false, true);
            io.on_accept(
                key,
                Event { user_data: user_data(Op::Accept, key), result: -libc::EAGAIN, flags: 0 },
            );
            io.end_listener(key);
        });
        assert!(turn_until(&|| handle.with_io(|io| io.listeners.get(key).is_none())));
    }
}
