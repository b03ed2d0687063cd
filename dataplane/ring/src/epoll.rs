//! The epoll driver: the same requests and the same [`Event`]s as the io_uring driver, over edge-triggered readiness.
//!
//! Receives go into the same buffer groups under the same credit and are read until they come back short, sends are
//! made at the turn's submit phase. It decides nothing. Every descriptor is non-blocking and registered once.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::buffers::Groups;
use crate::slab::{Key, Slab};
use crate::stats::RingStats;
use crate::sys;
use crate::table::{Bits, ConnSlot, Event, F_BUFFER, F_MORE, ListenerSlot, Op, from_user_data, user_data};

/// Events taken by one `epoll_wait`.
const EVENTS_MAX: usize = 1024;
/// Sockets accepted per listener and turn, so that a burst of connects does not starve the connections.
const ACCEPTS_PER_TURN_MAX: usize = 256;

/// The tables that the driver reads and writes while it waits.
pub(crate) struct Tables<'a> {
    pub(crate) conns: &'a mut Slab<ConnSlot>,
    pub(crate) listeners: &'a mut Slab<ListenerSlot>,
}

pub(crate) struct Epoll {
    epoll: OwnedFd,
    ready: Box<[libc::epoll_event]>,
    groups: Groups,
    stats: Arc<RingStats>,
    /// Events that came about without a wait: cancellations.
    immediate: VecDeque<Event>,
    recvs: Vec<Key>,
    sends: Vec<Key>,
    late: Vec<Key>,
    accepts: Vec<Key>,
    window: u32,
    leases_max: [u16; 2],
    /// The kernel can wait for less than a millisecond.
    fine_waits: bool,
}

impl Epoll {
    pub(crate) fn new(
        groups: &Groups,
        wake_fd: RawFd,
        stats: &Arc<RingStats>,
        window: u32,
        leases_max: [u16; 2],
    ) -> io::Result<Self> {
        let epoll = sys::epoll_create()?;
        let wake = user_data(Op::Wake, Key { index: 0, generation: 0 });
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        sys::epoll_ctl(sys::raw(&epoll), libc::EPOLL_CTL_ADD, wake_fd, events, wake)?;
        Ok(Self {
            epoll,
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX].into_boxed_slice(),
            groups: groups.clone(),
            stats: Arc::clone(stats),
            immediate: VecDeque::new(),
            recvs: Vec::new(),
            sends: Vec::new(),
            late: Vec::new(),
            accepts: Vec::new(),
            window,
            leases_max,
            fine_waits: true,
        })
    }

    pub(crate) fn has_work(&self) -> bool {
        !(self.immediate.is_empty()
            && self.recvs.is_empty()
            && self.sends.is_empty()
            && self.late.is_empty()
            && self.accepts.is_empty())
    }

    /// Registers a connection's descriptor; one registration serves its whole life.
    pub(crate) fn register(&mut self, key: Key, fd: RawFd) -> io::Result<()> {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        sys::epoll_ctl(
            self.epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            fd,
            events as u32,
            user_data(Op::Recv, key),
        )
    }

    pub(crate) fn register_listener(&mut self, key: Key, fd: RawFd) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32;
        sys::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, events, user_data(Op::Accept, key))
    }

    /// A shared listening socket stays open elsewhere, so that closing our descriptor would not end its events.
    pub(crate) fn forget(&mut self, fd: RawFd) {
        let _ = sys::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    fn emit(&mut self, op: Op, key: Key, result: i32) {
        self.immediate.push_back(Event { user_data: user_data(op, key), result, flags: 0 });
    }

    pub(crate) fn recv(&mut self, key: Key, slot: &mut ConnSlot) {
        if slot.bits.has(Bits::READABLE) && !slot.bits.has(Bits::IN_RECV_LIST) {
            slot.bits.set(Bits::IN_RECV_LIST);
            self.recvs.push(key);
        }
    }

    pub(crate) fn send(&mut self, key: Key, slot: &mut ConnSlot) {
        if !slot.bits.has(Bits::IN_SEND_LIST | Bits::WAIT_WRITE) {
            slot.bits.set(Bits::IN_SEND_LIST);
            // As under io_uring: first to those who came to us, then to all to which we connected.
            let list = if slot.bits.has(Bits::ACTIVE) { &mut self.late } else { &mut self.sends };
            list.push(key);
        }
    }

    pub(crate) fn connect(&mut self, key: Key, slot: &mut ConnSlot) {
        let addr = slot.send.as_ref().and_then(|block| block.address.as_deref().copied());
        let Some(addr) = addr else { return self.emit(Op::Connect, key, -libc::EINVAL) };
        match sys::connect(slot.fd, &addr).map_err(|e| e.raw_os_error().unwrap_or(libc::EIO)) {
            Ok(()) => self.emit(Op::Connect, key, 0),
            Err(libc::EINPROGRESS | libc::EINTR) => slot.bits.set(Bits::WAIT_WRITE),
            Err(errno) => self.emit(Op::Connect, key, -errno),
        }
    }

    pub(crate) fn accept(&mut self, key: Key, slot: &mut ListenerSlot) {
        if slot.ready && !slot.in_list {
            slot.in_list = true;
            self.accepts.push(key);
        }
    }

    /// Ends an operation that waits for readiness.
    pub(crate) fn cancel(&mut self, target: Op, key: Key) {
        self.stats.cancels.add(1);
        self.emit(target, key, -libc::ECANCELED);
    }

    /// Waits at most `timeout` (`None`: until something happens) and makes the events of everything that can go on.
    pub(crate) fn wait(
        &mut self,
        tables: &mut Tables<'_>,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) {
        self.flush_sends(tables, events);
        let busy = !events.is_empty() || self.has_work();
        let timeout = if busy { Some(Duration::ZERO) } else { timeout };
        self.stats.enters.add(1);
        let epoll = self.epoll.as_raw_fd();
        let count = match sys::epoll_wait(epoll, &mut self.ready, timeout, &mut self.fine_waits) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => panic!("epoll_wait failed: {error}"),
        };
        for i in 0..count {
            let event = self.ready[i];
            self.on_ready(tables, event.u64, event.events, events);
        }
        self.run_recvs(tables, events);
        self.run_accepts(tables, events);
        // Cancellations come last, as they do in a ring: what was received before them belongs to the old arming.
        events.extend(self.immediate.drain(..));
    }

    fn on_ready(&mut self, tables: &mut Tables<'_>, data: u64, ready: u32, events: &mut Vec<Event>) {
        let has = |flag: i32| ready & flag as u32 != 0;
        let (op, key) = from_user_data(data);
        if op == Op::Accept {
            if let Some(slot) = tables.listeners.get_mut(key) {
                slot.ready = true;
                if slot.armed {
                    self.accept(key, slot);
                }
            }
            return;
        }
        let Some(slot) = tables.conns.get_mut(key) else {
            if op == Op::Wake {
                events.push(Event { user_data: data, result: 1, flags: F_MORE });
            }
            return;
        };
        let writable = has(libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP);
        // An edge is not repeated: what it says about reading is kept below, for when the connect is done.
        if writable && slot.bits.has(Bits::CONNECTING) && slot.bits.take(Bits::WAIT_WRITE) {
            let result = -sys::socket_error(slot.fd);
            events.push(Event { user_data: user_data(Op::Connect, key), result, flags: 0 });
        }
        if has(libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
            slot.bits.set(Bits::READABLE);
            if has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
                slot.bits.set(Bits::HANGUP);
            }
            if slot.bits.has(Bits::ARMED) {
                self.recv(key, slot);
            }
        }
        if writable && slot.bits.take(Bits::WAIT_WRITE) {
            self.send(key, slot);
        }
    }

    fn run_recvs(&mut self, tables: &mut Tables<'_>, events: &mut Vec<Event>) {
        let mut list = std::mem::take(&mut self.recvs);
        for key in list.drain(..) {
            if let Some(slot) = tables.conns.get_mut(key) {
                slot.bits.clear(Bits::IN_RECV_LIST);
                // One that was asked to end has its end among the events already: data after it would be
                // taken for the next receive's, in the other group. Readiness is kept for that one.
                if slot.bits.has(Bits::ARMED) && !slot.bits.has(Bits::CANCELING) {
                    self.receive(key, slot, events);
                }
            }
        }
        // What was added meanwhile goes into the same memory.
        list.append(&mut self.recvs);
        self.recvs = list;
    }

    /// Reads until short, until the window, the number of leases or, while buffers are scarce, the share is full, or
    /// until there is no buffer.
    fn receive(&self, key: Key, slot: &mut ConnSlot, events: &mut Vec<Event>) {
        let data = user_data(Op::Recv, key);
        let id = slot.armed_group();
        let group = &self.groups[id];
        let (mut bytes, mut count) = (slot.queue.bytes(), slot.queue.count());
        loop {
            let short = group.book().is_short();
            let Some(bid) = group.book().take_free() else {
                events.push(Event { user_data: data, result: -libc::ENOBUFS, flags: 0 });
                return;
            };
            let len = if short { group.offered() } else { group.size() };
            // SAFETY: a free buffer is ours alone and `size` bytes long; no more is ever offered.
            let result = unsafe { sys::recv(slot.fd, group.at(bid), len as usize) };
            let n = match result {
                Ok(n) => n as u32,
                Err(error) => {
                    group.book().put_free(bid);
                    match error.raw_os_error().unwrap_or(libc::EIO) {
                        libc::EINTR => continue,
                        libc::EAGAIN => slot.bits.clear(Bits::READABLE | Bits::HANGUP),
                        errno => events.push(Event { user_data: data, result: -errno, flags: 0 }),
                    }
                    return;
                }
            };
            if n == 0 {
                group.book().put_free(bid);
                events.push(Event { user_data: data, result: 0, flags: 0 });
                return;
            }
            bytes += n;
            count += 1;
            let drained = n < len && !slot.bits.has(Bits::HANGUP);
            if drained {
                slot.bits.clear(Bits::READABLE);
            }
            let window = if short { self.window.min(group.share()) } else { self.window };
            let full = bytes >= window || count >= self.leases_max[id.index()];
            let more = if full { 0 } else { F_MORE };
            events.push(Event {
                user_data: data,
                result: n as i32,
                flags: F_BUFFER | more | (u32::from(bid) << 16),
            });
            if full || drained {
                return;
            }
        }
    }

    fn flush_sends(&mut self, tables: &mut Tables<'_>, events: &mut Vec<Event>) {
        let mut list = std::mem::take(&mut self.sends);
        list.append(&mut self.late);
        for key in list.drain(..) {
            let Some(slot) = tables.conns.get_mut(key) else { continue };
            slot.bits.clear(Bits::IN_SEND_LIST);
            if !slot.bits.has(Bits::SENDING) {
                continue;
            }
            let Some(block) = &mut slot.send else { continue };
            let result = match block.single() {
                // SAFETY: the block owns the bytes and is in the table.
                Some((at, len)) => unsafe { sys::send(slot.fd, at, len) },
                // SAFETY: as above, for the vectors.
                None => unsafe { sys::sendmsg(slot.fd, block.message()) },
            };
            let result = match result.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)) {
                Ok(n) => n as i32,
                Err(libc::EAGAIN) if !slot.bits.has(Bits::NOWAIT) => {
                    slot.bits.set(Bits::WAIT_WRITE);
                    continue;
                }
                Err(errno) => -errno,
            };
            events.push(Event { user_data: user_data(Op::Send, key), result, flags: 0 });
        }
        // What was added meanwhile goes into the same memory.
        list.append(&mut self.sends);
        self.sends = list;
    }

    fn run_accepts(&mut self, tables: &mut Tables<'_>, events: &mut Vec<Event>) {
        let mut list = std::mem::take(&mut self.accepts);
        for key in list.drain(..) {
            let Some(slot) = tables.listeners.get_mut(key) else { continue };
            slot.in_list = false;
            if !slot.armed {
                continue;
            }
            let data = user_data(Op::Accept, key);
            let mut taken = 0;
            loop {
                if taken == ACCEPTS_PER_TURN_MAX {
                    slot.in_list = true;
                    self.accepts.push(key);
                    break;
                }
                // Looks at the flag once per burst: it belongs to all who share the socket.
                let accept = if taken == 0 { sys::accept_nonblocking } else { sys::accept };
                let (result, flags) = match accept(slot.fd.as_raw_fd()) {
                    Ok(fd) => (std::os::fd::IntoRawFd::into_raw_fd(fd), F_MORE),
                    Err(error) => match error.raw_os_error().unwrap_or(libc::EIO) {
                        libc::EAGAIN => {
                            slot.ready = false;
                            break;
                        }
                        libc::EINTR | libc::ECONNABORTED => continue,
                        errno => (-errno, 0),
                    },
                };
                events.push(Event { user_data: data, result, flags });
                if flags == 0 {
                    break;
                }
                taken += 1;
            }
        }
        // What was added meanwhile goes into the same memory.
        list.append(&mut self.accepts);
        self.accepts = list;
    }
}
