//! Connections come and go: adopting, connecting, closing.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::task::Poll;

use super::{Driver, Io};
use crate::addr::SockAddr;
use crate::config::RecvMode;
use crate::error::IoError;
use crate::exec::NO_TASK;
use crate::slab::Key;
use crate::table::{Bits, ConnSlot, Op};

impl Io {
    /// Takes over a connected socket and arms its receive.
    pub(crate) fn adopt(&mut self, socket: OwnedFd, mode: RecvMode) -> Result<Key, IoError> {
        if self.down {
            return Err(IoError::Closed);
        }
        self.driver.prepare(&socket, self.keepalive.as_ref())?;
        let fd = socket.as_raw_fd();
        let key = self.insert(socket, mode);
        if let Err(error) = self.driver.register(key, fd) {
            self.close(key);
            return Err(error.into());
        }
        if let Some(slot) = self.conns.get_mut(key) {
            slot.bits.set(Bits::CONNECTED);
        }
        self.arm_recv(key);
        Ok(key)
    }

    fn insert(&mut self, socket: OwnedFd, mode: RecvMode) -> Key {
        self.conns.insert(ConnSlot::new(socket.into_raw_fd(), mode.group()))
    }

    /// Begins to connect; [`Self::poll_connected`] tells how it went.
    pub(crate) fn connect(&mut self, addr: &SockAddr, mode: RecvMode) -> Result<Key, IoError> {
        if self.down {
            return Err(IoError::Closed);
        }
        let raw = addr.to_raw()?;
        let socket = self.driver.socket_to(addr, self.keepalive.as_ref())?;
        let key = self.insert(socket, mode);
        let mut block = self.pool.take();
        let address = block.address.insert(Box::new(raw));
        let (at, len) = (address.as_ptr(), address.len);
        let Some(slot) = self.conns.get_mut(key) else { return Err(IoError::Closed) };
        slot.send = Some(block);
        slot.bits.set(Bits::CONNECTING | Bits::ACTIVE);
        match &mut self.driver {
            Driver::Uring(uring) => uring.connect(key, slot.fd, at, len),
            Driver::Epoll(epoll) => {
                epoll.connect(key, slot);
                // Only now: a socket that has not begun to connect counts as hung up.
                if let Err(error) = epoll.register(key, slot.fd) {
                    self.close(key);
                    return Err(error.into());
                }
            }
            Driver::Down => {}
        }
        Ok(key)
    }

    pub(super) fn on_connected(&mut self, key: Key, result: i32) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if !slot.bits.take(Bits::CONNECTING) {
            return;
        }
        slot.bits.clear(Bits::WAIT_WRITE);
        let expired = slot.bits.take(Bits::CONNECT_EXPIRED);
        if let Some(block) = slot.send.take() {
            self.pool.put(block);
        }
        if slot.bits.has(Bits::CLOSING) {
            return self.try_finish_close(key);
        }
        if result == 0 {
            slot.bits.set(Bits::CONNECTED);
        } else {
            slot.error = if expired && result == -libc::ECANCELED { libc::ETIMEDOUT } else { -result };
        }
        self.exec.wake(std::mem::replace(&mut slot.send_task, NO_TASK));
        self.arm_recv(key);
    }

    pub(crate) fn poll_connected(&mut self, key: Key) -> Poll<Result<(), IoError>> {
        let Some(slot) = self.conns.get_mut(key) else { return Poll::Ready(Err(IoError::Closed)) };
        if slot.bits.has(Bits::CONNECTED) {
            return Poll::Ready(Ok(()));
        }
        if slot.error != 0 {
            return Poll::Ready(Err(IoError::from_errno(slot.error)));
        }
        if self.down {
            return Poll::Ready(Err(IoError::Closed));
        }
        slot.send_task = self.exec.running();
        if !slot.bits.has(Bits::CONNECT_EXPIRED) && self.exec.running_expired() {
            slot.bits.set(Bits::CONNECT_EXPIRED);
            self.cancel_send(key, Op::Connect);
        }
        Poll::Pending
    }

    /// The owner is gone: ends everything, and closes the descriptor after the last completion.
    pub(crate) fn close(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        while let Some((id, bid)) = slot.queue.pop(&self.groups) {
            self.groups[id].release(bid);
        }
        slot.bits.set(Bits::CLOSING);
        (slot.recv_task, slot.send_task) = (NO_TASK, NO_TASK);
        slot.closing_since_nanos = self.now_nanos;
        if !slot.bits.has(Bits::SENDING | Bits::CONNECTING)
            && let Some(block) = slot.send.take()
        {
            self.pool.put(block);
        }
        match &self.driver {
            Driver::Uring(_) => {
                if slot.in_flight() {
                    self.cancel_conn(key);
                }
            }
            Driver::Epoll(_) | Driver::Down => self.end_without_kernel(key),
        }
        self.try_finish_close(key);
    }

    /// With epoll the kernel holds nothing of ours: whatever is in flight is over.
    fn end_without_kernel(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let busy = Bits::ARMED | Bits::SENDING | Bits::CONNECTING | Bits::CANCEL_FD | Bits::WAIT_WRITE;
        slot.bits.clear(busy);
        if let Some(mut block) = slot.send.take() {
            for (group, pinned) in self.groups.filled().zip(std::mem::take(&mut block.pinned)) {
                group.book().unpin(pinned);
            }
            self.pool.put(block);
        }
    }

    fn cancel_conn(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        // Ends also what is still waiting to be submitted.
        self.driver.shutdown(slot.fd);
        let Driver::Uring(uring) = &mut self.driver else { return };
        if !slot.bits.has(Bits::CANCEL_FD) {
            slot.bits.set(Bits::CANCEL_FD);
            uring.cancel_fd(key, slot.fd);
        }
    }

    pub(super) fn on_canceled_fd(&mut self, key: Key, result: i32) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        slot.bits.clear(Bits::CANCEL_FD);
        if slot.in_flight() && matches!(result, r if r == -libc::ENOENT || r == -libc::EALREADY) {
            return self.cancel_conn(key);
        }
        self.try_finish_close(key);
    }

    /// Closes the descriptor and frees the slot, if the handle is gone and nothing is in flight.
    pub(super) fn try_finish_close(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if slot.in_flight() || !slot.bits.has(Bits::CLOSING) {
            return;
        }
        let Some(slot) = self.conns.remove(key) else { return };
        self.driver.close(slot.fd);
        if let Some(block) = slot.send {
            self.pool.put(block);
        }
        self.stats.cancel_latency_max_nanos.raise(self.now_nanos.saturating_sub(slot.closing_since_nanos));
    }

    /// Teardown: ends a connection whose handle may live on.
    pub(super) fn abort_conn(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        for task in [&mut slot.recv_task, &mut slot.send_task] {
            self.exec.wake(std::mem::replace(task, NO_TASK));
        }
        if slot.in_flight() {
            self.cancel_conn(key);
        }
    }

    pub(super) fn settle_after_teardown(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        slot.bits.clear(Bits::ARMED | Bits::CONNECTING | Bits::CANCEL_FD);
        if slot.bits.take(Bits::SENDING)
            && let Some(block) = &mut slot.send
        {
            block.result = Err(IoError::Closed);
            for (group, pinned) in self.groups.filled().zip(std::mem::take(&mut block.pinned)) {
                group.book().unpin(pinned);
            }
        }
        for task in [&mut slot.recv_task, &mut slot.send_task] {
            self.exec.wake(std::mem::replace(task, NO_TASK));
        }
        if slot.bits.has(Bits::CLOSING) {
            self.try_finish_close(key);
        }
    }

    /// The descriptor and the payload bytes sent, and whether we connected.
    pub(crate) fn conn_info(&self, key: Key) -> Option<(RawFd, u64, bool)> {
        self.conns.get(key).map(|slot| (slot.fd, slot.bytes_sent, slot.bits.has(Bits::ACTIVE)))
    }
}
