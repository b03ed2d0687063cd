//! The counters of one shard: a page with a single writer, the shard's thread, and any number of readers.
//!
//! The shard adds by a relaxed load and store, never by a read-modify-write. The two wake counters alone
//! are written by foreign threads, and there atomically.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or gauge of [`RingStats`].
#[derive(Debug, Default)]
pub struct Stat(AtomicU64);

impl Stat {
    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }

    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// What a shard's ring has done. Counters only grow; the gauges say so.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RingStats {
    /// Turns of the loop.
    pub turns: Stat,
    /// Waiting system calls (`io_uring_enter`, `epoll_wait`).
    pub enters: Stat,
    /// Completions (io_uring) or readiness events (epoll).
    pub cqes: Stat,
    /// Turns that saw the completion queue overflowing.
    pub cq_overflows: Stat,
    /// Submissions that waited in the driver's own queue because the submission queue was full.
    pub sq_full: Stat,
    /// Receives that found no buffer.
    pub enobufs: Stat,
    /// Receives armed again.
    pub rearms: Stat,
    /// Receives that passed their connection's window or number of leases and had to be canceled.
    pub recv_overshoots: Stat,
    /// Gauge: small buffers outside the kernel.
    pub leases_small: Stat,
    /// Gauge: large buffers outside the kernel.
    pub leases_large: Stat,
    /// Gauge: bytes of copies that stand in for buffers while these are scarce, bookkeeping included.
    pub heap_bytes: Stat,
    /// Connections that had something queued and were not received from while buffers were scarce.
    pub held_back: Stat,
    /// Sends handed to the kernel.
    pub sends: Stat,
    /// Sends that the kernel took only in part.
    pub partial_sends: Stat,
    /// Bytes copied out of buffers: of sends that a slow reader blocks, and of what came while buffers were scarce.
    pub spilled_bytes: Stat,
    /// Wakes from other threads that needed a system call.
    pub wakes_sent: Stat,
    /// Wakes from other threads that found the shard awake.
    pub wakes_skipped: Stat,
    /// Tasks that panicked.
    pub panics: Stat,
    /// Gauge: tasks alive.
    pub tasks: Stat,
    /// Gauge: connections alive, those that are closing too.
    pub conns: Stat,
    /// Sockets accepted.
    pub accepts: Stat,
    /// Accepts that failed.
    pub accept_errors: Stat,
    /// Listeners that were stopped with more in their backlog than they may take.
    pub backlogs_cut: Stat,
    /// Cancellations asked for.
    pub cancels: Stat,
    /// Gauge: longest time from a close to its last completion, nanoseconds.
    pub cancel_latency_max_nanos: Stat,
    /// Task deadlines that passed.
    pub deadline_fires: Stat,
    /// Turns that left work for the next because a bound was reached.
    pub work_bound_hits: Stat,
    /// Operations leaked because the kernel did not finish them before teardown's deadline.
    pub leaked_ops: Stat,
}
