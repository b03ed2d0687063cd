//! Receiving: arming under a credit, queueing what came, starving in order.

use std::collections::VecDeque;
use std::task::Poll;

use super::{Driver, Io};
use crate::buffers::{GroupId, Groups};
use crate::config::RecvMode;
use crate::error::IoError;
use crate::heap::{BYTES_MAX as HEAP_BYTES_MAX, OVERHEAD_BYTES as HEAP_OVERHEAD_BYTES};
use crate::lease::Lease;
use crate::slab::{Key, Slab};
use crate::stats::RingStats;
use crate::table::{Bits, ConnSlot, Event, Op};

/// Shares of the heap per connection: one that runs before it can be stopped may take several.
const HEAP_SHARES_PER_CONN: usize = 4;
/// What a share is at least, bytes.
const SHARE_BYTES_MIN: usize = 64;

impl Io {
    /// Arms the receive if it should be armed; afterwards it is armed, waits for buffers, has ended, or has enough
    /// queued.
    pub(super) fn arm_recv(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let idle = Bits::ARMED | Bits::STARVED | Bits::CLOSING | Bits::CONNECTING;
        if self.down || slot.bits.has(idle) || slot.recv_ended() {
            return;
        }
        let id = slot.wanted_group();
        let (queued, count) = (slot.queue.bytes(), slot.queue.count());
        if queued > self.window / 2 || count > self.leases_max[id.index()] / 2 {
            return;
        }
        let group = &self.groups[id];
        let (available, scarce) = (group.book().available(), group.book().is_scarce());
        let share = if scarce { group.share() } else { u32::MAX };
        // No room for another buffer within its share: it waits until it has been read.
        if count > 0 && queued.saturating_add(group.size()) > share {
            return self.park(key);
        }
        if available == 0 {
            return self.starve(key);
        }
        slot.bits.set(Bits::ARMED);
        slot.bits.clear(Bits::ARMED_LARGE);
        if id == GroupId::Large {
            slot.bits.set(Bits::ARMED_LARGE);
        }
        match &mut self.driver {
            // A share of a buffer or two is not worth more than one receive, which cannot take more than one.
            Driver::Uring(uring) if share / 2 < group.size() => uring.recv_once(key, slot.fd, id),
            Driver::Uring(uring) => {
                // One connection gets at most a quarter of what is left, so that a few that nobody reads cannot
                // take all.
                let quarter = (available / 4).max(1).saturating_mul(group.size());
                uring.recv(key, slot.fd, id, quarter.min(share - queued).min(self.window - queued));
            }
            Driver::Epoll(epoll) => epoll.recv(key, slot),
            Driver::Down => slot.bits.clear(Bits::ARMED),
        }
    }

    /// Lets a connection that has nothing wait for a buffer.
    fn starve(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        slot.bits.set(Bits::STARVED);
        let list = &mut self.starved[slot.wanted_group().index()];
        forget_gone(list, &self.conns);
        list.push_back(key);
    }

    /// Lets a connection that has something queued wait until buffers are no longer scarce, or it has been read.
    fn park(&mut self, key: Key) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        if !slot.bits.has(Bits::PARKED) {
            slot.bits.set(Bits::PARKED);
            self.stats.held_back.add(1);
            let list = &mut self.parked[slot.wanted_group().index()];
            forget_gone(list, &self.conns);
            list.push_back(key);
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
        let armed = slot.armed_group();
        let group = &self.groups[armed];
        let len = u32::try_from(event.result).unwrap_or(0);
        if let Some(bid) = event.buffer().filter(|bid| group.book().lease(*bid, len)) {
            if closing || len == 0 {
                group.release(u32::from(bid));
            } else {
                let (id, bid) = keep(&self.groups, armed, bid, &self.stats);
                slot.queue.push(&self.groups, id, bid, len);
            }
        }
        if event.result > 0 && !closing {
            self.exec.wake(std::mem::replace(&mut slot.recv_task, crate::exec::NO_TASK));
        }
        if !event.more() {
            return self.on_recv_end(key, event.result);
        }
        let share = if group.book().is_scarce() { group.share() } else { u32::MAX };
        let over = slot.queue.bytes() > self.window.min(share)
            || slot.queue.count() >= self.leases_max[armed.index()];
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
                if slot.queue.is_empty() { self.starve(key) } else { self.park(key) }
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

    /// Divides what the heap still has among the connections, for as long as buffers are scarce. Each takes a
    /// fraction of what is left, so that no number of them uses it up.
    pub(super) fn share_what_is_left(&mut self) {
        for group in self.groups.filled() {
            group.set_share(if group.book().is_scarce() {
                let left = HEAP_BYTES_MAX.saturating_sub(self.groups.heap_used());
                let share = left / HEAP_SHARES_PER_CONN / self.conns.len().max(1) as usize;
                let share = share.saturating_sub(HEAP_OVERHEAD_BYTES).max(SHARE_BYTES_MIN);
                u32::try_from(share).unwrap_or(u32::MAX)
            } else {
                u32::MAX
            });
        }
    }

    /// Arms connections that wait, in order, at most as many as there are buffers, and none below the low-water mark;
    /// those that have something queued only above the reserve.
    pub(super) fn feed_starved(&mut self, id: GroupId) {
        let index = id.index();
        if self.starved[index].is_empty() && self.parked[index].is_empty() {
            return;
        }
        let book = self.groups[id].book();
        let (mut left, mut spare) = (book.available(), book.spare());
        if left < (book.count() / 8).max(1) {
            return;
        }
        while left > 0 {
            let Some(key) = self.starved[index].pop_front() else { break };
            let Some(slot) = self.conns.get_mut(key) else { continue };
            if slot.wanted_group() == id && slot.bits.take(Bits::STARVED) {
                (left, spare) = (left - 1, spare.saturating_sub(1));
                self.rearm_recv(key);
            }
        }
        while spare > 0 {
            let Some(key) = self.parked[index].pop_front() else { break };
            let Some(slot) = self.conns.get_mut(key) else { continue };
            if slot.bits.take(Bits::PARKED) && !slot.bits.has(Bits::ARMED) {
                spare -= 1;
                self.rearm_recv(key);
            }
        }
    }

    pub(crate) fn set_recv_mode(&mut self, key: Key, mode: RecvMode) {
        let Some(slot) = self.conns.get_mut(key) else { return };
        let id = mode.group();
        if slot.wanted_group() == id {
            return;
        }
        slot.bits.clear(Bits::WANT_LARGE | Bits::STARVED);
        if id == GroupId::Large {
            slot.bits.set(Bits::WANT_LARGE);
        }
        if !slot.bits.has(Bits::ARMED) {
            self.rearm_recv(key);
        } else if slot.armed_group() != id && !slot.bits.has(Bits::CANCELING) {
            self.cancel_recv(key);
        }
    }

    /// The first of what is queued.
    #[inline]
    pub(crate) fn try_recv(&mut self, key: Key) -> Option<Lease> {
        let slot = self.conns.get_mut(key)?;
        let (id, bid) = slot.queue.pop(&self.groups)?;
        let lease = Lease::new(&self.groups[id], bid);
        if !slot.bits.has(Bits::ARMED) {
            self.rearm_recv(key);
        }
        Some(lease)
    }

    #[inline]
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

    /// Registers a task that is not running to be woken by what is received next.
    pub(crate) fn wake_on_recv(&mut self, key: Key, task: u32) {
        match self.conns.get_mut(key) {
            Some(slot) if slot.queue.is_empty() && !slot.recv_ended() && !self.down => slot.recv_task = task,
            _ => self.exec.wake(task),
        }
    }

    pub(crate) fn has_queued(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|slot| !slot.queue.is_empty())
    }

    pub(crate) fn is_quiet(&self, key: Key) -> bool {
        !self.down && self.conns.get(key).is_some_and(|slot| slot.queue.is_empty() && !slot.recv_ended())
    }

    pub(crate) fn has_ended(&self, key: Key) -> bool {
        self.down || self.conns.get(key).is_none_or(ConnSlot::recv_ended)
    }

    pub(crate) fn poll_ended(&mut self, key: Key) -> Poll<()> {
        match self.conns.get_mut(key) {
            Some(slot) if !slot.recv_ended() && !self.down => {
                slot.recv_task = self.exec.running();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

/// Where what was received is kept: in its buffer, or, when few of them are left, in a copy.
fn keep(groups: &Groups, id: GroupId, bid: u16, stats: &RingStats) -> (GroupId, u32) {
    let group = &groups[id];
    if group.book().is_overdrawn()
        && let Some(copy) = group.copy_to(&groups[GroupId::Heap], bid)
    {
        stats.spilled_bytes.add(u64::from(group.len_of(u32::from(bid))));
        group.release(u32::from(bid));
        return (GroupId::Heap, copy);
    }
    (id, u32::from(bid))
}

/// Keeps a list of connections that wait from growing by those that have closed meanwhile: it never holds more than
/// twice as many as there are, and looking is paid for by the growth.
fn forget_gone(list: &mut VecDeque<Key>, conns: &Slab<ConnSlot>) {
    if list.len() > 2 * conns.len() as usize + 64 {
        list.retain(|key| conns.get(*key).is_some());
    }
}
