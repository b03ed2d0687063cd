//! What the tasks of a shard use: time, tasks, deadlines, connections, buffers to send, counters.
//!
//! A handle borrows nothing for longer than a call, and a call never runs a task.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::addr::SockAddr;
use crate::buffers::GroupId;
use crate::config::{DriverKind, RecvMode};
use crate::conn::Conn;
use crate::error::{IoError, TasksFull};
use crate::exec::Alarm;
use crate::io::Io;
use crate::listener::Listener;
use crate::send::SendList;
use crate::shard::{AbortOnPanic, Core};
use crate::slab::Key;
use crate::stats::RingStats;
use crate::time::Time;
use crate::waker::Remote;

/// What the tasks of a shard use; cheap to clone, bound to the shard's thread.
#[derive(Clone)]
pub struct Handle(pub(crate) Rc<Core>);

/// A task of one shard, named so that another task of the same shard can wake it; by default none. No allocation, no atomics.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskRef(pub(crate) Option<Key>);

impl Handle {
    /// Runs `f` on the tables. A panic in there is the driver's, whoever called: it aborts the process, because the
    /// tables that the kernel's completions refer to are half changed.
    #[inline]
    pub(crate) fn with_io<R>(&self, f: impl FnOnce(&mut Io) -> R) -> R {
        let guard = AbortOnPanic;
        let result = f(&mut self.0.io());
        std::mem::forget(guard);
        result
    }

    /// The time, read once per turn.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Time {
        self.0.now.get()
    }

    /// The driver that carries this shard.
    #[must_use]
    pub fn driver(&self) -> DriverKind {
        self.0.kind
    }

    /// Starts a task.
    ///
    /// # Errors
    /// When the shard's bound of tasks is reached, or it is being torn down.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Result<(), TasksFull> {
        if self.0.down.get() {
            return Err(TasksFull);
        }
        self.0.exec.spawn(Box::pin(future))
    }

    /// The running task, for another task of this shard to wake; outside one, a reference that wakes nothing.
    #[must_use]
    #[inline]
    pub fn current_task(&self) -> TaskRef {
        TaskRef(self.0.exec.running_key())
    }

    /// Wakes a task of this shard; one that has ended is none.
    #[inline]
    pub fn wake(&self, task: TaskRef) {
        if let Some(key) = task.0 {
            self.0.exec.wake_key(key);
        }
    }

    /// Wakes every task, for a change that all of them have to look at. Costs a poll of each.
    pub fn wake_all(&self) {
        self.0.exec.wake_all();
    }

    /// Sets or takes away the deadline of the running task. When it passes, the task is woken, and its operations
    /// that cannot go on return [`IoError::TimedOut`] until another deadline is set. Costs a store.
    #[inline]
    pub fn set_deadline(&self, at: Option<Time>) {
        self.0.exec.set_deadline(at.map_or(u64::MAX, Time::as_nanos), self.now().as_nanos());
    }

    /// Sets the deadline of another task of this shard, on whose behalf something was begun; one that has passed
    /// already wakes it. A task that has ended is none.
    #[inline]
    pub fn set_deadline_of(&self, task: TaskRef, at: Time) {
        if let Some(key) = task.0 {
            self.0.exec.set_deadline_of(key, at.as_nanos(), self.now().as_nanos());
        }
    }

    /// The running task's deadline has passed.
    #[must_use]
    #[inline]
    pub fn deadline_passed(&self) -> bool {
        self.0.exec.running_expired()
    }

    /// Ends at `at`, or up to a millisecond later.
    pub fn sleep_until(&self, at: Time) -> Sleep {
        Sleep { core: Rc::clone(&self.0), at, timer: None }
    }

    /// Lets the other ready tasks run first.
    pub fn yield_now(&self) -> impl Future<Output = ()> + use<> {
        let core = Rc::clone(&self.0);
        let mut yielded = false;
        poll_fn(move |_| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            core.exec.wake(core.exec.running());
            Poll::Pending
        })
    }

    /// Accepts on a socket that is bound and listening.
    ///
    /// # Errors
    /// When the kernel refuses it, or the shard is being torn down.
    pub fn listen(&self, socket: OwnedFd) -> Result<Listener, IoError> {
        let key = self.with_io(|io| io.listen(socket))?;
        Ok(Listener::new(self.clone(), key))
    }

    /// Connects, with TCP_NODELAY.
    ///
    /// # Errors
    /// Why it could not; [`IoError::TimedOut`] when the task's deadline passes.
    pub async fn connect(&self, addr: &SockAddr, mode: RecvMode) -> Result<Conn, IoError> {
        let key = self.with_io(|io| io.connect(addr, mode))?;
        let conn = Conn::new(self.clone(), key);
        conn.connected().await?;
        Ok(conn)
    }

    /// Takes over a connected socket, from this shard's listener or another's, and begins to receive.
    ///
    /// # Errors
    /// When the kernel refuses it, or the shard is being torn down.
    pub fn adopt(&self, socket: OwnedFd, mode: RecvMode) -> Result<Conn, IoError> {
        let key = self.with_io(|io| io.adopt(socket, mode))?;
        Ok(Conn::new(self.clone(), key))
    }

    /// An empty list, from the shard's pool.
    #[must_use]
    #[inline]
    pub fn send_list(&self) -> SendList {
        SendList::new(&self.0.pool)
    }

    /// The shard's counters.
    #[must_use]
    pub fn stats(&self) -> &RingStats {
        &self.0.stats
    }

    /// The shard's counters, to be read by any thread.
    #[must_use]
    pub fn stats_page(&self) -> Arc<RingStats> {
        Arc::clone(&self.0.stats)
    }

    /// Buffers outside the kernel now, small and large.
    #[must_use]
    pub fn leases_out(&self) -> [u32; 2] {
        GroupId::FILLED.map(|id| self.0.groups[id].book().leased())
    }

    /// The next number of the shard's own generator (SplitMix64). Not for secrets.
    #[must_use]
    #[inline]
    pub fn rng(&self) -> u64 {
        let state = self.0.rng.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.rng.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Ends [`Shard::run`] after this turn.
    pub fn stop(&self) {
        self.0.remote.stop();
    }

    /// What stops the shard from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.0.remote))
    }

    /// The ring's descriptor, where there is one: for tests that look at what the kernel holds.
    #[must_use]
    pub fn ring_fd(&self) -> Option<i32> {
        self.with_io(|io| io.ring_fd())
    }
}

/// Stops a shard from any thread.
#[derive(Clone)]
pub struct Stopper(Arc<Remote>);

impl Stopper {
    /// Ends [`Shard::run`] after its turn.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// See [`Handle::sleep_until`].
#[must_use = "a future does nothing unless polled"]
pub struct Sleep {
    core: Rc<Core>,
    at: Time,
    timer: Option<Key>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.core.now.get() >= self.at {
            return Poll::Ready(());
        }
        if self.timer.is_none() {
            let task = self.core.exec.running_key();
            let at = self.at.as_nanos();
            self.timer = task.map(|key| self.core.exec.add_alarm(at, Alarm::Sleep(key)));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.core.exec.remove_alarm(timer);
        }
    }
}
