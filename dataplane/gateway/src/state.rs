//! What all tasks of one shard share. A value, not a thread-local: several shards may live on one thread.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use erlmcp_proto::jsonrpc::mcp;
use erlmcp_ring::{Handle, Time};

use crate::access::AccessLog;
use crate::link::snapshot::Identity;
use crate::link::{AccessRecord, Reason, ShardPage, Snapshot};
use crate::note::Note;
use crate::upstream::pool::Pools;

/// The shard's state behind one pointer.
pub(crate) type Shared = Rc<State>;

/// A snapshot in use, with what is made of it once. Counted per shard: a clone touches no line that another shard
/// writes.
#[derive(Clone)]
pub(crate) struct SnapshotRef(Rc<InUse>);

struct InUse {
    snapshot: Arc<Snapshot>,
    /// See [`SnapshotRef::marks`].
    marks: [String; 2],
}

impl SnapshotRef {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let Identity { via, request_id_header } = &snapshot.identity;
        let marks = ["1.0", "1.1"].map(|version| format!("Via: {version} {via}\r\n{request_id_header}: "));
        Self(Rc::new(InUse { snapshot, marks }))
    }

    /// Our `Via` line and the start of the line that names a request's id, as they stand in every message that was
    /// received in this version of HTTP and is passed on.
    pub(crate) fn marks(&self, http10: bool) -> &str {
        &self.0.marks[usize::from(!http10)]
    }
}

impl Deref for SnapshotRef {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0.snapshot
    }
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Serving.
    No,
    /// Finishing: idle connections close at `idle`, everything else at `limit`.
    Until { idle: Time, limit: Time },
}

/// A task's deadline as it was last set, so that polls which change nothing cost nothing.
#[derive(Default)]
pub(crate) struct Alarm(Option<Time>);

impl Alarm {
    /// Polls under a deadline, `at` or the drain's limit, which costs nothing unless it has to be waited for.
    #[inline]
    pub(crate) fn poll<T>(
        &mut self,
        state: &State,
        at: impl Fn() -> Time,
        mut poll: impl FnMut() -> Poll<T>,
    ) -> Poll<T> {
        // The deadline of what came before may have passed.
        if state.ring.deadline_passed() {
            self.set(state, at());
        }
        let polled = poll();
        if polled.is_ready() {
            return polled;
        }
        self.set(state, at());
        // Nobody is woken for a deadline that has passed before it was set.
        if state.ring.deadline_passed() { poll() } else { polled }
    }

    /// Sets the running task's deadline to `at`, or to the drain's limit if that comes first.
    pub(crate) fn set(&mut self, state: &State, at: Time) {
        let at = state.within_drain(at);
        if self.0 != Some(at) {
            state.ring.set_deadline(Some(at));
            self.0 = Some(at);
        }
    }
}

/// State of one shard.
pub(crate) struct State {
    pub(crate) ring: Handle,
    pub(crate) page: Arc<ShardPage>,
    /// Every shard's page, for ranking nodes over all shards.
    pub(crate) pages: Vec<Arc<ShardPage>>,
    pub(crate) pools: Pools,
    pub(crate) access: AccessLog,
    /// Where round-robin and the search for the least loaded start next.
    pub(crate) turn: Cell<u32>,
    /// Listeners that still accept.
    pub(crate) accepting: Cell<u32>,
    snapshot: RefCell<SnapshotRef>,
    drain: Cell<Drain>,
    /// Wall clock less the shard's clock, microseconds.
    wall_offset_us: Cell<u64>,
}

impl State {
    pub(crate) fn new(
        ring: Handle,
        page: Arc<ShardPage>,
        pages: Vec<Arc<ShardPage>>,
        access: AccessLog,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        page.revision.set(snapshot.revision);
        let state = Self {
            ring,
            page,
            pages,
            pools: Pools::default(),
            access,
            turn: Cell::new(0),
            accepting: Cell::new(0),
            snapshot: RefCell::new(SnapshotRef::new(snapshot)),
            drain: Cell::new(Drain::No),
            wall_offset_us: Cell::new(0),
        };
        state.sync_wall_clock();
        state
    }

    /// The snapshot in force. An exchange keeps the one it began with.
    pub(crate) fn snapshot(&self) -> SnapshotRef {
        self.snapshot.borrow().clone()
    }

    /// Looks something up in the snapshot in force.
    pub(crate) fn with_snapshot<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(&self.snapshot.borrow())
    }

    /// Puts another snapshot in force; an older one is ignored.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        if snapshot.revision >= self.page.revision.get() {
            self.page.revision.set(snapshot.revision);
            *self.snapshot.borrow_mut() = SnapshotRef::new(snapshot);
        }
    }

    pub(crate) fn drain(&self) -> Drain {
        self.drain.get()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.get() != Drain::No
    }

    /// Begins the drain; a second call may only shorten it.
    pub(crate) fn begin_drain(&self, idle: Duration, limit: Duration) {
        let now = self.ring.now();
        let next = match self.drain.get() {
            Drain::No => Drain::Until { idle: now + idle.min(limit), limit: now + limit },
            Drain::Until { idle: old_idle, limit: old } => {
                Drain::Until { idle: old_idle.min(now + idle), limit: old.min(now + limit) }
            }
        };
        self.drain.set(next);
        self.page.draining.set(1);
        // Whoever waits for bytes looks at its deadline again.
        self.ring.wake_all();
    }

    /// The earlier of `at` and the drain's limit: no exchange outlives a drain.
    pub(crate) fn within_drain(&self, at: Time) -> Time {
        match self.drain.get() {
            Drain::No => at,
            Drain::Until { limit, .. } => at.min(limit),
        }
    }

    /// Whether the drain's time is over.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.drain.get(), Drain::Until { limit, .. } if self.ring.now() >= limit)
    }

    /// Counts why an exchange failed.
    pub(crate) fn count_reason(&self, reason: Reason) {
        self.page.reasons[reason.index()].add(1);
    }

    /// Reads the wall clock; between two readings log times run with the shard's own clock.
    pub(crate) fn sync_wall_clock(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Microseconds since 1970 fit 64 bits for 584,000 years.
        let wall_us = wall.as_micros() as u64;
        self.wall_offset_us.set(wall_us.saturating_sub(self.ring.now().as_nanos() / 1000));
    }

    /// Accounts for a finished exchange: counters, histograms, access log.
    pub(crate) fn account(
        &self,
        note: &Note,
        listener: crate::link::ListenerId,
        client: Option<std::net::IpAddr>,
    ) {
        let duration_us = note.elapsed_us(self.ring.now());
        if !note.is_stream {
            self.page.duration.record(u64::from(duration_us));
        }
        if note.upstream_us > 0 {
            self.page.upstream.record(u64::from(note.upstream_us));
        }
        if let Some(route) = self.page.routes.get(usize::from(note.route.0)) {
            let class = usize::from(note.status / 100).clamp(1, 5) - 1;
            route.by_class[class].add(1);
            route.bytes_in.add(note.bytes_in);
            route.bytes_out.add(note.bytes_out);
        }
        if let Some(reason) = note.reason {
            self.count_reason(reason);
        }
        if !note.logged {
            return;
        }
        let texts = note.texts();
        let record = AccessRecord {
            start_unix_us: self.wall_offset_us.get() + note.started.as_nanos() / 1000,
            duration_us,
            upstream_us: note.upstream_us,
            status: note.status,
            listener,
            route: note.route,
            endpoint: note.endpoint,
            // The number of reasons is far below 65,535.
            reason: note.reason.map_or(0, |reason| reason.index() as u16 + 1),
            retries: note.retries,
            bytes_in: note.bytes_in,
            bytes_out: note.bytes_out,
            client,
            revision: note.revision,
            request_id: texts.request_id,
            method: texts.method,
            path: texts.path,
            host: texts.host,
            rpc_method: texts.rpc_method.map_or("", mcp::Method::as_str),
        };
        self.access.record(&record, &self.page.access_dropped);
    }
}
