//! One shard: a pinned thread that accepts, serves, obeys the control plane and counts.
//!
//! Owns the tasks that are not connections: accepting, arrivals from other shards, commands, housekeeping.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Poll;
use std::time::Duration;

use erlmcp_ring::probe::Chosen;
use erlmcp_ring::{Accepted, IoError, Listener, RecvMode, RingStats, Shard, ShardConfig, StartError, lane};

use crate::access::AccessLog;
use crate::client;
use crate::link::ids::ENDPOINTS_MAX;
use crate::link::{AccessBatch, Command, ListenerId, ShardPage, Snapshot};
use crate::placement::{Arrival, Placement};
use crate::state::{Drain, Shared, State};
use crate::transport::Transport;

/// How often batches that are not full go to the access log's writer.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// How often idle connections to nodes are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long accepting rests when descriptors or connections are used up.
const ACCEPT_REST: Duration = Duration::from_millis(10);
/// How often a draining shard looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What a shard's thread is given.
pub(crate) struct ShardParts {
    pub(crate) ring: ShardConfig,
    pub(crate) chosen: Chosen,
    pub(crate) listeners: Vec<(ListenerId, OwnedFd)>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) page: Arc<ShardPage>,
    pub(crate) pages: Vec<Arc<ShardPage>>,
    pub(crate) placement: Placement,
    pub(crate) commands: lane::Receiver<Command>,
    pub(crate) access_full: lane::Sender<AccessBatch>,
    pub(crate) access_empty: lane::Receiver<AccessBatch>,
}

/// Runs a shard until its drain is over. Tells `started` when it serves, or why it cannot.
pub(crate) fn run(parts: ShardParts, started: &SyncSender<Result<Arc<RingStats>, StartError>>) {
    let mut shard = match Shard::new(&parts.ring, &parts.chosen) {
        Ok(shard) => shard,
        // The starter waits for exactly one answer; it cannot be gone.
        Err(error) => return drop(started.send(Err(error))),
    };
    let ring = shard.handle();
    let access = AccessLog::new(ring.clone(), parts.access_full, parts.access_empty);
    let state: Shared = Rc::new(State::new(ring.clone(), parts.page, parts.pages, access, parts.snapshot));
    let stats = ring.stats_page();
    match start_tasks(&state, parts.listeners, parts.placement, parts.commands) {
        Ok(()) => drop(started.send(Ok(stats))),
        Err(source) => {
            let what = "listen on a shard's ring";
            let source = std::io::Error::other(source.to_string());
            return drop(started.send(Err(StartError::Os { what, source })));
        }
    }
    shard.run();
    state.access.flush(&state.page.access_dropped);
    state.pools.close_idle(&state);
}

fn start_tasks(
    state: &Shared,
    listeners: Vec<(ListenerId, OwnedFd)>,
    mut placement: Placement,
    commands: lane::Receiver<Command>,
) -> Result<(), IoError> {
    let full = |_| IoError::Closed;
    for lane in std::mem::take(&mut placement.arrivals) {
        state.ring.spawn(arrivals(state.clone(), lane)).map_err(full)?;
    }
    let placement = Rc::new(placement);
    for (id, socket) in listeners {
        let listener = state.ring.listen(socket)?;
        state.accepting.set(state.accepting.get() + 1);
        state.ring.spawn(accept(state.clone(), placement.clone(), id, listener)).map_err(full)?;
    }
    state.ring.spawn(obey(state.clone(), commands)).map_err(full)?;
    state.ring.spawn(flush_access(state.clone())).map_err(full)?;
    state.ring.spawn(keep_house(state.clone())).map_err(full)
}

/// Accepts until the drain, then serves what came meanwhile and closes the socket.
async fn accept(state: Shared, placement: Rc<Placement>, id: ListenerId, mut listener: Listener) {
    let page = &state.page.listeners[usize::from(id.0)];
    while !state.is_draining() {
        let max =
            state.with_snapshot(|snapshot| snapshot.listeners[usize::from(id.0)].connections_per_shard_max);
        if page.open.get() >= u64::from(max) {
            page.refused.add(1);
            rest(&state, &mut listener).await;
            continue;
        }
        match next(&state, &mut listener).await {
            None => break,
            Some(Ok(accepted)) => place(&state, &placement, id, accepted),
            Some(Err(_)) => {
                page.accept_errors.add(1);
                rest(&state, &mut listener).await;
            }
        }
    }
    for accepted in listener.stop().await {
        place(&state, &placement, id, accepted);
    }
    state.accepting.set(state.accepting.get() - 1);
}

/// The next connection, or `None` when the drain begins first.
async fn next(state: &Shared, listener: &mut Listener) -> Option<Result<Accepted, IoError>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|cx| match state.is_draining() {
        true => Poll::Ready(None),
        false => accept.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Leaves newcomers in the kernel's queue for a moment.
async fn rest(state: &Shared, listener: &mut Listener) {
    listener.pause();
    state.ring.sleep_until(state.ring.now() + ACCEPT_REST).await;
    listener.resume();
}

fn place(state: &Shared, placement: &Placement, listener: ListenerId, accepted: Accepted) {
    state.page.listeners[usize::from(listener.0)].accepted.add(1);
    if let Some(arrival) = placement.place(Arrival { listener, accepted }) {
        settle(state, arrival);
    }
}

/// Lets a connection live on this shard.
fn settle(state: &Shared, arrival: Arrival) {
    let Arrival { listener, accepted } = arrival;
    match state.ring.adopt(accepted.socket, RecvMode::Small) {
        Ok(conn) => client::start(state, Transport::Plain(conn), &accepted.peer, listener),
        Err(_) => state.page.listeners[usize::from(listener.0)].accept_errors.add(1),
    }
}

async fn arrivals(state: Shared, mut lane: lane::Receiver<Arrival>) {
    while let Some(arrival) = lane.recv().await {
        settle(&state, arrival);
    }
}

/// Does what the control plane says. When it is gone, the shard serves on with what it has.
async fn obey(state: Shared, mut commands: lane::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Publish(snapshot) => state.publish(snapshot),
            Command::Drain { idle, limit } => {
                let first = !state.is_draining();
                state.begin_drain(idle, limit);
                if first && state.ring.spawn(end_when_drained(state.clone())).is_err() {
                    state.ring.stop();
                }
            }
        }
    }
}

/// Ends the shard when its last connection is closed, or at the drain's limit.
async fn end_when_drained(state: Shared) {
    let mut quiet_looks = 0;
    loop {
        state.ring.sleep_until(state.ring.now() + DRAIN_LOOK).await;
        let Drain::Until { limit, .. } = state.drain() else { continue };
        // Others hand connections over until they drain too, and what they handed over comes within a turn.
        let all_drain = state.pages.iter().all(|page| page.draining.get() != 0);
        let is_quiet = all_drain && state.accepting.get() == 0 && state.page.load.get() == 0;
        quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
        // Past the limit each connection cuts itself; those that do not get one more second.
        if quiet_looks == 2 || state.ring.now() >= limit + SWEEP_INTERVAL {
            return state.ring.stop();
        }
    }
}

/// Hands over access-log batches that are not full, a moment after their first record.
async fn flush_access(state: Shared) {
    loop {
        poll_fn(|_| state.access.poll_pending(state.ring.current_task())).await;
        state.ring.sleep_until(state.ring.now() + FLUSH_INTERVAL).await;
        state.access.flush(&state.page.access_dropped);
    }
}

/// Looks through idle connections and sets the log's clock.
async fn keep_house(state: Shared) {
    loop {
        state.ring.sleep_until(state.ring.now() + SWEEP_INTERVAL).await;
        state.sync_wall_clock();
        let mut known = vec![false; ENDPOINTS_MAX];
        for endpoint in state.snapshot().groups.iter().flat_map(|group| &group.endpoints) {
            known[usize::from(endpoint.id.0)] = true;
        }
        state.pools.sweep(&state, |id| known[usize::from(id.0)]);
    }
}
