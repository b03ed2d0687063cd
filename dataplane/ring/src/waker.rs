//! Wakers that are sound on any thread, and the way by which other threads wake a sleeping shard.
//!
//! [`Remote`] is what foreign threads share with the shard: an intrusive stack of woken tasks (each at most once, so
//! it is bounded by the tasks and never allocates), a sleep flag and an eventfd. The order is publish, then look at
//! the flag; the sleeper sets the flag, then looks again.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering, fence};
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

use crossbeam_utils::CachePadded;

use crate::exec::Exec;
use crate::slab::Key;
use crate::stats::RingStats;
use crate::sys;

/// The address of a byte that each thread has its own of: cheaper to compare than `ThreadId`.
fn thread_token() -> usize {
    thread_local!(static TOKEN: u8 = const { 0 });
    TOKEN.with(|token| ptr::from_ref(token) as usize)
}

/// The part of a shard that every thread may touch.
pub(crate) struct Remote {
    head: CachePadded<AtomicPtr<TaskWaker>>,
    sleeping: CachePadded<AtomicBool>,
    stopping: AtomicBool,
    eventfd: OwnedFd,
    stats: Arc<RingStats>,
}

impl Remote {
    pub(crate) fn new(eventfd: OwnedFd, stats: Arc<RingStats>) -> Self {
        Self {
            head: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            sleeping: CachePadded::new(AtomicBool::new(false)),
            stopping: AtomicBool::new(false),
            eventfd,
            stats,
        }
    }

    pub(crate) fn eventfd(&self) -> i32 {
        self.eventfd.as_raw_fd()
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.signal();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Announces that the shard is about to block. False: something came meanwhile, do not block.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        // Pairs with the fence in `signal`: either the waker sees the flag, or we see what it published.
        fence(Ordering::SeqCst);
        let idle = self.head.load(Ordering::Relaxed).is_null() && !self.is_stopping();
        if !idle {
            self.awake();
        }
        idle
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    fn signal(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            sys::eventfd_signal(self.eventfd());
            self.stats.wakes_sent.add_shared(1);
        } else {
            self.stats.wakes_skipped.add_shared(1);
        }
    }

    fn push(&self, waker: Arc<TaskWaker>) {
        let node = Arc::into_raw(waker).cast_mut();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: the stack holds a count of `node`, so it is alive.
            let next = unsafe { &(*node).next };
            next.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Something was woken by another thread, or by a cloned waker on this one.
    #[inline]
    pub(crate) fn has_woken(&self) -> bool {
        !self.head.load(Ordering::Relaxed).is_null()
    }

    /// Takes all that was woken and hands each task's key to `wake`.
    pub(crate) fn drain(&self, mut wake: impl FnMut(Key)) {
        let mut node = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        while !node.is_null() {
            // SAFETY: the stack held one count of `node`; the swap made it ours.
            let waker = unsafe { Arc::from_raw(node) };
            node = waker.next.load(Ordering::Relaxed);
            // From here on it may be pushed again.
            waker.queued.store(false, Ordering::Release);
            wake(waker.task);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.drain(|_| ());
    }
}

/// A waker of one task that owns what it needs.
pub(crate) struct TaskWaker {
    task: Key,
    queued: AtomicBool,
    next: AtomicPtr<Self>,
    remote: std::sync::Weak<Remote>,
}

impl TaskWaker {
    pub(crate) fn new(task: Key, remote: &Arc<Remote>) -> Arc<Self> {
        Arc::new(Self {
            task,
            queued: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
            remote: Arc::downgrade(remote),
        })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // Weak, because a waker in the stack of a dead shard would keep it, and so itself, alive.
        let Some(remote) = self.remote.upgrade() else { return };
        if !self.queued.swap(true, Ordering::AcqRel) {
            remote.push(self);
        }
        remote.signal();
    }
}

/// What the waker inside a task's `Context` points to: it lives on the stack of the poll.
pub(crate) struct StackWaker<'a> {
    exec: &'a Exec,
    remote: &'a Arc<Remote>,
    task: Key,
    thread: usize,
}

impl<'a> StackWaker<'a> {
    pub(crate) fn new(exec: &'a Exec, remote: &'a Arc<Remote>, task: Key) -> Self {
        Self { exec, remote, task, thread: thread_token() }
    }

    /// Runs `f` with a waker that is valid during the call; only clones of it may live longer.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Waker) -> R) -> R {
        let raw = RawWaker::new(ptr::from_ref(self).cast(), &STACK_VTABLE);
        // SAFETY: the table keeps the contract of `RawWaker` (a clone owns its memory, a drop does nothing), and a
        // `&Waker` that travels to another thread is answered there without touching the executor's cells.
        let waker = std::mem::ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
        f(&waker)
    }

    fn shared(&self) -> Arc<TaskWaker> {
        if self.thread == thread_token() {
            self.exec.shared_waker(self.task, self.remote)
        } else {
            TaskWaker::new(self.task, self.remote)
        }
    }

    fn wake(&self) {
        if self.thread == thread_token() {
            self.exec.wake(self.task.index);
        } else {
            self.shared().wake();
        }
    }
}

static STACK_VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the pointer is to the `StackWaker` that `with` borrows for as long as the waker exists.
        let stack = unsafe { &*data.cast::<StackWaker<'_>>() };
        let waker = Waker::from(stack.shared());
        let waker = std::mem::ManuallyDrop::new(waker);
        RawWaker::new(waker.data(), waker.vtable())
    },
    |data| {
        // SAFETY: as above.
        unsafe { &*data.cast::<StackWaker<'_>>() }.wake();
    },
    |data| {
        // SAFETY: as above.
        unsafe { &*data.cast::<StackWaker<'_>>() }.wake();
    },
    |_| (),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> Arc<Remote> {
        Arc::new(Remote::new(sys::eventfd().expect("eventfd"), Arc::default()))
    }

    #[test]
    fn a_task_is_queued_once_and_again_after_the_drain() {
        let remote = remote();
        let waker = TaskWaker::new(Key { index: 3, generation: 9 }, &remote);
        for _ in 0..2 {
            Arc::clone(&waker).wake();
            Arc::clone(&waker).wake();
            let mut seen = Vec::new();
            remote.drain(|key| seen.push(key));
            assert_eq!(seen, [Key { index: 3, generation: 9 }]);
        }
    }

    #[test]
    fn what_was_published_before_the_sleep_prevents_it() {
        let remote = remote();
        let waker = TaskWaker::new(Key { index: 0, generation: 0 }, &remote);
        let sent = || remote.stats.wakes_sent.get();
        Arc::clone(&waker).wake();
        assert_eq!(sent(), 0, "awake: no system call");
        assert!(!remote.prepare_sleep(), "a task is woken already");
        remote.drain(|_| ());
        assert!(remote.prepare_sleep());
        Arc::clone(&waker).wake();
        assert_eq!(sent(), 1, "asleep: one system call");
        Arc::clone(&waker).wake();
        assert_eq!(sent(), 1, "and only one");
        remote.drain(|_| ());
        remote.stop();
        assert!(!remote.prepare_sleep(), "a shard that is to stop does not sleep");
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        const WAKES: u32 = 20_000;
        let remote = remote();
        let wakers: Vec<_> =
            (0..4).map(|index| TaskWaker::new(Key { index, generation: 0 }, &remote)).collect();
        let counts: Vec<_> = (0..4).map(|_| Arc::new(std::sync::atomic::AtomicU32::new(0))).collect();
        let threads: Vec<_> = wakers
            .iter()
            .zip(&counts)
            .map(|(waker, count)| (Arc::clone(waker), Arc::clone(count)))
            .map(|(waker, count)| {
                std::thread::spawn(move || {
                    for _ in 0..WAKES {
                        count.fetch_add(1, Ordering::Release);
                        Arc::clone(&waker).wake();
                    }
                })
            })
            .collect();
        let mut last = [0; 4];
        while last.iter().any(|seen| *seen < WAKES) {
            remote.drain(|key| last[key.index as usize] = counts[key.index as usize].load(Ordering::Acquire));
            std::thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("joins"));
    }
}
