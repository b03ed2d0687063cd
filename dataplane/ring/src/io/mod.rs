//! The driver-independent half of a shard's I/O: the operation table, and what each completion does to it.
//!
//! It never runs a task: it marks state and pushes wakes. Nothing in it is freed while the kernel may touch it.

mod conns;
mod driver;
mod listeners;
mod recv;
mod send;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::buffers::{GroupId, Groups};
use crate::config::{KeepAlive, ShardConfig};
use crate::epoll::Tables;
use crate::exec::Exec;
use crate::send::Pool;
use crate::slab::{Key, Slab};
use crate::stats::RingStats;
use crate::table::{Bits, ConnSlot, Event, ListenerSlot, Op, from_user_data, index_of};

pub(crate) use driver::Driver;

pub(crate) struct Io {
    driver: Driver,
    conns: Slab<ConnSlot>,
    listeners: Slab<ListenerSlot>,
    /// Connections that wait for buffers of a group, first come, first served: those that have nothing, and those
    /// that have something queued and go on only when buffers are no longer scarce.
    starved: [VecDeque<Key>; 2],
    parked: [VecDeque<Key>; 2],
    groups: Groups,
    pool: Rc<Pool>,
    exec: Rc<Exec>,
    stats: Arc<RingStats>,
    events: Vec<Event>,
    now_nanos: u64,
    window: u32,
    leases_max: [u16; 2],
    accept_queue_max: usize,
    keepalive: Option<KeepAlive>,
    events_max: usize,
    /// Teardown has begun: nothing new is started.
    down: bool,
}

/// How many completions ahead the table's entries are fetched.
const EVENTS_AHEAD: usize = 3;

/// Leases that one connection may hold in its queue, per group: never more than a quarter of a group.
pub(crate) fn leases_max(cfg: &ShardConfig) -> [u16; 2] {
    [cfg.small.count, cfg.large.count].map(|count| (count / 4).clamp(1, cfg.recv_leases_max))
}

impl Io {
    pub(crate) fn new(
        driver: Driver,
        groups: Groups,
        pool: Rc<Pool>,
        exec: Rc<Exec>,
        stats: Arc<RingStats>,
        cfg: &ShardConfig,
    ) -> Self {
        Self {
            driver,
            conns: Slab::new(),
            listeners: Slab::new(),
            starved: [VecDeque::new(), VecDeque::new()],
            parked: [VecDeque::new(), VecDeque::new()],
            groups,
            pool,
            exec,
            stats,
            events: Vec::new(),
            now_nanos: 0,
            window: cfg.recv_window_bytes,
            leases_max: leases_max(cfg),
            accept_queue_max: usize::from(cfg.accept_queue_max),
            keepalive: cfg.tcp_keepalive,
            events_max: cfg.cqes_per_turn_max as usize,
            down: false,
        }
    }

    /// Work waits in the driver: the turn must not block.
    pub(crate) fn has_work(&self) -> bool {
        self.driver.has_work()
    }

    /// Submits, waits and takes completions out of the driver.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) {
        match &mut self.driver {
            Driver::Uring(uring) => {
                if let Err(error) = uring.wait(timeout, &mut self.events, self.events_max) {
                    panic!("io_uring_enter failed: {error}");
                }
            }
            Driver::Epoll(epoll) => {
                let mut tables = Tables { conns: &mut self.conns, listeners: &mut self.listeners };
                epoll.wait(&mut tables, timeout, &mut self.events);
            }
            Driver::Down => {}
        }
    }

    /// Applies what [`Self::wait`] took; returns how many completions that were.
    pub(crate) fn dispatch(&mut self, now_nanos: u64) -> usize {
        self.now_nanos = now_nanos;
        let mut events = std::mem::take(&mut self.events);
        let count = events.len();
        self.stats.cqes.add(count as u64);
        if count >= self.events_max {
            self.stats.work_bound_hits.add(1);
        }
        for (at, &event) in events.iter().enumerate() {
            if let Some(ahead) = events.get(at + EVENTS_AHEAD) {
                self.conns.prefetch(index_of(ahead.user_data));
            }
            let (op, key) = from_user_data(event.user_data);
            match op {
                Op::Recv => self.on_recv(key, event),
                Op::Send => self.on_sent(key, event.result),
                Op::Connect => self.on_connected(key, event.result),
                Op::Accept => self.on_accept(key, event),
                Op::AcceptPoll => self.on_accept_poll(key, event.result),
                Op::Wake => self.on_wake(event),
                Op::CancelFd => self.on_canceled_fd(key, event.result),
                Op::CancelRecv => self.on_canceled_recv(key, event.result),
                Op::CancelSend => self.on_canceled_send(key, event.result),
                Op::CancelAccept => self.on_canceled_accept(key, event.result),
                Op::CancelAll => {}
            }
        }
        events.clear();
        self.events = events;
        count
    }

    fn on_wake(&mut self, event: Event) {
        if let (false, false, Driver::Uring(uring)) = (event.more(), self.down, &mut self.driver) {
            uring.arm_wake();
        }
    }

    /// Gives buffers back to the kernel, and to connections that wait for some.
    pub(crate) fn end_turn(&mut self) {
        self.share_what_is_left();
        for group in self.groups.filled() {
            group.publish();
        }
        for id in GroupId::FILLED {
            self.feed_starved(id);
        }
        self.stats.leases_small.set(u64::from(self.groups[GroupId::Small].book().leased()));
        self.stats.leases_large.set(u64::from(self.groups[GroupId::Large].book().leased()));
        self.stats.heap_bytes.set(self.groups.heap_used() as u64);
        self.stats.conns.set(u64::from(self.conns.len()));
    }

    /// Refuses everything new and asks the kernel to end what is in flight.
    pub(crate) fn begin_teardown(&mut self) {
        self.down = true;
        for key in self.listeners.keys() {
            self.end_listener(key);
        }
        for key in self.conns.keys() {
            self.abort_conn(key);
        }
        if let Driver::Uring(uring) = &mut self.driver {
            uring.cancel_all();
        }
    }

    /// Operations that the kernel has not finished.
    pub(crate) fn in_flight(&self) -> u32 {
        self.driver.in_flight()
    }

    /// Ends the driver. What the kernel still uses is leaked, never freed.
    pub(crate) fn finish_teardown(&mut self) {
        let driver = std::mem::replace(&mut self.driver, Driver::Down);
        let Driver::Uring(uring) = driver else {
            return self.reap_after_teardown();
        };
        if uring.in_flight() == 0 {
            uring.finish();
            return self.reap_after_teardown();
        }
        uring.abandon();
        for key in self.conns.keys() {
            if let Some(slot) = self.conns.get_mut(key)
                && slot.bits.has(Bits::SENDING | Bits::CONNECTING)
            {
                std::mem::forget(slot.send.take());
            }
        }
        self.reap_after_teardown();
    }

    /// Nothing is in flight that could be told of: slots whose handle is gone can go.
    fn reap_after_teardown(&mut self) {
        for key in self.conns.keys() {
            self.settle_after_teardown(key);
        }
        for key in self.listeners.keys() {
            self.listeners.remove(key);
        }
    }

    /// The ring's descriptor, for tests of what the kernel still holds.
    pub(crate) fn ring_fd(&self) -> Option<i32> {
        self.driver.ring_fd()
    }
}
