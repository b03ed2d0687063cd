//! A virtual client's place on its thread: what a protocol's client uses besides its own bytes.
//!
//! It names the client to the thread's [`State`], and passes on time, deadlines and what is counted. It decides nothing.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use erlmcp_ring::{Handle, IoError, Time};

use super::client::Client;
use super::outcome::{ErrorKind, StreamOutcome};
use super::spec::Spec;
use super::state::{Next, State};

/// What the clients of a thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: RefCell<State>,
    /// How the first connections went: made, failed, and why the last one failed.
    pub(crate) ready: Cell<[u32; 2]>,
    pub(crate) failure: Cell<Option<(ErrorKind, Option<IoError>)>>,
}

/// A virtual client's place on its thread.
#[derive(Clone)]
pub(crate) struct Seat {
    handle: Handle,
    shared: Rc<Shared>,
    spec: Arc<Spec>,
    index: u32,
    addr: SocketAddr,
}

impl Seat {
    pub(crate) fn new(
        handle: Handle,
        shared: Rc<Shared>,
        spec: Arc<Spec>,
        index: u32,
        addr: SocketAddr,
    ) -> Self {
        Self { handle, shared, spec, index, addr }
    }

    /// The shard.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the run is asked to do.
    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where this client connects to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The time: what has been received in this turn was there by then.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        self.handle.now()
    }

    /// Ends whatever the client waits for after so long. The driver of the client sets the run's time-out before
    /// [`Client::prepare`] and before [`Client::exchange`]; a protocol that holds longer sets its own.
    #[inline]
    pub(crate) fn deadline_in(&self, length: Duration) {
        self.handle.set_deadline(Some(self.now() + length));
    }

    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.shared.state.borrow_mut())
    }

    /// The exchange's request goes out in this turn: service time and lag are taken when the turn's sends are submitted.
    /// Once for each exchange, in the same poll as the send (or connect) that begins it; further calls change nothing.
    #[inline]
    pub(crate) fn sending(&self) {
        self.with(|state| state.sending(self.index));
    }

    /// Records a request beside the mix (one of [`asides`](super::client::asides)) that was sent at
    /// `sent` and has ended now. It appears under its name, and in no total.
    pub(crate) fn aside(&self, request: usize, sent: Time, result: Result<(), ErrorKind>) {
        let nanos = self.now().as_nanos().saturating_sub(sent.as_nanos());
        self.with(|state| state.aside(request, nanos, result));
    }

    /// The record of streams, where the protocol has one.
    pub(crate) fn streams(&self, f: impl FnOnce(&mut StreamOutcome)) {
        self.with(|state| state.batch.streams.as_mut().map(f));
    }

    pub(crate) fn count_in(&self, bytes: usize) {
        self.with(|state| state.batch.totals.bytes_in += bytes as u64);
    }

    pub(crate) fn count_out(&self, bytes: usize) {
        self.with(|state| state.batch.totals.bytes_out += bytes as u64);
    }

    /// A connection was made, in so many nanoseconds.
    pub(crate) fn count_connect(&self, nanos: u64) {
        self.with(|state| {
            state.batch.totals.connects += 1;
            state.batch.connect.saturating_record(nanos);
            state.live.open += 1;
        });
    }

    /// A connection that was made is gone.
    pub(crate) fn count_close(&self) {
        self.with(|state| state.live.open -= 1);
    }

    /// A connection could not be made.
    pub(crate) fn count_failure(&self, kind: ErrorKind, error: Option<IoError>) {
        self.shared.failure.set(Some((kind, error)));
    }

    async fn prepare(&self, client: &mut Client) -> Result<(), ErrorKind> {
        self.deadline_in(self.spec.timeout);
        let result = client.prepare(self).await;
        if let Err(kind) = result
            && self.shared.failure.get().is_none_or(|(last, _)| last != kind)
        {
            self.shared.failure.set(Some((kind, None)));
        }
        result
    }

    async fn next(&self) -> usize {
        poll_fn(|_| match self.with(|state| state.next(self.index, self.now().as_nanos())) {
            Next::Begin(request) => Poll::Ready(request),
            Next::Wait => Poll::Pending,
        })
        .await
    }

    async fn exchange(&self, client: &mut Client, request: usize) -> (bool, Result<u64, ErrorKind>) {
        if !client.is_ready() {
            if let Err(kind) = self.prepare(client).await {
                return (false, Err(kind));
            }
            self.with(|state| state.freed(self.index, self.now().as_nanos()));
        }
        self.deadline_in(self.spec.timeout);
        let result = client.exchange(self, request).await.map(Time::as_nanos);
        let could_connect = !matches!(result, Err(ErrorKind::Connect | ErrorKind::Exhausted));
        (could_connect, result)
    }
}

/// The life of a virtual client: connect, then one request after the other until the shard ends.
pub(crate) async fn live(seat: Seat, mut client: Client) {
    seat.with(|state| state.enroll(seat.index, seat.handle.current_task()));
    let prepared = seat.prepare(&mut client).await;
    let [made, failed] = seat.shared.ready.get();
    seat.shared.ready.set(if prepared.is_ok() { [made + 1, failed] } else { [made, failed + 1] });
    seat.handle.set_deadline(None);
    loop {
        let request = seat.next().await;
        let (could_connect, result) = seat.exchange(&mut client, request).await;
        seat.handle.set_deadline(None);
        let now = seat.now().as_nanos();
        seat.with(|state| {
            state.finish(seat.index, now, result);
            state.pause(seat.index, now, could_connect);
        });
    }
}
