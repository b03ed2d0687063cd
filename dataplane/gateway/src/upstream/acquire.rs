//! From a group to a connection in hand: pick a node, take or open a connection, wait in line, try the next
//! node when one cannot be reached. A request is sent here only when a connection becomes free for it while it
//! waits, and then there is no way back: trying another node is always safe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use erlmcp_ring::{Handle, IoError, RecvMode};

use super::Upstream;
use super::balance::{Tried, pick};
use super::http1::Http1;
use super::line::Parcel;
use super::pool::{Checkout, Granted, Lent, Room, Sent, Ticket, checkout};
use crate::downstream::Downstream;
use crate::exchange::{Outgoing, Plan};
use crate::link::ids::EndpointId;
use crate::link::reason::Reason;
use crate::link::snapshot::{Endpoint, Group};
use crate::state::Shared;
use crate::transport::Transport;

/// Counts a request at its node from the pick on, so that waiting ones weigh in the balance too.
pub(super) struct Active {
    state: Shared,
    id: EndpointId,
}

impl Active {
    fn new(state: &Shared, id: EndpointId) -> Self {
        state.page.endpoint(id).active.add(1);
        Self { state: state.clone(), id }
    }

    pub(super) fn id(&self) -> EndpointId {
        self.id
    }

    pub(super) fn ring(&self) -> &Handle {
        &self.state.ring
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.state.page.endpoint(self.id).active.sub(1);
    }
}

/// Puts a node of the group that can be reached in `node`, with the request on its way there or about to be.
///
/// # Errors
/// No node is fit, none of those tried could be reached, the line is full or too slow, or the client left.
pub(crate) async fn acquire(
    state: &Shared,
    down: &Downstream,
    plan: &Plan,
    request: &mut Outgoing,
    first: Option<&Endpoint>,
    node: &mut Option<Upstream>,
) -> Result<(), Reason> {
    let group = plan.group();
    let mut tried = Tried::default();
    let mut next = first.or_else(|| pick(state, group, &tried));
    let mut last = Reason::NoHealthyNode;
    while let Some(endpoint) = next {
        match engage(state, down, plan, request, endpoint, false, node).await {
            Ok(()) => return Ok(()),
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

/// The same for this node alone; `fresh` refuses a connection that has served before.
///
/// # Errors
/// As for [`acquire`]; the request is whole still if the node could not be reached or its line is full.
pub(crate) async fn engage(
    state: &Shared,
    down: &Downstream,
    plan: &Plan,
    request: &mut Outgoing,
    endpoint: &Endpoint,
    fresh: bool,
    node: &mut Option<Upstream>,
) -> Result<(), Reason> {
    request.address(endpoint, plan);
    let active = Active::new(state, endpoint.id);
    let group = plan.group();
    let parcel =
        || request.is_body_sent.then(|| Parcel { list: request.first.take(), patience: plan.read_timeout() });
    let (conn, sent) = match checkout(state, group, endpoint, fresh, parcel) {
        Checkout::Reused(lent) => (lent, None),
        Checkout::Connect(room) => (connect(state, down, group, endpoint, room).await?, None),
        Checkout::Wait(ticket) => match wait(state, down, group, ticket).await? {
            Granted::Reused(lent, sent) => (lent, sent),
            Granted::Connect(room, list) => {
                if let Some(list) = list {
                    request.first = list;
                }
                (connect(state, down, group, endpoint, room).await?, None)
            }
        },
        Checkout::Full => return Err(Reason::WaitQueueFull),
    };
    state.page.endpoint(endpoint.id).requests.add(1);
    let first = if sent.is_some() { None } else { Some(request.first.take()) };
    let begun = sent.unwrap_or_else(|| Sent::now(state, conn.transport()));
    *node = Some(Upstream::Http1(Http1::new(conn, active, first, begun)));
    Ok(())
}

/// Waits in line, unless the client leaves first.
async fn wait(
    state: &Shared,
    down: &Downstream,
    group: &Group,
    mut ticket: Ticket,
) -> Result<Granted, Reason> {
    let at = state.ring.now() + group.wait_timeout;
    let mut is_new = true;
    poll_fn(|_| {
        // Nothing is granted while its task runs; and what is granted may have a deadline already.
        if !std::mem::take(&mut is_new)
            && let Poll::Ready(granted) = ticket.poll()
        {
            return Poll::Ready(Ok(granted));
        }
        let at = state.within_drain(at);
        state.ring.set_deadline(Some(at));
        if down.is_gone() {
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
