//! Receiving: arming under a credit, queueing what came, starving in order.

use std::task::Poll;

use super::{Driver, Io};
use crate::buffers::{Groups, Lease, OVERFLOW};
use crate::config::RecvMode;
use crate::error::IoError;
use crate::slab::Key;
use crate::stats::RingStats;
use crate::table::{Bits, Event, Op};

impl Io {
    /// Arms the receive if it should be armed; afterwards it is armed, starved, ended, or has enough queued.
    pub(super) fn arm_recv(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let idle = Bits::ARMED | Bits::STARVED | Bits::CLOSING | Bits::CONNECTING;
        if self.down || slot.bits.has(idle) || slot.recv_ended() {
            return;
        }
        let index = slot.wanted_group();
        let (queued, count) = (slot.queue.bytes(), slot.queue.count());
        if queued > self.window / 2 || count > self.leases_max[index] / 2 {
            return;
        }
        let group = &self.groups[index];
        let available = group.book().available();
        if available == 0 {
            slot.bits.set(Bits::STARVED);
            self.starved[index].push_back(key);
            return;
        }
        slot.bits.set(Bits::ARMED);
        slot.bits.clear(Bits::ARMED_LARGE);
        if index == 1 {
            slot.bits.set(Bits::ARMED_LARGE);
        }
        // One connection gets at most a quarter of what is left, so that a few that nobody reads cannot take all.
        let share = (available / 4).max(1).saturating_mul(group.size());
        let credit = (self.window - queued).min(share);
        match &mut self.driver {
            Driver::Uring(uring) => uring.recv(key, slot.fd, index, credit),
            Driver::Epoll(epoll) => epoll.recv(key, slot),
            Driver::Down => slot.bits.clear(Bits::ARMED),
        }
    }

    fn rearm_recv(&mut self, key: Key) {
        self.arm_recv(key);
        if self.conns.get(key).is_some_and(|slot| slot.bits.has(Bits::ARMED)) {
            self.stats.rearms.add(1);
        }
    }

    pub(super) fn cancel_recv(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if !slot.bits.has(Bits::ARMED) {
            return;
        }
        slot.bits.set(Bits::CANCELING);
        match &mut self.driver {
            Driver::Uring(uring) => uring.cancel(Op::CancelRecv, Op::Recv, key),
            Driver::Epoll(epoll) => epoll.cancel(Op::Recv, key),
            Driver::Down => {}
        }
    }

    pub(super) fn on_recv(&mut self, key: Key, event: Event) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let closing = slot.bits.has(Bits::CLOSING);
        let index = slot.armed_group();
        let group = &self.groups[index];
        let len = u32::try_from(event.result).unwrap_or(0);
        if let Some(bid) = event.buffer().filter(|bid| group.book().lease(*bid, len)) {
            if closing || len == 0 {
                group.release(bid);
            } else {
                let (index, bid) = keep(&self.groups, index, bid, &self.stats);
                slot.queue.push(&self.groups, index, bid);
            }
        }
        if event.result > 0 && !closing {
            self.exec.wake(std::mem::replace(&mut slot.recv_task, crate::exec::NO_TASK));
        }
        if !event.more() {
            return self.on_recv_end(key, event.result);
        }
        let over = slot.queue.bytes() > self.window || slot.queue.count() >= self.leases_max[index];
        if over && !closing && !slot.bits.has(Bits::CANCELING) {
            self.stats.recv_overshoots.add(1);
            self.cancel_recv(key);
        }
    }

    /// The receive in flight has ended, whatever its result.
    fn on_recv_end(&mut self, key: Key, result: i32) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if !slot.bits.take(Bits::ARMED) {
            return;
        }
        slot.bits.clear(Bits::CANCELING);
        if slot.bits.has(Bits::CLOSING) {
            return self.try_finish_close(key);
        }
        match -result {
            i32::MIN..=-1 | libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.rearm_recv(key),
            libc::ENOBUFS => {
                self.stats.enobufs.add(1);
                slot.bits.set(Bits::STARVED);
                let group = slot.wanted_group();
                self.starved[group].push_back(key);
            }
            errno => {
                if errno == 0 {
                    slot.bits.set(Bits::EOF);
                } else {
                    slot.error = errno;
                }
                self.exec.wake(std::mem::replace(&mut slot.recv_task, crate::exec::NO_TASK));
            }
        }
    }

    pub(super) fn on_canceled_recv(&mut self, key: Key, result: i32) {
        // Not found although it is in flight: it had not been submitted yet.
        let again = |bits: Bits| bits.has(Bits::ARMED) && bits.has(Bits::CANCELING);
        if result == -libc::ENOENT && self.conns.get(key).is_some_and(|slot| again(slot.bits)) {
            self.cancel_recv(key);
        }
    }

    /// Arms starved connections, in order, at most as many as there are buffers, and none below the low-water mark.
    pub(super) fn feed_starved(&mut self) {
        for index in 0..2 {
            if self.starved[index].is_empty() {
                continue;
            }
            let book = self.groups[index].book();
            let mut left = book.available();
            if left < (book.count() / 8).max(1) {
                continue;
            }
            while left > 0 {
                let Some(key) = self.starved[index].pop_front() else { break };
                let Some(slot) = self.conns.get_mut(key) else { continue };
                if slot.wanted_group() == index && slot.bits.take(Bits::STARVED) {
                    left -= 1;
                    self.rearm_recv(key);
                }
            }
        }
    }

    pub(crate) fn set_recv_mode(&mut self, key: Key, mode: RecvMode) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let index = mode.group();
        if slot.wanted_group() == index {
            return;
        }
        slot.bits.clear(Bits::WANT_LARGE);
        if index == 1 {
            slot.bits.set(Bits::WANT_LARGE);
        }
        if slot.bits.take(Bits::STARVED) {
            return self.rearm_recv(key);
        }
        let armed = slot.bits.has(Bits::ARMED) && slot.armed_group() != index;
        if armed && !slot.bits.has(Bits::CANCELING) {
            self.cancel_recv(key);
        }
    }

    /// The first of what is queued.
    pub(crate) fn try_recv(&mut self, key: Key) -> Option<Lease> {
        let slot = self.conns.get_mut(key)?;
        let (index, bid) = slot.queue.pop(&self.groups)?;
        let lease = Lease::new(&self.groups[index], index, bid);
        if !slot.bits.has(Bits::ARMED) {
            self.rearm_recv(key);
        }
        Some(lease)
    }

    pub(crate) fn poll_recv(&mut self, key: Key) -> Poll<Result<Option<Lease>, IoError>> {
        if let Some(lease) = self.try_recv(key) {
            return Poll::Ready(Ok(Some(lease)));
        }
        let Some(slot) = self.conns.get_mut(key) else { return Poll::Ready(Err(IoError::Closed)) };
        if slot.error != 0 {
            return Poll::Ready(Err(IoError::from_errno(slot.error)));
        }
        if slot.bits.has(Bits::EOF) {
            return Poll::Ready(Ok(None));
        }
        if self.down {
            return Poll::Ready(Err(IoError::Closed));
        }
        if self.exec.running_expired() {
            return Poll::Ready(Err(IoError::TimedOut));
        }
        slot.recv_task = self.exec.running();
        Poll::Pending
    }

    pub(crate) fn recv_ended(&mut self, key: Key) -> bool {
        let Some(slot) = self.conns.get_mut(key) else { return true };
        if slot.recv_ended() || self.down {
            return true;
        }
        slot.recv_task = self.exec.running();
        false
    }

    pub(crate) fn closed_by_peer(&mut self, key: Key) -> bool {
        let Some(slot) = self.conns.get_mut(key) else { return true };
        if slot.queue.is_empty() && (slot.recv_ended() || self.down) {
            return true;
        }
        slot.recv_task = self.exec.running();
        false
    }
}

/// Where what was received is kept: in its buffer, or, when few of them are left, in a copy.
fn keep(groups: &Groups, index: usize, bid: u16, stats: &RingStats) -> (usize, u16) {
    let group = &groups[index];
    if group.book().is_scarce()
        && let Some(copy) = groups[OVERFLOW].copy_in(group.received(bid))
    {
        stats.spilled_bytes.add(u64::from(group.book().len_of(bid)));
        group.release(bid);
        return (OVERFLOW, copy);
    }
    (index, bid)
}
