//! One request and its reply, from the node's connection to the last byte: the second half of the pipeline.
//!
//! The order, top to bottom: pool → send → reply head → relay (or stream) → account. Written against
//! [`Downstream`] and [`Upstream`]; knows no socket and no protocol's bytes.

mod stream;
mod upload;

use std::future::poll_fn;
use std::ops::Range;
use std::task::Poll;
use std::time::Duration;

use erlmcp_proto::http1::Method;
use erlmcp_ring::SendList;

use crate::body::{Encoding, Keep};
use crate::downstream::Downstream;
use crate::link::ids::{EndpointId, GroupIndex, ListenerId, NO_ENDPOINT, RouteIndex};
use crate::link::reason::{Fault, Reason};
use crate::link::snapshot::{Endpoint, Group, HostPolicy, Route};
use crate::note::micros_between;
use crate::state::{Alarm, Shared, SnapshotRef};
use crate::upstream::Upstream;
use crate::upstream::acquire::{acquire, engage};
pub(crate) use stream::{Events, detach};
use upload::{Phase, Upload};

/// A request that is to be forwarded: its head is written, its place is known.
pub(crate) struct Forward {
    pub(crate) plan: Plan,
    pub(crate) request: Outgoing,
}

/// What was decided about a request for good.
pub(crate) struct Plan {
    pub(crate) snapshot: SnapshotRef,
    pub(crate) route: RouteIndex,
    pub(crate) group: GroupIndex,
    pub(crate) method: Method,
}

/// The request as it leaves.
pub(crate) struct Outgoing {
    /// The node that was picked; its `Host` stands in the head.
    pub(crate) endpoint: EndpointId,
    /// The head and what had come of the body.
    pub(crate) first: SendList,
    /// Where the value of `Host` stands in it.
    pub(crate) host_value: Range<u32>,
    /// How the rest of the body leaves, and whether all of it is in `first`.
    pub(crate) encoding: Encoding,
    pub(crate) is_body_sent: bool,
    /// Whether the body's length is told and small enough to be gathered before it is sent.
    pub(crate) is_small_body: bool,
}

/// How an exchange ended for its client's side.
pub(crate) enum Outcome {
    /// It is accounted for. Whether the connection is in order still.
    Over(bool),
    /// It goes on as an event stream, and what has come of that was counted.
    Stream(Box<Upstream>, Events),
}

impl Plan {
    pub(crate) fn route(&self) -> &Route {
        &self.snapshot.routes[usize::from(self.route.0)]
    }

    pub(crate) fn group(&self) -> &Group {
        &self.snapshot.groups[usize::from(self.group.0)]
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        self.route().read_timeout.unwrap_or(self.group().read_timeout)
    }

    fn write_timeout(&self) -> Duration {
        self.route().write_timeout.unwrap_or(self.group().write_timeout)
    }
}

impl Outgoing {
    /// Addresses the head to another node than the one it was written for. Copies it: this is rare.
    pub(crate) fn address(&mut self, endpoint: &Endpoint, plan: &Plan) {
        if std::mem::replace(&mut self.endpoint, endpoint.id) == endpoint.id
            || plan.route().host != HostPolicy::Upstream
        {
            return;
        }
        let old = self.first.take().to_vec();
        let (start, end) = (self.host_value.start as usize, self.host_value.end as usize);
        let mut new = Vec::with_capacity(old.len() + endpoint.host_header.len());
        new.extend_from_slice(&old[..start]);
        new.extend_from_slice(endpoint.host_header.as_bytes());
        // Heads are far below 4 GiB.
        self.host_value.end = new.len() as u32;
        new.extend_from_slice(&old[end..]);
        self.first.push_owned(new);
    }
}

/// Runs the exchange.
pub(crate) async fn run(state: &Shared, down: &mut Downstream, forward: &mut Forward) -> Outcome {
    let result = match carry(state, down, forward).await {
        Ok(Carried::Sent) => Ok(()),
        Ok(Carried::Whole) => flush(state, down).await,
        Ok(Carried::Stream(up, events)) => return Outcome::Stream(up, events),
        Err(reason) => Err(reason),
    };
    Outcome::Over(finish(state, down, result).await)
}

/// How far a reply was carried.
enum Carried {
    /// Its end is on its way.
    Sent,
    /// It has come whole, and its end is still to be sent.
    Whole,
    /// It is an event stream.
    Stream(Box<Upstream>, Events),
}

/// Carries the request to a node and the reply back. The node's connection is free, or closed, afterwards.
async fn carry(state: &Shared, down: &mut Downstream, forward: &mut Forward) -> Result<Carried, Reason> {
    let Forward { plan, request } = forward;
    // The node's side stays where it is made: it is too large to be handed from future to future.
    let mut node = None;
    let Begun { up, mut upload, is_stream } = begin(state, down, plan, request, &mut node).await?;
    let mut events = Events::new(is_stream);
    // A call that is answered by one event and its end, as most are, never becomes a stream.
    if is_stream && !events.come_whole(state, down, up) {
        let up = node.take().ok_or(Reason::NoHealthyNode)?;
        return Ok(Carried::Stream(Box::new(up), events));
    }
    relay(state, down, up, &mut upload, plan, &mut events).await?;
    down.finish_reply(up.trailers());
    // The last bytes are on their way before the node's connection goes to the next request.
    let is_sent = down.release() || matches!(down.poll_flush(), Poll::Ready(Ok(())));
    if upload.is_over() {
        up.give_back(plan.group().requests_per_connection_max);
    }
    Ok(if is_sent { Carried::Sent } else { Carried::Whole })
}

/// Accounts for the exchange; a failure is answered if there is still room for an answer. Returns whether the
/// client's connection is in order.
async fn finish(state: &Shared, down: &mut Downstream, result: Result<(), Reason>) -> bool {
    let mut usable = true;
    if let Err(reason) = result {
        let endpoint = down.note().endpoint;
        // Connections that failed are counted where another node is tried.
        let connected = !matches!(reason, Reason::ConnectFailed | Reason::ConnectTimeout);
        if reason.fault() == Fault::Upstream && connected && endpoint != NO_ENDPOINT {
            state.page.endpoint(endpoint).failures.add(1);
        }
        down.note().reason = Some(reason);
        usable = !down.has_replied() && down.refuse(state, reason).await;
    }
    let (listener, client) = (down.listener(), down.client());
    state.account(down.note(), listener, client);
    usable
}

/// An exchange whose reply has begun.
struct Begun<'n> {
    up: &'n mut Upstream,
    upload: Upload,
    /// Whether an event stream follows.
    is_stream: bool,
}

/// From the pool to the reply's head, over a dead reused connection where need be.
async fn begin<'n>(
    state: &Shared,
    down: &mut Downstream,
    plan: &Plan,
    request: &mut Outgoing,
    node: &'n mut Option<Upstream>,
) -> Result<Begun<'n>, Reason> {
    gather(state, down, plan, request).await?;
    let picked = plan.group().endpoints.iter().find(|one| one.id == request.endpoint);
    acquire(state, down, plan, request, picked, node).await?;
    let (upload, is_stream) = loop {
        let Some(up) = node.as_mut() else { return Err(Reason::NoHealthyNode) };
        let endpoint = up.endpoint();
        down.note().endpoint = endpoint;
        let mut upload = Upload::new(request.encoding, request.is_body_sent);
        let reason = match reply_head(state, down, up, &mut upload, plan).await {
            Ok(is_stream) => break (upload, is_stream),
            Err(reason) => reason,
        };
        if reason != Reason::UpstreamReset || down.note().retries > 0 {
            return Err(reason);
        }
        // What was sent comes back when the kernel has let go of it; how the send went is known already.
        let _ = poll_fn(|_| up.poll_flush()).await;
        let Some(again) = up.take_replay(plan.method) else { return Err(reason) };
        *node = None;
        request.first = again;
        down.note().retries += 1;
        state.page.endpoint(endpoint).retries.add(1);
        reach_again(state, down, plan, request, node).await?;
    };
    let up = node.as_mut().ok_or(Reason::NoHealthyNode)?;
    Ok(Begun { up, upload, is_stream })
}

/// A new connection to the same node, or any to another where this one cannot be reached any more.
async fn reach_again(
    state: &Shared,
    down: &Downstream,
    plan: &Plan,
    request: &mut Outgoing,
    node: &mut Option<Upstream>,
) -> Result<(), Reason> {
    let same = plan.group().endpoints.iter().find(|one| one.id == request.endpoint);
    let Some(endpoint) = same else { return acquire(state, down, plan, request, None, node).await };
    match engage(state, down, plan, request, endpoint, true, node).await {
        Err(Reason::ConnectFailed | Reason::ConnectTimeout | Reason::WaitQueueFull) => {
            state.page.endpoint(endpoint.id).failures.add(1);
            acquire(state, down, plan, request, None, node).await
        }
        reached => reached,
    }
}

/// Waits for the whole of a small body before a connection is taken: a slow client must not hold a node's place.
async fn gather(
    state: &Shared,
    down: &mut Downstream,
    plan: &Plan,
    request: &mut Outgoing,
) -> Result<(), Reason> {
    let listener = usize::from(down.listener().0);
    while request.is_small_body && !request.is_body_sent {
        let at = state.ring.now() + plan.snapshot.listeners[listener].body_idle_timeout;
        poll_fn(|_| {
            state.ring.set_deadline(Some(state.within_drain(at)));
            if let Poll::Ready(Err(reason)) = down.poll_flush() {
                return Poll::Ready(Err(reason));
            }
            down.poll_body(request.encoding, Keep::Copies, &mut request.first)
        })
        .await?;
        request.is_body_sent = down.is_body_done();
    }
    Ok(())
}

/// Sends the request and relays the reply's head. Returns whether an event stream follows.
async fn reply_head(
    state: &Shared,
    down: &mut Downstream,
    up: &mut Upstream,
    upload: &mut Upload,
    plan: &Plan,
) -> Result<bool, Reason> {
    // What was last sent starts the wait for what comes next.
    let (mut since, listener) = (up.begun_at(), down.listener());
    loop {
        let (mut alarm, mut head) = (Alarm::default(), None);
        poll_fn(|_| {
            if state.ring.deadline_passed() {
                alarm.set(state, since + patience(listener, upload, plan));
            }
            match upload.poll(down, up) {
                Err(reason) => return Poll::Ready(Err(reason)),
                Ok(true) => since = state.ring.now(),
                Ok(false) => {}
            }
            let at = || since + patience(listener, upload, plan);
            alarm.poll(state, at, || {
                let relayed = up.poll_head(plan.method, |response| {
                    head = Some((response.is_interim(), response.is_event_stream));
                    relay_head(down, response, plan);
                });
                if relayed.is_pending() && down.is_gone() {
                    return Poll::Ready(Err(Reason::ClientGone));
                }
                relayed
            })
        })
        .await
        .map_err(|reason| if state.is_cut() { Reason::DrainCut } else { reason })?;
        match head {
            Some((true, _)) => flush(state, down).await?,
            Some((false, is_stream)) => {
                upload.settle(up);
                down.note().upstream_us = micros_between(since, state.ring.now()).max(1);
                return Ok(is_stream && upload.is_over());
            }
            None => return Err(Reason::BadReply),
        }
    }
}

/// How long the exchange may go without progress in the phase that its upload is in.
fn patience(listener: ListenerId, upload: &Upload, plan: &Plan) -> Duration {
    match upload.phase() {
        Phase::Moving => plan.snapshot.listeners[usize::from(listener.0)].body_idle_timeout,
        Phase::Flushing => plan.write_timeout(),
        Phase::Whole | Phase::Over | Phase::Broken => plan.read_timeout(),
    }
}

fn relay_head(down: &mut Downstream, response: &erlmcp_proto::http1::Response<'_>, plan: &Plan) {
    // 100 answers an expectation that was not passed on.
    if response.status != 100 {
        down.start_reply(response, &plan.snapshot, plan.route(), plan.method);
    }
}

/// Relays a reply's body, and what is left of the request's body the other way. The body's last bytes are left
/// to be sent by the caller.
async fn relay(
    state: &Shared,
    down: &mut Downstream,
    up: &mut Upstream,
    upload: &mut Upload,
    plan: &Plan,
    events: &mut Events,
) -> Result<(), Reason> {
    loop {
        let (mut alarm, since) = (Alarm::default(), state.ring.now());
        let moved = poll_fn(|_| {
            alarm.poll(
                state,
                || since + plan.read_timeout(),
                || {
                    if let Err(reason) = upload.poll(down, up) {
                        return Poll::Ready(Err(reason));
                    }
                    let moved = up.poll_body(down, |data| events.feed(state, data));
                    if moved.is_pending() && down.is_gone() {
                        return Poll::Ready(Err(Reason::ClientGone));
                    }
                    moved
                },
            )
        })
        .await
        .map_err(|reason| if state.is_cut() { Reason::DrainCut } else { reason })?;
        down.note().bytes_out += moved as u64;
        if up.is_body_done() {
            return Ok(());
        }
        flush(state, down).await?;
    }
}

/// Waits until the client has taken what was put out. A client that takes nothing at all for one write timeout,
/// two at most, has stalled; a slow one has not.
async fn flush(state: &Shared, down: &mut Downstream) -> Result<(), Reason> {
    let listener = usize::from(down.listener().0);
    let timeout = state.with_snapshot(|snapshot| snapshot.listeners[listener].write_timeout);
    let mut at = state.ring.now() + timeout;
    let mut taken = None;
    let mut alarm = Alarm::default();
    poll_fn(|_| {
        let now = state.ring.now();
        if now >= at && !state.is_cut() {
            let progress = Some(down.progress());
            if progress != taken {
                (at, taken) = (now + timeout, progress);
            }
        }
        alarm.set(state, at);
        down.poll_flush()
    })
    .await
    .map_err(|reason| if state.is_cut() { Reason::DrainCut } else { reason })
}
