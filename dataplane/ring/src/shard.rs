//! A shard: driver, tables, tasks and clock as one value, and its loop.
//!
//! A turn is: wait (one system call), apply completions, fire alarms, run ready tasks, give buffers back. Nothing of
//! it lives in thread-locals; several shards may take turns on one thread. A panic of a task's own code ends that
//! task; a panic anywhere else in a turn, or in the tables while a task uses them, aborts the process, because the
//! kernel may be writing into what it would unwind.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::buffers::Groups;
use crate::config::{DriverKind, ShardConfig};
use crate::epoll::Epoll;
use crate::error::StartError;
use crate::exec::{Alarm, BoxFuture, Exec, Expired, Ready};
use crate::handle::Handle;
use crate::io::{Driver, Io, leases_max};
use crate::probe::Chosen;
use crate::send::Pool;
use crate::slab::Key;
use crate::stats::RingStats;
use crate::sys;
use crate::time::{Clock, Time};
use crate::uring::{self, Uring};
use crate::waker::{Remote, StackWaker};

/// Rounds of ready tasks in one turn: a task woken by another in the same turn need not wait for the next, one that
/// yields for ever does not keep the turn.
const ROUNDS_PER_TURN_MAX: usize = 3;
/// Longest wait of one round of teardown.
const TEARDOWN_STEP: Duration = Duration::from_millis(10);
/// Longest block under a manual clock, whose alarms have no place in real time.
const MANUAL_WAIT: Duration = Duration::from_millis(1);

/// What a turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TurnReport {
    /// Completions applied.
    pub events: usize,
    /// Tasks polled.
    pub tasks_run: usize,
}

pub(crate) struct Core {
    io: RefCell<Io>,
    pub(crate) exec: Rc<Exec>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) groups: Groups,
    pub(crate) remote: Arc<Remote>,
    pub(crate) stats: Arc<RingStats>,
    clock: Clock,
    pub(crate) kind: DriverKind,
    pub(crate) now: Cell<Time>,
    pub(crate) rng: Cell<u64>,
    tasks_per_turn_max: u32,
    /// Teardown has begun: no new tasks.
    pub(crate) down: Cell<bool>,
}

/// One shard. Make it on the thread that runs it.
pub struct Shard {
    core: Rc<Core>,
    root_ready: Option<Key>,
    teardown_wait: Duration,
    torn_down: bool,
}

impl Shard {
    /// # Errors
    /// When a size is out of range or the kernel refuses something; the text says what.
    pub fn new(cfg: &ShardConfig, chosen: &Chosen) -> Result<Self, StartError> {
        cfg.check().map_err(StartError::Config)?;
        let in_kernel = chosen.kind == DriverKind::IoUring;
        let groups = Groups::new(cfg.small, cfg.large, in_kernel).map_err(StartError::os("map buffers"))?;
        let stats = Arc::new(RingStats::default());
        let eventfd = sys::eventfd().map_err(StartError::os("make an eventfd"))?;
        let remote = Arc::new(Remote::new(eventfd, Arc::clone(&stats)));
        let driver = match chosen.kind {
            DriverKind::IoUring => {
                let ring = uring::build(chosen.flags, cfg.sq_entries, cfg.cq_entries)
                    .map_err(StartError::os("set up an io_uring"))?;
                let credit = chosen.recv_credit;
                Uring::new(ring, chosen.flags, credit, &groups, remote.eventfd(), &stats)
                    .map(|uring| Driver::Uring(Box::new(uring)))
                    .map_err(StartError::os("register buffer rings"))?
            }
            DriverKind::Epoll => {
                Epoll::new(&groups, remote.eventfd(), &stats, cfg.recv_window_bytes, leases_max(cfg))
                    .map(|epoll| Driver::Epoll(Box::new(epoll)))
                    .map_err(StartError::os("make an epoll"))?
            }
        };
        let now = cfg.clock.now();
        let exec = Rc::new(Exec::new(cfg.tasks_max, now.as_nanos()));
        let pool = Rc::new(Pool::default());
        let io = Io::new(driver, groups.clone(), Rc::clone(&pool), Rc::clone(&exec), Arc::clone(&stats), cfg);
        let core = Core {
            io: RefCell::new(io),
            exec,
            pool,
            groups,
            remote,
            stats,
            clock: cfg.clock.clone(),
            kind: chosen.kind,
            now: Cell::new(now),
            rng: Cell::new(cfg.seed),
            tasks_per_turn_max: cfg.tasks_per_turn_max,
            down: Cell::new(false),
        };
        Ok(Self { core: Rc::new(core), root_ready: None, teardown_wait: cfg.teardown_wait, torn_down: false })
    }

    /// What tasks use.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Rc::clone(&self.core))
    }

    /// Takes turns until [`Handle::stop`], then tears down.
    pub fn run(&mut self) {
        while !self.core.remote.is_stopping() {
            self.turn(None);
        }
        self.tear_down();
    }

    /// One turn, which waits at most `max_wait` (`None`: until something happens).
    pub fn turn(&mut self, max_wait: Option<Duration>) -> TurnReport {
        let core = Rc::clone(&self.core);
        core.stats.turns.add(1);
        let guard = AbortOnPanic;
        core.take_remote_wakes();
        core.wait(max_wait);
        let events = core.io().dispatch(core.now.get().as_nanos());
        core.take_remote_wakes();
        core.fire_alarms();
        std::mem::forget(guard);
        let tasks_run = self.run_tasks(&core);
        let guard = AbortOnPanic;
        core.io().end_turn();
        core.stats.tasks.set(u64::from(core.exec.len()));
        std::mem::forget(guard);
        TurnReport { events, tasks_run }
    }

    fn run_tasks(&mut self, core: &Rc<Core>) -> usize {
        let max = core.tasks_per_turn_max as usize;
        let mut run = 0;
        for _ in 0..ROUNDS_PER_TURN_MAX {
            let round = core.exec.ready_len().min(max - run);
            if round == 0 {
                break;
            }
            for _ in 0..round {
                match core.exec.next_ready() {
                    Some(Ready::Poll(key, future, expired)) => core.poll_task(key, future, expired),
                    Some(Ready::Root(key)) => self.root_ready = Some(key),
                    Some(Ready::Nothing) | None => {}
                }
            }
            run += round;
        }
        if run >= max {
            core.stats.work_bound_hits.add(1);
        }
        run
    }

    /// Takes turns until `future` is done: for tests and small tools. The future is a task like any other.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let core = Rc::clone(&self.core);
        let root = core.exec.root();
        let _root = RemoveRoot { core: &core, root };
        loop {
            self.turn(None);
            if self.root_ready.take_if(|key| *key == root).is_none() {
                continue;
            }
            if let Poll::Ready(output) = core.poll_as(root, future.as_mut(), core.exec.is_expired(root)) {
                return output;
            }
        }
    }

    /// Ends all tasks, cancels what is in flight, and waits for the kernel to let go of it.
    fn tear_down(&mut self) {
        if std::mem::replace(&mut self.torn_down, true) {
            return;
        }
        let core = &self.core;
        core.down.set(true);
        for future in core.exec.drain() {
            core.drop_future(future);
        }
        let guard = AbortOnPanic;
        core.io().begin_teardown();
        // No clock but the driver's own waits; a round that brings completions costs none of the patience, and what is
        // in flight is finite, because nothing new is started.
        let mut patience = self.teardown_wait;
        while core.io().in_flight() > 0 && !patience.is_zero() {
            let step = patience.min(TEARDOWN_STEP);
            core.io().wait(Some(step));
            if core.io().dispatch(core.now.get().as_nanos()) == 0 {
                patience -= step;
            }
        }
        core.io().finish_teardown();
        std::mem::forget(guard);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.tear_down();
    }
}

struct RemoveRoot<'a> {
    core: &'a Core,
    root: Key,
}

impl Drop for RemoveRoot<'_> {
    fn drop(&mut self) {
        self.core.exec.remove(self.root);
    }
}

/// Ends the process when it is dropped, which happens only when a panic unwinds through the driver.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

impl Core {
    #[inline]
    pub(crate) fn io(&self) -> RefMut<'_, Io> {
        self.io.borrow_mut()
    }

    fn take_remote_wakes(&self) {
        if self.remote.has_woken() {
            self.remote.drain(|key| self.exec.wake_key(key));
        }
    }

    fn timeout(&self, max_wait: Option<Duration>) -> Option<Duration> {
        if self.exec.ready_len() > 0 || self.io().has_work() {
            return Some(Duration::ZERO);
        }
        let Some(alarm) = self.exec.next_alarm_nanos() else { return max_wait };
        let until = match self.clock {
            Clock::Monotonic => Time::from_nanos(alarm).since(self.now.get()),
            Clock::Manual(_) if alarm <= self.clock.now().as_nanos() => Duration::ZERO,
            Clock::Manual(_) => MANUAL_WAIT,
        };
        Some(max_wait.map_or(until, |wait| wait.min(until)))
    }

    fn wait(&self, max_wait: Option<Duration>) {
        let mut timeout = self.timeout(max_wait);
        let block = timeout != Some(Duration::ZERO);
        if block && !self.remote.prepare_sleep() {
            timeout = Some(Duration::ZERO);
        }
        self.io().wait(timeout);
        if block {
            self.remote.awake();
        }
        self.now.set(self.clock.now());
    }

    fn fire_alarms(&self) {
        while let Some(alarm) = self.exec.pop_alarm(self.now.get().as_nanos()) {
            match alarm {
                Alarm::Deadline(key) => {
                    self.stats.deadline_fires.add(1);
                    self.exec.wake_key(key);
                }
                Alarm::Sleep(key) => self.exec.wake_key(key),
                Alarm::Listener(key) => self.io().on_listener_alarm(key),
            }
        }
    }

    #[inline]
    fn poll_as<F: Future + ?Sized>(
        &self,
        key: Key,
        future: Pin<&mut F>,
        expired: Expired,
    ) -> Poll<F::Output> {
        let before = self.exec.set_running(key.index, expired);
        let stack = StackWaker::new(&self.exec, &self.remote, key);
        let restore = RestoreRunning { exec: &self.exec, before };
        let poll = stack.with(|waker| future.poll(&mut Context::from_waker(waker)));
        drop(restore);
        poll
    }

    fn poll_task(&self, key: Key, mut future: BoxFuture, expired: Expired) {
        let poll = catch_unwind(AssertUnwindSafe(|| self.poll_as(key, future.as_mut(), expired)));
        match poll {
            Ok(Poll::Pending) => self.exec.put_back(key, future),
            Ok(Poll::Ready(())) => {
                self.drop_future(future);
                self.exec.remove(key);
            }
            Err(_) => {
                self.stats.panics.add(1);
                self.drop_future(future);
                self.exec.remove(key);
            }
        }
    }

    /// What a future owns may panic when it is dropped.
    fn drop_future(&self, future: BoxFuture) {
        if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            self.stats.panics.add(1);
        }
    }
}

struct RestoreRunning<'a> {
    exec: &'a Exec,
    before: (u32, Expired),
}

impl Drop for RestoreRunning<'_> {
    fn drop(&mut self) {
        self.exec.set_running(self.before.0, self.before.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DriverChoice;
    use crate::probe;
    use std::os::unix::process::ExitStatusExt;

    /// Set in the process that is to die.
    const DOOMED: &str = "ERLMCP_RING_TEST_DOOMED";

    /// A task panics inside the tables, or by itself.
    fn panic_in_a_task(inside: bool) {
        let cfg = ShardConfig::default();
        let chosen = probe::choose(DriverChoice::Epoll, &cfg).expect("epoll");
        let mut shard = Shard::new(&cfg, &chosen).expect("a shard");
        let handle = shard.handle();
        let task = {
            let handle = handle.clone();
            async move {
                if inside {
                    handle.with_io(|_| panic!("as meant by this test"));
                }
                panic!("as meant by this test");
            }
        };
        handle.spawn(task).expect("spawns");
        shard.turn(Some(Duration::ZERO));
        assert_eq!(handle.stats().panics.get(), 1);
    }

    #[test]
    fn a_panic_inside_the_tables_aborts_and_one_of_the_task_does_not() {
        if std::env::var_os(DOOMED).is_some() {
            return panic_in_a_task(true);
        }
        panic_in_a_task(false);
        let name = "shard::tests::a_panic_inside_the_tables_aborts_and_one_of_the_task_does_not";
        let child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name])
            .env(DOOMED, "1")
            .output()
            .expect("runs");
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
    }
}
