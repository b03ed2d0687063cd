//! Sending: one operation per connection, partial ones continued, leases given back to whoever needs them.

use std::task::Poll;

use super::{Driver, Io};
use crate::buffers::{GroupId, Groups};
use crate::error::IoError;
use crate::exec::NO_TASK;
use crate::send::{Block, SendList, Sent};
use crate::slab::Key;
use crate::stats::RingStats;
use crate::table::{Bits, ConnSlot, Op};

impl Io {
    /// False if one is in flight already: that block is the kernel's, the new one cannot take its place.
    pub(crate) fn start_send(&mut self, key: Key, list: SendList) -> bool {
        let mut block = list.into_block();
        let slot = match self.conns.get_mut(key) {
            Some(slot) if !slot.bits.has(Bits::SENDING) => slot,
            found => {
                let gone = found.is_none();
                self.pool.put(block);
                return gone;
            }
        };
        block.done = 0;
        block.result = if self.down { Err(IoError::Closed) } else { Ok(()) };
        let bytes = block.prepare();
        slot.bits.clear(Bits::NOWAIT | Bits::SEND_EXPIRED);
        slot.bits.set(Bits::SENT);
        if bytes > 0 && !self.down {
            if !pin(&mut block, &self.groups) {
                slot.bits.set(Bits::NOWAIT);
            }
            slot.bits.clear(Bits::SENT);
            slot.bits.set(Bits::SENDING);
        }
        if let Some(old) = slot.send.replace(block) {
            self.pool.put(old);
        }
        submit(&mut self.driver, &self.stats, key, slot);
        true
    }

    pub(super) fn on_sent(&mut self, key: Key, result: i32) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if !slot.bits.has(Bits::SENDING) {
            return;
        }
        slot.bits.clear(Bits::WAIT_WRITE);
        if slot.bits.has(Bits::CLOSING) {
            return self.finish_send(key, Err(IoError::Canceled));
        }
        let Some(block) = &mut slot.send else { return };
        let n = usize::try_from(result).unwrap_or(0);
        block.done += n;
        slot.bytes_sent += n as u64;
        let partial = n > 0 && n < block.submitted;
        if partial {
            self.stats.partial_sends.add(1);
        }
        let would_wait = slot.bits.has(Bits::NOWAIT) && (partial || result == -libc::EAGAIN);
        if would_wait {
            slot.bits.clear(Bits::NOWAIT);
            self.stats.spilled_bytes.add(block.spill() as u64);
        }
        let expired = slot.bits.has(Bits::SEND_EXPIRED);
        match -result {
            errno if errno > 0 && !would_wait && errno != libc::EINTR && errno != libc::EAGAIN => {
                let timed_out = expired && errno == libc::ECANCELED;
                let error = if timed_out { IoError::TimedOut } else { IoError::from_errno(errno) };
                self.finish_send(key, Err(error));
            }
            0 => self.finish_send(key, Err(IoError::BrokenPipe)),
            _ => {
                if block.is_done_with(n) || block.prepare() == 0 {
                    self.finish_send(key, Ok(()));
                } else if expired {
                    self.finish_send(key, Err(IoError::TimedOut));
                } else if self.down {
                    self.finish_send(key, Err(IoError::Closed));
                } else {
                    submit(&mut self.driver, &self.stats, key, slot);
                }
            }
        }
    }

    fn finish_send(&mut self, key: Key, result: Result<(), IoError>) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        slot.bits.clear(Bits::SENDING | Bits::NOWAIT | Bits::SEND_EXPIRED);
        if let Some(block) = &mut slot.send {
            block.result = result;
            unpin(block, &self.groups);
        }
        if slot.bits.has(Bits::CLOSING) {
            if let Some(block) = slot.send.take() {
                self.pool.put(block);
            }
            return self.try_finish_close(key);
        }
        slot.bits.set(Bits::SENT);
        let released = slot.bits.take(Bits::RELEASED);
        if released {
            slot.bits.clear(Bits::SENT);
            if result.is_err() && slot.error == 0 {
                // Whoever receives next learns of it.
                slot.error = libc::EPIPE;
                self.exec.wake(std::mem::replace(&mut slot.recv_task, NO_TASK));
            }
            if let Some(block) = slot.send.take() {
                self.pool.put(block);
            }
        }
        if slot.bits.take(Bits::SHUT_AFTER) {
            self.driver.shutdown_write(slot.fd);
        }
        self.exec.wake(std::mem::replace(&mut slot.send_task, NO_TASK));
    }

    pub(crate) fn poll_sent(&mut self, key: Key) -> Poll<Sent> {
        let closed = |pool| Poll::Ready(Sent { list: SendList::new(pool), result: Err(IoError::Closed) });
        if self.poll_send_free(key).is_pending() {
            return Poll::Pending;
        }
        let Some(slot) = self.conns.get_mut(key) else { return closed(&self.pool) };
        slot.bits.clear(Bits::SENT);
        match slot.send.take() {
            Some(block) => {
                let result = block.result;
                Poll::Ready(Sent { list: SendList::from_block(block, &self.pool), result })
            }
            None => closed(&self.pool),
        }
    }

    /// Lets go of the send: nobody is woken by its end, a failure is told by the next receive.
    pub(crate) fn release_sent(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if slot.bits.has(Bits::SENDING) {
            slot.bits.set(Bits::RELEASED);
        } else if slot.bits.take(Bits::SENT)
            && let Some(block) = slot.send.take()
        {
            self.pool.put(block);
        }
    }

    /// Ready when no send is in flight: it has ended, or, after a released one, the next may start.
    #[inline]
    pub(crate) fn poll_send_free(&mut self, key: Key) -> Poll<()> {
        let Some(slot) = self.conns.get_mut(key) else { return Poll::Ready(()) };
        if !slot.bits.has(Bits::SENDING) {
            return Poll::Ready(());
        }
        slot.send_task = self.exec.running();
        if !slot.bits.has(Bits::SEND_EXPIRED) && self.exec.running_expired() {
            slot.bits.set(Bits::SEND_EXPIRED);
            self.cancel_send(key, Op::Send);
        }
        Poll::Pending
    }

    /// Asks a send or a connect to end; it does so by its own completion.
    pub(super) fn cancel_send(&mut self, key: Key, target: Op) {
        match &mut self.driver {
            Driver::Uring(uring) => uring.cancel(Op::CancelSend, target, key),
            Driver::Epoll(epoll) => epoll.cancel(target, key),
            Driver::Down => {}
        }
    }

    pub(super) fn on_canceled_send(&mut self, key: Key, result: i32) {
        let Some(slot) = self.conns.get(key) else { return };
        let bits = slot.bits;
        if result != -libc::ENOENT {
            return;
        }
        // Not found although it is in flight: it had not been submitted yet.
        if bits.has(Bits::SENDING) && bits.has(Bits::SEND_EXPIRED) {
            self.cancel_send(key, Op::Send);
        } else if bits.has(Bits::CONNECTING) && bits.has(Bits::CONNECT_EXPIRED) {
            self.cancel_send(key, Op::Connect);
        }
    }

    pub(crate) fn shutdown_write(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if slot.bits.has(Bits::SENDING) {
            slot.bits.set(Bits::SHUT_AFTER);
        } else {
            self.driver.shutdown_write(slot.fd);
        }
    }
}

/// Hands what the block has laid out to the driver.
#[inline]
fn submit(driver: &mut Driver, stats: &RingStats, key: Key, slot: &mut ConnSlot) {
    if !slot.bits.has(Bits::SENDING) {
        return;
    }
    stats.sends.add(1);
    let (nowait, late) = (slot.bits.has(Bits::NOWAIT), slot.bits.has(Bits::ACTIVE));
    match driver {
        Driver::Uring(uring) => {
            let Some(block) = &mut slot.send else { return };
            match block.single() {
                Some(bytes) => uring.send(key, slot.fd, bytes, nowait, late),
                None => uring.sendmsg(key, slot.fd, block.message(), nowait, late),
            }
        }
        Driver::Epoll(epoll) => epoll.send(key, slot),
        Driver::Down => {}
    }
}

/// Counts the block's leases as pinned; false, and none counted, when that passes a group's bound.
fn pin(block: &mut Block, groups: &Groups) -> bool {
    let [small, large] = block.leases();
    if small + large == 0 {
        return true;
    }
    if !groups[GroupId::Small].book().pin(small) {
        return false;
    }
    if !groups[GroupId::Large].book().pin(large) {
        groups[GroupId::Small].book().unpin(small);
        return false;
    }
    block.pinned = [small, large];
    true
}

fn unpin(block: &mut Block, groups: &Groups) {
    if block.pinned == [0, 0] {
        return;
    }
    for (group, pinned) in groups.filled().zip(std::mem::take(&mut block.pinned)) {
        group.book().unpin(pinned);
    }
}
