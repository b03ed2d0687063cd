//! Connections to nodes: one pool per node and shard, shared by all client connections of the shard.
//!
//! Idle connections are taken last in, first out; requests that find none and may not open one wait first in,
//! first out and are handed what is given back directly, so that no newcomer overtakes them. A request that is
//! whole waits here itself: who gives a connection back sends it at once, and its task runs only when the reply
//! has come. Event streams do not count against the cap: they would use it up and everything else would wait for
//! ever.

use std::cell::{Cell, RefCell};
use std::task::Poll;
use std::time::Duration;

use erlmcp_ring::{SendList, Time};

use super::line::{Grant, Line, Parcel, Place, Waiter};
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
    line: Line,
}

struct Idle {
    conn: Transport,
    since: Time,
    served: u32,
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
            let keep = |one: &Idle| known && now.since(one.since) < idle_timeout && one.conn.is_quiet();
            for one in pool.idle.extract_if(.., |one| !keep(one)) {
                closed.push(one.conn);
            }
            let gone = before - pool.idle.len();
            pool.open -= gone as u32;
            let page = state.page.endpoint(id);
            page.idle.sub(gone as u64);
            page.connections.sub(gone as u64);
            if !known && pool.open == 0 && pool.line.is_empty() {
                *slot = None;
            }
        }
    }

    /// Closes every idle connection; for the drain's end.
    pub(crate) fn close_idle(&self, state: &State) {
        self.sweep(state, |_| false);
    }
}

/// Asks the node's pool for a connection; `fresh` refuses reused ones. A request that has to wait leaves its
/// `parcel` here, if it has one.
pub(crate) fn checkout(
    state: &Shared,
    group: &Group,
    endpoint: &Endpoint,
    fresh: bool,
    parcel: impl FnOnce() -> Option<Parcel>,
) -> Checkout {
    let id = endpoint.id;
    let page = state.page.endpoint(id);
    let mut dead = Vec::new();
    state.pools.with(id, |pool| {
        pool.cap = endpoint.connections_per_shard_max.max(1);
        pool.idle_timeout = group.idle_timeout;
        while !fresh && dead.len() < DEAD_TRIES_MAX {
            let Some(idle) = pool.idle.pop() else { break };
            page.idle.sub(1);
            if idle.conn.is_quiet() && state.ring.now().since(idle.since) < group.idle_timeout {
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
        if pool.line.len() >= group.waiters_max as usize {
            return Checkout::Full;
        }
        let place = pool.line.join(Waiter { task: state.ring.current_task(), fresh, parcel: parcel() });
        page.waiting.add(1);
        Checkout::Wait(Ticket { state: state.clone(), id, place: Some(place) })
    })
}

/// Gives a place under the cap on: to the first who waits, or back.
fn release(state: &State, id: EndpointId) {
    state.pools.with(id, |pool| {
        if pool.open <= pool.cap
            && let Some((place, waiter)) = pool.line.next()
        {
            state.page.endpoint(id).waiting.sub(1);
            pool.line.grant(place, Grant::Room(waiter.parcel.map(|parcel| parcel.list)));
            state.ring.wake(waiter.task);
            return;
        }
        pool.open -= 1;
    });
}

impl Sent {
    /// A request that is sent now on this connection.
    pub(super) fn now(state: &State, conn: &Transport) -> Self {
        Self { at: state.ring.now(), bytes_before: conn.bytes_sent() }
    }
}

/// Hands a connection to the first who waits, its request on the way where the pool has it. Gives the connection
/// back if only a new one will do: then the place goes on alone.
fn hand_over(
    state: &State,
    pool: &mut Pool,
    conn: Transport,
    served: u32,
    place: Place,
    waiter: Waiter,
) -> Option<Transport> {
    if waiter.fresh {
        pool.line.grant(place, Grant::Room(waiter.parcel.map(|parcel| parcel.list)));
        state.ring.wake(waiter.task);
        return Some(conn);
    }
    let Some(Parcel { list, patience }) = waiter.parcel else {
        pool.line.grant(place, Grant::Conn { conn, served, sent: None });
        state.ring.wake(waiter.task);
        return None;
    };
    let sent = Sent::now(state, &conn);
    conn.start_send(list);
    conn.wake_on_recv(waiter.task);
    state.ring.set_deadline_of(waiter.task, state.within_drain(sent.at + patience));
    pool.line.grant(place, Grant::Conn { conn, served, sent: Some(sent) });
    None
}

/// When a request was sent, whoever sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    /// Payload bytes sent on the connection before it.
    pub(crate) bytes_before: u64,
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
    /// `None` when what was granted has been taken.
    place: Option<Place>,
}

/// What a request was granted that had to wait.
pub(crate) enum Granted {
    /// A connection that has served before; the request is on it if the pool had it.
    Reused(Lent, Option<Sent>),
    /// Room for a new connection, and the request back.
    Connect(Room, Option<SendList>),
}

impl Ticket {
    /// What was granted, once it is.
    pub(crate) fn poll(&mut self) -> Poll<Granted> {
        let (state, id) = (&self.state, self.id);
        let Some(place) = self.place else { return Poll::Pending };
        let Some(grant) = state.pools.with(id, |pool| pool.line.take(place)) else { return Poll::Pending };
        self.place = None;
        Poll::Ready(match grant {
            Grant::Conn { conn, served, sent } => Granted::Reused(Lent::new(state, id, conn, served), sent),
            Grant::Room(list) => Granted::Connect(Room { state: state.clone(), id, taken: true }, list),
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        match self.state.pools.with(self.id, |pool| pool.line.leave(place)) {
            // It was not used: it has served no more than before.
            Some(Grant::Conn { conn, served, sent: None }) => {
                Lent::new(&self.state, self.id, conn, served.saturating_sub(1)).give_back(0);
            }
            // A reply is on its way that nobody wants.
            Some(Grant::Conn { conn, served, sent: Some(_) }) => {
                drop(Lent::new(&self.state, self.id, conn, served));
            }
            Some(Grant::Room(_)) => release(&self.state, self.id),
            None => self.state.page.endpoint(self.id).waiting.sub(1),
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
    pub(crate) fn give_back(&mut self, served_max: u32) {
        let served = self.served.saturating_add(1);
        if (served_max != 0 && served >= served_max) || self.state.is_draining() {
            return;
        }
        if !self.conn.as_ref().is_some_and(Transport::is_quiet) {
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
            if let Some((place, waiter)) = pool.line.next() {
                page.waiting.sub(1);
                return hand_over(state, pool, conn, served, place, waiter);
            }
            pool.idle.push(Idle { conn, since: state.ring.now(), served });
            page.idle.add(1);
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
