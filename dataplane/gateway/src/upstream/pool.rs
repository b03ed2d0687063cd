//! Connections to nodes: one pool per node and shard, shared by all client connections of the shard.
//!
//! Idle connections are taken last in, first out; requests that find none and may not open one wait first in,
//! first out and are handed what is given back directly, so that no newcomer overtakes them. Event streams do
//! not count against the cap: they would use it up and everything else would wait for ever.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use erlmcp_ring::{TaskRef, Time};

use crate::link::EndpointPage;
use crate::link::ids::EndpointId;
use crate::link::snapshot::{Endpoint, Group};
use crate::state::{Shared, State};
use crate::transport::Transport;

/// Most idle connections looked at for one request before a new one is opened; the sweep takes the rest.
const DEAD_TRIES_MAX: usize = 8;

/// All pools of a shard, by node.
#[derive(Default)]
pub(crate) struct Pools {
    by_endpoint: RefCell<Vec<Option<Box<Pool>>>>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Idle>,
    /// Connections under the cap: idle, lent and being opened; streams apart.
    open: u32,
    cap: u32,
    idle_timeout: Duration,
    waiters: VecDeque<Rc<Waiter>>,
}

struct Idle {
    conn: Transport,
    since: Time,
    served: u32,
}

struct Waiter {
    task: TaskRef,
    /// Whether only a new connection will do.
    fresh: bool,
    grant: RefCell<Grant>,
}

enum Grant {
    None,
    /// A connection that was just given back.
    Ready(Transport, u32),
    /// Room for a new one.
    Room,
    /// The waiter is gone.
    Left,
}

/// What a request gets from a pool at once.
pub(crate) enum Checkout {
    /// A connection that has served before.
    Reused(Lent),
    /// Room to open one.
    Connect(Room),
    /// A place in the queue.
    Wait(Ticket),
    /// The queue is full.
    Full,
}

impl Pools {
    fn with<T>(&self, id: EndpointId, f: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pools = self.by_endpoint.borrow_mut();
        let index = usize::from(id.0);
        if pools.len() <= index {
            pools.resize_with(index + 1, || None);
        }
        f(pools[index].get_or_insert_default())
    }

    /// Closes idle connections that are too old or that their node has closed, and all of nodes that are gone.
    pub(crate) fn sweep(&self, state: &State, is_known: impl Fn(EndpointId) -> bool) {
        let now = state.ring.now();
        let mut closed = Vec::new();
        for (index, slot) in self.by_endpoint.borrow_mut().iter_mut().enumerate() {
            let Some(pool) = slot else { continue };
            // Indices come from endpoint ids.
            let id = EndpointId(index as u16);
            let known = is_known(id);
            let before = pool.idle.len();
            let idle_timeout = pool.idle_timeout;
            let keep = |one: &Idle| known && now.since(one.since) < idle_timeout && is_quiet(&one.conn);
            for one in pool.idle.extract_if(.., |one| !keep(one)) {
                closed.push(one.conn);
            }
            let gone = before - pool.idle.len();
            pool.open -= gone as u32;
            let page = state.page.endpoint(id);
            page.idle.sub(gone as u64);
            page.connections.sub(gone as u64);
            if !known && pool.open == 0 && pool.waiters.is_empty() {
                *slot = None;
            }
        }
    }

    /// Closes every idle connection; for the drain's end.
    pub(crate) fn close_idle(&self, state: &State) {
        self.sweep(state, |_| false);
    }
}

/// Whether nothing has come on an idle connection: neither an end nor bytes that nobody asked for.
fn is_quiet(conn: &Transport) -> bool {
    conn.try_recv().is_none() && !conn.has_ended()
}

/// Asks the node's pool for a connection; `fresh` refuses reused ones.
pub(crate) fn checkout(state: &Shared, group: &Group, endpoint: &Endpoint, fresh: bool) -> Checkout {
    let id = endpoint.id;
    let page = state.page.endpoint(id);
    let mut dead = Vec::new();
    state.pools.with(id, |pool| {
        pool.cap = endpoint.connections_per_shard_max.max(1);
        pool.idle_timeout = group.idle_timeout;
        while !fresh && dead.len() < DEAD_TRIES_MAX {
            let Some(idle) = pool.idle.pop() else { break };
            page.idle.sub(1);
            if is_quiet(&idle.conn) && state.ring.now().since(idle.since) < group.idle_timeout {
                return Checkout::Reused(Lent::new(state, id, idle.conn, idle.served));
            }
            pool.open -= 1;
            page.connections.sub(1);
            dead.push(idle.conn);
        }
        if pool.open < pool.cap {
            pool.open += 1;
            return Checkout::Connect(Room { state: state.clone(), id, taken: true });
        }
        // Room may stand idle where only a fresh connection will do.
        if fresh && let Some(idle) = pool.idle.pop() {
            page.idle.sub(1);
            page.connections.sub(1);
            dead.push(idle.conn);
            return Checkout::Connect(Room { state: state.clone(), id, taken: true });
        }
        if pool.waiters.len() >= group.waiters_max as usize {
            return Checkout::Full;
        }
        let waiter =
            Rc::new(Waiter { task: state.ring.current_task(), fresh, grant: RefCell::new(Grant::None) });
        pool.waiters.push_back(waiter.clone());
        page.waiting.add(1);
        Checkout::Wait(Ticket { state: state.clone(), id, waiter })
    })
}

/// Gives a place under the cap on: to the first who waits, or back.
fn release(state: &State, id: EndpointId) {
    state.pools.with(id, |pool| {
        if pool.open <= pool.cap
            && let Some(waiter) = next_waiter(pool, state.page.endpoint(id))
        {
            waiter.grant.replace(Grant::Room);
            state.ring.wake(waiter.task);
            return;
        }
        pool.open -= 1;
    });
}

fn next_waiter(pool: &mut Pool, page: &EndpointPage) -> Option<Rc<Waiter>> {
    loop {
        let waiter = pool.waiters.pop_front()?;
        page.waiting.sub(1);
        if matches!(*waiter.grant.borrow(), Grant::None) {
            return Some(waiter);
        }
    }
}

/// A place under the cap for a connection that is not open yet. Dropped, it goes to the next.
pub(crate) struct Room {
    state: Shared,
    id: EndpointId,
    taken: bool,
}

impl Room {
    /// The connection that was opened.
    pub(crate) fn fill(mut self, conn: Transport) -> Lent {
        self.taken = false;
        let page = self.state.page.endpoint(self.id);
        page.connects.add(1);
        page.connections.add(1);
        Lent::new(&self.state, self.id, conn, 0)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.taken {
            release(&self.state, self.id);
        }
    }
}

/// A place in the queue. Dropped, it is left; what was granted meanwhile goes to the next.
pub(crate) struct Ticket {
    state: Shared,
    id: EndpointId,
    waiter: Rc<Waiter>,
}

impl Ticket {
    /// What was granted, once it is.
    pub(crate) fn poll(&self) -> Poll<Checkout> {
        let grant = std::mem::replace(&mut *self.waiter.grant.borrow_mut(), Grant::None);
        match grant {
            Grant::None => Poll::Pending,
            Grant::Ready(conn, served) => {
                self.waiter.grant.replace(Grant::Left);
                Poll::Ready(Checkout::Reused(Lent::new(&self.state, self.id, conn, served)))
            }
            Grant::Room => {
                self.waiter.grant.replace(Grant::Left);
                Poll::Ready(Checkout::Connect(Room { state: self.state.clone(), id: self.id, taken: true }))
            }
            Grant::Left => Poll::Ready(Checkout::Full),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.waiter.grant.replace(Grant::Left) {
            Grant::None => {
                let page = self.state.page.endpoint(self.id);
                let waiter = &self.waiter;
                let left = self.state.pools.with(self.id, |pool| {
                    let at = pool.waiters.iter().position(|one| Rc::ptr_eq(one, waiter));
                    at.and_then(|at| pool.waiters.remove(at)).is_some()
                });
                page.waiting.sub(u64::from(left));
            }
            Grant::Ready(conn, served) => {
                // It was not used: it has served no more than before.
                Lent::new(&self.state, self.id, conn, served.saturating_sub(1)).give_back(0);
            }
            Grant::Room => release(&self.state, self.id),
            Grant::Left => {}
        }
    }
}

/// A connection in use by one exchange. Dropped, it is closed: only [`Lent::give_back`] lets it serve again.
pub(crate) struct Lent {
    state: Shared,
    /// `None` only while it is being given back.
    conn: Option<Transport>,
    id: EndpointId,
    served: u32,
    /// Whether it holds a place under the cap: streams do not.
    counted: Cell<bool>,
}

impl Lent {
    fn new(state: &Shared, id: EndpointId, conn: Transport, served: u32) -> Self {
        Self { state: state.clone(), conn: Some(conn), id, served, counted: Cell::new(true) }
    }

    /// Exchanges that it has served.
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// The connection.
    pub(crate) fn transport(&self) -> &Transport {
        match &self.conn {
            Some(conn) => conn,
            // Only `give_back` takes it, and that consumes the loan.
            None => unreachable!("a loan without its connection"),
        }
    }

    /// Gives the place under the cap on: the exchange has become a stream.
    pub(crate) fn leave_cap(&self) {
        if self.counted.replace(false) {
            release(&self.state, self.id);
        }
    }

    /// Lets the connection serve again, unless it has served `served_max` exchanges (0 is no limit).
    pub(crate) fn give_back(mut self, served_max: u32) {
        let served = self.served.saturating_add(1);
        if (served_max != 0 && served >= served_max) || self.state.is_draining() {
            return;
        }
        if !self.conn.as_ref().is_some_and(is_quiet) {
            return;
        }
        let Some(conn) = self.conn.take() else { return };
        let counted = self.counted.replace(false);
        let (state, id) = (&self.state, self.id);
        let page = state.page.endpoint(id);
        let closed = state.pools.with(id, |pool| {
            // What was a stream takes a place again, if there is one.
            pool.open += u32::from(!counted);
            if pool.open > pool.cap {
                pool.open -= 1;
                return Some(conn);
            }
            match next_waiter(pool, page) {
                Some(waiter) if waiter.fresh => {
                    waiter.grant.replace(Grant::Room);
                    state.ring.wake(waiter.task);
                    return Some(conn);
                }
                Some(waiter) => {
                    waiter.grant.replace(Grant::Ready(conn, served));
                    state.ring.wake(waiter.task);
                }
                None => {
                    pool.idle.push(Idle { conn, since: state.ring.now(), served });
                    page.idle.add(1);
                }
            }
            None
        });
        if closed.is_some() {
            page.connections.sub(1);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.conn.take().is_some() {
            self.state.page.endpoint(self.id).connections.sub(1);
            self.leave_cap();
        }
    }
}
