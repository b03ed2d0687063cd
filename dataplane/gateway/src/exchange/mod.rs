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
use erlmcp_ring::{Handle, SendList};

use crate::body::{Encoding, Keep};
use crate::downstream::Downstream;
use crate::link::ids::{EndpointId, GroupIndex, NO_ENDPOINT, RouteIndex};
use crate::link::reason::{Fault, Reason};
use crate::link::snapshot::{Endpoint, Group, HostPolicy, Route};
use crate::note::micros_between;
use crate::state::{Alarm, Shared, SnapshotRef};
use crate::upstream::Upstream;
use crate::upstream::acquire::{Engaged, acquire, engage};
use crate::upstream::http1::Http1;
use upload::{Phase, Upload};

/// A request that is to be forwarded: its head is written, its place is known.
pub(crate) struct Forward {
    pub(crate) snapshot: SnapshotRef,
    pub(crate) route: RouteIndex,
    pub(crate) group: GroupIndex,
    /// The node that was picked; its `Host` stands in the head.
    pub(crate) endpoint: EndpointId,
    /// The head and what had come of the body.
    pub(crate) first: SendList,
    /// Where the value of `Host` stands in it.
    pub(crate) host_value: Range<usize>,
    pub(crate) method: Method,
    /// How the rest of the body leaves, and whether all of it is in `first`.
    pub(crate) encoding: Encoding,
    pub(crate) is_body_sent: bool,
    /// Whether the body's length is told and small enough to be gathered before it is sent.
    pub(crate) is_small_body: bool,
}

impl Forward {
    fn route(&self) -> &Route {
        &self.snapshot.routes[usize::from(self.route.0)]
    }

    fn group(&self) -> &Group {
        &self.snapshot.groups[usize::from(self.group.0)]
    }

    fn read_timeout(&self) -> Duration {
        self.route().read_timeout.unwrap_or(self.group().read_timeout)
    }

    fn write_timeout(&self) -> Duration {
        self.route().write_timeout.unwrap_or(self.group().write_timeout)
    }
}

/// Runs the exchange. Returns the client's side when it is still at hand: not after it became a stream.
pub(crate) async fn run(state: &Shared, mut down: Downstream, mut forward: Forward) -> Option<Downstream> {
    let (mut up, upload, is_stream) = match begin(state, &mut down, &mut forward).await {
        Ok(begun) => begun,
        Err(reason) => return finish(state, down, Err(reason)).await,
    };
    let mut events = stream::Events::new(is_stream);
    // A call that is answered by one event and its end, as most are, never becomes a stream.
    if is_stream && !events.come_whole(state, &mut down, &mut up) {
        return stream::detach(state, down, up, events, &forward);
    }
    let result = relay(state, &mut down, up, upload, &forward, &mut events).await;
    finish(state, down, result).await
}

/// Accounts for the exchange; a failure is answered if there is still room for an answer.
async fn finish(state: &Shared, mut down: Downstream, result: Result<(), Reason>) -> Option<Downstream> {
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
    usable.then_some(down)
}

/// From the pool to the reply's head, over a dead reused connection where need be.
async fn begin(
    state: &Shared,
    down: &mut Downstream,
    forward: &mut Forward,
) -> Result<(Upstream, Upload, bool), Reason> {
    gather(state, down, forward).await?;
    let snapshot = forward.snapshot.clone();
    let group = &snapshot.groups[usize::from(forward.group.0)];
    let mut reached = acquire(state, down, group, forward.picked_in(group)).await?;
    loop {
        let (engaged, endpoint) = reached;
        if endpoint.id != forward.endpoint {
            forward.retarget(endpoint, &state.ring);
        }
        let first = std::mem::replace(&mut forward.first, state.ring.send_list());
        let mut up = open(down, engaged, first);
        let mut upload = Upload::new(forward.encoding, forward.is_body_sent);
        let reason = match reply_head(state, down, &mut up, &mut upload, forward).await {
            Ok(is_stream) => return Ok((up, upload, is_stream)),
            Err(reason) => reason,
        };
        if reason != Reason::UpstreamReset || down.note().retries > 0 {
            return Err(reason);
        }
        // What was sent comes back when the kernel has let go of it; how the send went is known already.
        let _ = poll_fn(|_| up.poll_flush()).await;
        let Some(again) = up.into_replay(forward.method) else { return Err(reason) };
        forward.first = again;
        down.note().retries += 1;
        state.page.endpoint(endpoint.id).retries.add(1);
        reached = reach_again(state, down, group, endpoint).await?;
    }
}

/// A new connection to the same node, or any to another where this one cannot be reached any more.
async fn reach_again<'g>(
    state: &Shared,
    down: &Downstream,
    group: &'g Group,
    endpoint: &'g Endpoint,
) -> Result<(Engaged, &'g Endpoint), Reason> {
    match engage(state, down, group, endpoint, true).await {
        Ok(engaged) => Ok((engaged, endpoint)),
        Err(Reason::ConnectFailed | Reason::ConnectTimeout | Reason::WaitQueueFull) => {
            state.page.endpoint(endpoint.id).failures.add(1);
            acquire(state, down, group, None).await
        }
        Err(reason) => Err(reason),
    }
}

/// Waits for the whole of a small body before a connection is taken: a slow client must not hold a node's place.
async fn gather(state: &Shared, down: &mut Downstream, forward: &mut Forward) -> Result<(), Reason> {
    let listener = usize::from(down.listener().0);
    let timeout = forward.snapshot.listeners[listener].body_idle_timeout;
    while forward.is_small_body && !forward.is_body_sent {
        let at = state.ring.now() + timeout;
        poll_fn(|_| {
            state.ring.set_deadline(Some(state.within_drain(at)));
            if let Poll::Ready(Err(reason)) = down.poll_flush() {
                return Poll::Ready(Err(reason));
            }
            down.poll_body(forward.encoding, Keep::Copies, &mut forward.first)
        })
        .await?;
        forward.is_body_sent = down.is_body_done();
    }
    Ok(())
}

fn open(down: &mut Downstream, engaged: Engaged, first: SendList) -> Upstream {
    down.note().endpoint = engaged.endpoint();
    Upstream::Http1(Http1::new(engaged, first))
}

impl Forward {
    fn picked_in<'g>(&self, group: &'g Group) -> Option<&'g Endpoint> {
        group.endpoints.iter().find(|one| one.id == self.endpoint)
    }

    /// Addresses the head to another node than the one it was written for. Copies it: this is rare.
    fn retarget(&mut self, endpoint: &Endpoint, ring: &Handle) {
        self.endpoint = endpoint.id;
        if self.route().host != HostPolicy::Upstream {
            return;
        }
        let old = self.first.to_vec();
        let mut new = Vec::with_capacity(old.len() + endpoint.host_header.len());
        new.extend_from_slice(&old[..self.host_value.start]);
        new.extend_from_slice(endpoint.host_header.as_bytes());
        new.extend_from_slice(&old[self.host_value.end..]);
        self.host_value.end = self.host_value.start + endpoint.host_header.len();
        self.first = ring.send_list();
        self.first.push_owned(new);
    }
}

/// Sends the request and relays the reply's head. Returns whether an event stream follows.
async fn reply_head(
    state: &Shared,
    down: &mut Downstream,
    up: &mut Upstream,
    upload: &mut Upload,
    forward: &Forward,
) -> Result<bool, Reason> {
    // What was last sent starts the wait for what comes next.
    let mut since = state.ring.now();
    let mut alarm = Alarm::default();
    loop {
        let mut head = None;
        poll_fn(|_| {
            alarm.set(state, since + forward.patience(down, upload));
            match upload.poll(down, up) {
                Err(reason) => return Poll::Ready(Err(reason)),
                Ok(true) => since = state.ring.now(),
                Ok(false) => {}
            }
            let relayed = up.poll_head(forward.method, |response| {
                head = Some((response.is_interim(), response.is_event_stream));
                relay_head(down, response, forward);
            });
            if relayed.is_pending() {
                if down.is_gone() {
                    return Poll::Ready(Err(Reason::ClientGone));
                }
                alarm.set(state, since + forward.patience(down, upload));
            }
            relayed
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

impl Forward {
    /// How long the exchange may go without progress in the phase that its upload is in.
    fn patience(&self, down: &Downstream, upload: &Upload) -> Duration {
        let listener = usize::from(down.listener().0);
        match upload.phase() {
            Phase::Moving => self.snapshot.listeners[listener].body_idle_timeout,
            Phase::Flushing => self.write_timeout(),
            Phase::Whole | Phase::Over | Phase::Broken => self.read_timeout(),
        }
    }
}

fn relay_head(down: &mut Downstream, response: &erlmcp_proto::http1::Response<'_>, forward: &Forward) {
    // 100 answers an expectation that was not passed on.
    if response.status != 100 {
        down.start_reply(response, &forward.snapshot, forward.route(), forward.method);
    }
}

/// Relays a reply's body to its end, and what is left of the request's body the other way.
async fn relay(
    state: &Shared,
    down: &mut Downstream,
    mut up: Upstream,
    mut upload: Upload,
    forward: &Forward,
    events: &mut stream::Events,
) -> Result<(), Reason> {
    let read_timeout = forward.read_timeout();
    let mut alarm = Alarm::default();
    loop {
        let at = state.ring.now() + read_timeout;
        let moved = poll_fn(|_| {
            alarm.set(state, at);
            if let Err(reason) = upload.poll(down, &mut up) {
                return Poll::Ready(Err(reason));
            }
            let moved = up.poll_body(down, |data| events.feed(state, data));
            if moved.is_pending() && down.is_gone() {
                return Poll::Ready(Err(Reason::ClientGone));
            }
            moved
        })
        .await
        .map_err(|reason| if state.is_cut() { Reason::DrainCut } else { reason })?;
        down.note().bytes_out += moved as u64;
        if up.is_body_done() {
            down.finish_reply(up.trailers());
            // The last bytes are on their way before the node's connection goes to the next request.
            let is_sent = down.release() || matches!(down.poll_flush(), Poll::Ready(Ok(())));
            if upload.is_over() {
                up.give_back(forward.group().requests_per_connection_max);
            }
            return if is_sent { Ok(()) } else { flush(state, down).await };
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
