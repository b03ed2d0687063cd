//! The tasks of a shard: a slab of boxed futures, a queue of those that are ready, and their deadlines.
//!
//! Nothing here is borrowed while a future is polled or dropped. Wakes are index pushes; a wake of a place that has
//! a new task since is spurious and harmless. Makes no system call.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::TasksFull;
use crate::prefetch;
use crate::slab::{Key, Slab};
use crate::waker::{Remote, TaskWaker};
use crate::wheel::{TICK_NANOS, Wheel, tick_of};

/// No task is running, or none waits.
pub(crate) const NO_TASK: u32 = u32::MAX;

pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What is fetched ahead of a task's future, bytes.
const PREFETCH_BYTES_MAX: usize = 2048;

struct Task {
    future: Option<BoxFuture>,
    waker: Option<Arc<TaskWaker>>,
    /// Nanoseconds; `u64::MAX` is none.
    deadline: u64,
    timer: Option<Key>,
    /// What the timer was set for; `u64::MAX` without one.
    timer_nanos: u64,
    queued: bool,
    expired: bool,
    /// Its future lives elsewhere: the one of `block_on`.
    rooted: bool,
}

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alarm {
    /// The deadline of a task.
    Deadline(Key),
    /// A sleep that a task waits for.
    Sleep(Key),
    /// A listener that had to back off.
    Listener(Key),
}

/// Whether a task's deadline has passed.
pub(crate) type Expired = bool;

/// Tasks, and which of them are ready.
struct Tasks {
    all: Slab<Task>,
    ready: VecDeque<u32>,
}

impl Tasks {
    #[inline]
    fn wake(&mut self, index: u32) {
        if let Some(task) = self.all.at_mut(index)
            && !task.queued
        {
            task.queued = true;
            self.ready.push_back(index);
        }
    }
}

impl Tasks {
    /// Fetches what the next ready task will touch first, while the one before it runs.
    #[inline]
    fn prefetch_next(&mut self) {
        if let Some(&next) = self.ready.front()
            && let Some(Task { future: Some(future), .. }) = self.all.at_mut(next)
        {
            prefetch::value(&**future, PREFETCH_BYTES_MAX);
        }
    }
}

/// What a ready queue entry asks for.
pub(crate) enum Ready {
    Poll(Key, BoxFuture, Expired),
    Root(Key),
    Nothing,
}

pub(crate) struct Exec {
    tasks: RefCell<Tasks>,
    wheel: RefCell<Wheel<Alarm>>,
    /// The task being polled, and whether its deadline has passed: asked by each of its operations.
    running: Cell<(u32, Expired)>,
    tasks_max: u32,
}

impl Exec {
    pub(crate) fn new(tasks_max: u32, now_nanos: u64) -> Self {
        Self {
            tasks: RefCell::new(Tasks { all: Slab::new(), ready: VecDeque::new() }),
            wheel: RefCell::new(Wheel::new(now_nanos / TICK_NANOS)),
            running: Cell::new((NO_TASK, false)),
            tasks_max,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.tasks.borrow().all.len()
    }

    /// Index of the task being polled.
    #[inline]
    pub(crate) fn running(&self) -> u32 {
        self.running.get().0
    }

    /// The running task's deadline has passed.
    #[inline]
    pub(crate) fn running_expired(&self) -> Expired {
        self.running.get().1
    }

    #[inline]
    pub(crate) fn set_running(&self, index: u32, expired: Expired) -> (u32, Expired) {
        self.running.replace((index, expired))
    }

    pub(crate) fn is_expired(&self, key: Key) -> Expired {
        self.tasks.borrow().all.get(key).is_some_and(|task| task.expired)
    }

    pub(crate) fn running_key(&self) -> Option<Key> {
        self.tasks.borrow().all.key_at(self.running())
    }

    fn insert(&self, future: Option<BoxFuture>) -> Key {
        let rooted = future.is_none();
        let task = Task {
            future,
            waker: None,
            deadline: u64::MAX,
            timer: None,
            timer_nanos: u64::MAX,
            queued: true,
            expired: false,
            rooted,
        };
        let mut tasks = self.tasks.borrow_mut();
        let key = tasks.all.insert(task);
        tasks.ready.push_back(key.index);
        key
    }

    pub(crate) fn spawn(&self, future: BoxFuture) -> Result<(), TasksFull> {
        if self.len() >= self.tasks_max {
            return Err(TasksFull);
        }
        self.insert(Some(future));
        Ok(())
    }

    /// A task whose future the caller polls itself when [`Ready::Root`] says so.
    pub(crate) fn root(&self) -> Key {
        self.insert(None)
    }

    #[inline]
    pub(crate) fn wake(&self, index: u32) {
        if index != NO_TASK {
            self.tasks.borrow_mut().wake(index);
        }
    }

    pub(crate) fn wake_key(&self, key: Key) {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.all.get(key).is_some() {
            tasks.wake(key.index);
        }
    }

    pub(crate) fn wake_all(&self) {
        let mut tasks = self.tasks.borrow_mut();
        for key in tasks.all.keys() {
            tasks.wake(key.index);
        }
    }

    #[inline]
    pub(crate) fn ready_len(&self) -> usize {
        self.tasks.borrow().ready.len()
    }

    /// Takes the next ready task out, to be polled.
    #[inline]
    pub(crate) fn next_ready(&self) -> Option<Ready> {
        let mut tasks = self.tasks.borrow_mut();
        let index = tasks.ready.pop_front()?;
        let Some((key, task)) = tasks.all.occupant(index) else { return Some(Ready::Nothing) };
        task.queued = false;
        if task.rooted {
            return Some(Ready::Root(key));
        }
        let expired = task.expired;
        let ready = task.future.take().map_or(Ready::Nothing, |future| Ready::Poll(key, future, expired));
        tasks.prefetch_next();
        Some(ready)
    }

    /// Puts back the future of a task that is not done.
    pub(crate) fn put_back(&self, key: Key, future: BoxFuture) {
        if let Some(task) = self.tasks.borrow_mut().all.get_mut(key) {
            task.future = Some(future);
        }
    }

    /// Forgets a task; its future must be out already.
    pub(crate) fn remove(&self, key: Key) {
        let task = self.tasks.borrow_mut().all.remove(key);
        if let Some(timer) = task.and_then(|task| task.timer) {
            self.wheel.borrow_mut().remove(timer);
        }
    }

    /// All futures, to be dropped by the caller; their tasks are forgotten.
    pub(crate) fn drain(&self) -> Vec<BoxFuture> {
        let keys = self.tasks.borrow().all.keys();
        let mut futures = Vec::with_capacity(keys.len());
        for key in keys {
            let future = self.tasks.borrow_mut().all.get_mut(key).and_then(|task| task.future.take());
            if let Some(future) = future {
                futures.push(future);
                self.remove(key);
            }
        }
        futures
    }

    /// The task's waker for other threads, made once.
    pub(crate) fn shared_waker(&self, key: Key, remote: &Arc<Remote>) -> Arc<TaskWaker> {
        let mut tasks = self.tasks.borrow_mut();
        match tasks.all.get_mut(key) {
            Some(task) => Arc::clone(task.waker.get_or_insert_with(|| TaskWaker::new(key, remote))),
            None => TaskWaker::new(key, remote),
        }
    }

    /// Sets the running task's deadline: a store, unless its timer would fire too late. One that lies in the past
    /// has passed at once: a task may set the same deadline again with each poll.
    #[inline]
    pub(crate) fn set_deadline(&self, nanos: u64, now_nanos: u64) {
        let index = self.running();
        let mut tasks = self.tasks.borrow_mut();
        let Some((key, task)) = tasks.all.occupant(index) else { return };
        let expired = is_past(nanos, now_nanos);
        task.deadline = nanos;
        task.expired = expired;
        self.running.set((index, expired));
        if !expired && nanos < task.timer_nanos {
            self.move_timer(key, task, nanos);
        }
    }

    /// Sets the deadline of a task that is not running; one that has passed already wakes it.
    pub(crate) fn set_deadline_of(&self, key: Key, nanos: u64, now_nanos: u64) {
        if key.index == self.running() {
            return self.set_deadline(nanos, now_nanos);
        }
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.all.get_mut(key) else { return };
        task.deadline = nanos;
        task.expired = is_past(nanos, now_nanos);
        if task.expired {
            tasks.wake(key.index);
        } else if nanos < task.timer_nanos {
            self.move_timer(key, task, nanos);
        }
    }

    #[cold]
    fn move_timer(&self, key: Key, task: &mut Task, nanos: u64) {
        let mut wheel = self.wheel.borrow_mut();
        if let Some(timer) = task.timer.take() {
            wheel.remove(timer);
        }
        task.timer = Some(wheel.insert(tick_of(nanos), Alarm::Deadline(key)));
        task.timer_nanos = nanos;
    }

    pub(crate) fn add_alarm(&self, nanos: u64, alarm: Alarm) -> Key {
        self.wheel.borrow_mut().insert(tick_of(nanos), alarm)
    }

    pub(crate) fn remove_alarm(&self, timer: Key) {
        self.wheel.borrow_mut().remove(timer);
    }

    /// When the wheel wants to be looked at again.
    pub(crate) fn next_alarm_nanos(&self) -> Option<u64> {
        self.wheel.borrow_mut().next_tick().map(|tick| tick.saturating_mul(TICK_NANOS))
    }

    /// The next alarm that is due. Deadlines that were moved are set again and not reported.
    pub(crate) fn pop_alarm(&self, now_nanos: u64) -> Option<Alarm> {
        let now_tick = now_nanos / TICK_NANOS;
        loop {
            let alarm = self.wheel.borrow_mut().pop(now_tick)?;
            let Alarm::Deadline(key) = alarm else { return Some(alarm) };
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.all.get_mut(key) else { continue };
            (task.timer, task.timer_nanos) = (None, u64::MAX);
            if task.deadline == u64::MAX {
                continue;
            }
            if tick_of(task.deadline) > now_tick {
                self.move_timer(key, task, task.deadline);
                continue;
            }
            task.expired = true;
            return Some(alarm);
        }
    }

    /// Bytes that a task costs beside its future.
    pub(crate) const fn task_bytes() -> usize {
        Slab::<Task>::slot_bytes()
    }
}

/// A tick that has not begun has not passed; most deadlines need no division to see that.
#[inline]
fn is_past(nanos: u64, now_nanos: u64) -> bool {
    nanos <= now_nanos && tick_of(nanos) <= now_nanos / TICK_NANOS
}

const _: () = assert!(Exec::task_bytes() <= 96);
