//! Event streams: relayed event by event for as long as they live, in a task of their own that is small.
//!
//! A stream outlives the exchange that began it: it does not count against the node's cap and no read timeout
//! ends it. What it holds while nothing comes is counted in bytes, so nothing is kept here that is not needed.

use std::future::poll_fn;
use std::task::Poll;

use erlmcp_proto::sse::{EVENT_BYTES_MAX_DEFAULT, EventFramer};

use super::flush;
use crate::client;
use crate::downstream::Downstream;
use crate::link::reason::Reason;
use crate::state::{Drain, Shared};
use crate::upstream::Upstream;

/// Most bytes that the relay of an idle stream may hold in its future.
pub(crate) const RELAY_BYTES_MAX: usize = 512;

/// Counts a stream as open for as long as it lives.
struct OpenStream(Shared);

impl OpenStream {
    fn new(state: &Shared) -> Self {
        state.page.streams.add(1);
        state.page.streams_begun.add(1);
        Self(state.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.page.streams.sub(1);
    }
}

/// Counts whole events as they pass.
pub(crate) struct Events(Option<EventFramer>);

impl Events {
    /// Counts if the reply is an event stream.
    pub(super) fn new(is_stream: bool) -> Self {
        Self(is_stream.then(|| EventFramer::new(EVENT_BYTES_MAX_DEFAULT)))
    }

    pub(super) fn feed(&mut self, state: &Shared, data: &[u8]) {
        if let Some(framer) = &mut self.0 {
            state.page.sse_events.add(u64::from(framer.feed(data).events));
        }
    }

    /// Takes what has come of the stream. Returns whether that was all of it.
    pub(super) fn come_whole(&mut self, state: &Shared, down: &mut Downstream, up: &mut Upstream) -> bool {
        if let Poll::Ready(Ok(moved)) = up.poll_body(down, |data| self.feed(state, data)) {
            down.note().bytes_out += moved as u64;
        }
        up.is_body_done()
    }
}

/// Moves the exchange into a stream's task. Without room for one both connections close, and it is counted.
pub(crate) fn detach(state: &Shared, down: Downstream, up: Box<Upstream>, events: Events, served_max: u32) {
    up.become_stream();
    let task = relay(OpenStream::new(state), down, up, events, served_max);
    assert!(size_of_val(&task) <= RELAY_BYTES_MAX, "a stream's future has {} bytes", size_of_val(&task));
    if state.ring.spawn(task).is_err() {
        state.count_reason(Reason::Overloaded);
    }
}

async fn relay(
    open: OpenStream,
    mut down: Downstream,
    mut up: Box<Upstream>,
    mut events: Events,
    served_max: u32,
) {
    let result = relay_events(&open.0, &mut down, &mut up, &mut events).await;
    if result.is_ok() {
        up.give_back(served_max);
    } else {
        drop(up);
    }
    let state = open.0.clone();
    drop(open);
    down.note().reason = result.err();
    down.note().is_stream = true;
    let (listener, client) = (down.listener(), down.client());
    state.account(down.note(), listener, client);
    if result.is_ok() {
        client::resume(&state, down);
    }
}

async fn relay_events(
    state: &Shared,
    down: &mut Downstream,
    up: &mut Upstream,
    events: &mut Events,
) -> Result<(), Reason> {
    // The head goes out at once: a silent stream has begun all the same.
    flush(state, down).await?;
    loop {
        let moved = poll_fn(|_| {
            state.ring.set_deadline(match state.drain() {
                Drain::No => None,
                Drain::Until { limit, .. } => Some(limit),
            });
            let moved = up.poll_body(down, |data| events.feed(state, data));
            if moved.is_pending() {
                if down.is_gone() {
                    return Poll::Ready(Err(Reason::ClientGone));
                }
                if state.is_cut() {
                    return Poll::Ready(Err(Reason::DrainCut));
                }
            }
            moved
        })
        .await?;
        down.note().bytes_out += moved as u64;
        if up.is_body_done() {
            down.finish_reply(up.trailers());
            return flush(state, down).await;
        }
        flush(state, down).await?;
    }
}
