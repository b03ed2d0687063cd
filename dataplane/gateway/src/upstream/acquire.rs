//! From a group to a connection in hand: pick a node, take or open a connection, wait in line, try the next
//! node when one cannot be reached. Nothing of the request is sent here, so trying another node is always safe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use erlmcp_ring::{Handle, IoError, RecvMode, Time};

use super::balance::{Tried, pick};
use super::pool::{Checkout, Lent, Room, checkout};
use crate::downstream::Downstream;
use crate::link::ids::EndpointId;
use crate::link::reason::Reason;
use crate::link::snapshot::{Endpoint, Group};
use crate::state::Shared;
use crate::transport::Transport;

/// Counts a request at its node from the pick on, so that waiting ones weigh in the balance too.
struct Active {
    state: Shared,
    id: EndpointId,
}

impl Active {
    fn new(state: &Shared, id: EndpointId) -> Self {
        state.page.endpoint(id).active.add(1);
        Self { state: state.clone(), id }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.state.page.endpoint(self.id).active.sub(1);
    }
}

/// A connection in use by an exchange, counted at its node.
pub(crate) struct Engaged {
    conn: Lent,
    active: Active,
}

impl Engaged {
    pub(crate) fn transport(&self) -> &Transport {
        self.conn.transport()
    }

    pub(crate) fn ring(&self) -> &Handle {
        &self.active.state.ring
    }

    pub(crate) fn endpoint(&self) -> EndpointId {
        self.active.id
    }

    pub(crate) fn served(&self) -> u32 {
        self.conn.served()
    }

    pub(crate) fn become_stream(&self) {
        self.conn.leave_cap();
    }

    pub(crate) fn give_back(self, served_max: u32) {
        self.conn.give_back(served_max);
    }
}

/// A connection to a node of the group that can be reached.
///
/// # Errors
/// No node is fit, none of those tried could be reached, the line is full or too slow, or the client left.
pub(crate) async fn acquire<'g>(
    state: &Shared,
    down: &Downstream,
    group: &'g Group,
    first: Option<&'g Endpoint>,
) -> Result<(Engaged, &'g Endpoint), Reason> {
    let mut tried = Tried::default();
    let mut next = first.or_else(|| pick(state, group, &tried));
    let mut last = Reason::NoHealthyNode;
    while let Some(endpoint) = next {
        match engage(state, down, group, endpoint, false).await {
            Ok(engaged) => return Ok((engaged, endpoint)),
            Err(reason @ (Reason::ConnectFailed | Reason::ConnectTimeout)) => {
                state.page.endpoint(endpoint.id).failures.add(1);
                last = reason;
            }
            // Its neighbours may have room.
            Err(reason @ Reason::WaitQueueFull) => last = reason,
            Err(reason) => return Err(reason),
        }
        if !tried.add(endpoint.id) {
            break;
        }
        next = pick(state, group, &tried);
    }
    Err(last)
}

/// A connection to this node; `fresh` refuses one that has served before.
pub(crate) async fn engage(
    state: &Shared,
    down: &Downstream,
    group: &Group,
    endpoint: &Endpoint,
    fresh: bool,
) -> Result<Engaged, Reason> {
    let active = Active::new(state, endpoint.id);
    let page = state.page.endpoint(endpoint.id);
    let mut step = checkout(state, group, endpoint, fresh);
    if let Checkout::Wait(ticket) = &step {
        let granted = wait(state, down, state.ring.now() + group.wait_timeout, || ticket.poll()).await?;
        step = granted;
    }
    let conn = match step {
        Checkout::Reused(lent) => lent,
        Checkout::Connect(room) => connect(state, down, group, endpoint, room).await?,
        Checkout::Wait(_) | Checkout::Full => return Err(Reason::WaitQueueFull),
    };
    page.requests.add(1);
    Ok(Engaged { conn, active })
}

/// Waits in line until `at`, unless the client leaves first.
async fn wait<T>(
    state: &Shared,
    down: &Downstream,
    at: Time,
    mut poll: impl FnMut() -> Poll<T>,
) -> Result<T, Reason> {
    poll_fn(|_| {
        let at = state.within_drain(at);
        state.ring.set_deadline(Some(at));
        if let Poll::Ready(granted) = poll() {
            Poll::Ready(Ok(granted))
        } else if down.is_gone() {
            Poll::Ready(Err(Reason::ClientGone))
        } else if state.ring.now() >= at {
            Poll::Ready(Err(Reason::WaitTimeout))
        } else {
            Poll::Pending
        }
    })
    .await
}

async fn connect(
    state: &Shared,
    down: &Downstream,
    group: &Group,
    endpoint: &Endpoint,
    room: Room,
) -> Result<Lent, Reason> {
    let at = state.ring.now() + group.connect_timeout;
    let mut connecting = pin!(state.ring.connect(&endpoint.address, RecvMode::Large));
    let conn = poll_fn(|cx| {
        state.ring.set_deadline(Some(state.within_drain(at)));
        if let Poll::Ready(done) = connecting.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(|error| match error {
                IoError::TimedOut if state.is_cut() => Reason::DrainCut,
                IoError::TimedOut => Reason::ConnectTimeout,
                // Ours is the shortage, not the node's.
                IoError::NoDescriptors => Reason::Overloaded,
                _ => Reason::ConnectFailed,
            }));
        }
        if down.is_gone() { Poll::Ready(Err(Reason::ClientGone)) } else { Poll::Pending }
    })
    .await?;
    Ok(room.fill(Transport::Plain(conn)))
}
