//! The shard's end of the access log: the batch being filled and the lanes to the writer.
//!
//! Never formats and never waits: a record that finds no batch is dropped and counted.

use std::cell::{Cell, RefCell};
use std::task::Poll;

use erlmcp_ring::{Handle, TaskRef, lane};

use crate::link::{AccessBatch, AccessRecord, Counter};

/// Where finished exchanges are written down.
pub(crate) struct AccessLog {
    batch: RefCell<Option<AccessBatch>>,
    full: lane::Sender<AccessBatch>,
    empty: RefCell<lane::Receiver<AccessBatch>>,
    /// Empty batches that came back, the latest on top: its memory is the likeliest to be in the cache still.
    spare: RefCell<Vec<AccessBatch>>,
    pending: Cell<bool>,
    /// The task that flushes, while it waits for a record.
    flusher: Cell<Option<TaskRef>>,
    ring: Handle,
}

impl AccessLog {
    pub(crate) fn new(
        ring: Handle,
        full: lane::Sender<AccessBatch>,
        empty: lane::Receiver<AccessBatch>,
    ) -> Self {
        Self {
            batch: RefCell::new(None),
            full,
            empty: RefCell::new(empty),
            spare: RefCell::new(Vec::new()),
            pending: Cell::new(false),
            flusher: Cell::new(None),
            ring,
        }
    }

    /// Writes a record down, or counts it as dropped.
    pub(crate) fn record(&self, record: &AccessRecord<'_>, dropped: &Counter) {
        let mut batch = self.batch.borrow_mut();
        if batch.is_none() {
            *batch = self.take_empty();
        }
        let Some(current) = batch.as_mut() else {
            dropped.add(1);
            return;
        };
        current.push(record);
        if !self.pending.replace(true)
            && let Some(flusher) = self.flusher.take()
        {
            self.ring.wake(flusher);
        }
        if current.is_full()
            && let Some(full) = batch.take()
        {
            self.hand_over(full, dropped);
        }
    }

    fn take_empty(&self) -> Option<AccessBatch> {
        let (mut empty, mut spare) = (self.empty.borrow_mut(), self.spare.borrow_mut());
        // Bounded by the batches that there are.
        spare.extend(std::iter::from_fn(|| empty.try_recv().ok()));
        spare.pop()
    }

    /// Ready when there is something to flush; an idle shard's flusher sleeps for good.
    pub(crate) fn poll_pending(&self, task: TaskRef) -> Poll<()> {
        if self.pending.get() {
            return Poll::Ready(());
        }
        self.flusher.set(Some(task));
        Poll::Pending
    }

    /// Hands over what there is; called every few milliseconds and at the shard's end.
    pub(crate) fn flush(&self, dropped: &Counter) {
        if !self.pending.replace(false) {
            return;
        }
        let batch = self.batch.borrow_mut().take();
        if let Some(batch) = batch {
            self.hand_over(batch, dropped);
        }
    }

    fn hand_over(&self, batch: AccessBatch, dropped: &Counter) {
        let records = batch.len() as u64;
        // The lane has room for every batch there is: it is full only when its reader is gone.
        if self.full.try_send(batch).is_err() {
            dropped.add(records);
        }
    }
}
