//! Keeps the control plane's tasks alive: one that panics or ends is started again, after a wait, and counted.
//!
//! Owns the tasks' handles and counts. Never touches the data plane: shards go on whatever happens here.
//! State that must outlive a panic belongs to [`Control`](crate::control::Control), not to a task.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::jitter;

/// Wait before the first restart; doubles from there.
const RESTART_WAIT: Duration = Duration::from_millis(100);
/// Longest wait.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(10);
/// A task that ran for this long has recovered: the next wait is the first again.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// Takes a lock whose holder may have panicked: what these locks guard is replaced whole, never half-written.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one task.
#[derive(Debug, Default)]
pub struct TaskState {
    restarts: AtomicU64,
    panics: AtomicU64,
    up: AtomicBool,
    panic_asked: Notify,
    /// The same for a task on a thread of its own, which cannot wait for a notification.
    panic_flag: AtomicBool,
}

impl TaskState {
    /// Panics when a test has asked for it; for tasks on threads, between two rounds.
    pub(crate) fn panic_if_asked(&self) {
        assert!(!self.panic_flag.swap(false, Ordering::Relaxed), "asked to panic by the test hook");
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

/// One task in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it runs.
    pub up: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// How often it panicked.
    pub panics: u64,
}

/// The supervised tasks.
#[derive(Debug, Default)]
pub struct Supervisor {
    stop: CancellationToken,
    states: Mutex<BTreeMap<&'static str, Arc<TaskState>>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Supervisor {
    /// Resolves when the tasks shall end.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs what `make` makes until the supervisor stops, again after each panic and each early end.
    pub fn spawn<F, T>(&self, name: &'static str, make: F)
    where
        F: Fn() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let (state, stop) = (self.state(name), self.stop.clone());
        let handle = tokio::spawn(async move {
            let mut failures = 0;
            loop {
                let began = Instant::now();
                tokio::select! {
                    () = stop.cancelled() => return,
                    how = run_once(&state, make()) => {
                        if began.elapsed() >= RECOVERED_AFTER {
                            failures = 0;
                        }
                        let wait = jitter::backoff(RESTART_WAIT, RESTART_WAIT_MAX, failures);
                        failures = failures.saturating_add(1);
                        state.count_restart();
                        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                        tracing::error!(task = name, how, wait_ms, "control-plane task ended; it is started again");
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(wait) => {}
                        }
                    }
                }
            }
        });
        lock(&self.handles).push(handle);
    }

    /// The state of a task, made when it is new.
    pub(crate) fn state(&self, name: &'static str) -> Arc<TaskState> {
        Arc::clone(lock(&self.states).entry(name).or_default())
    }

    /// Each task as it stands.
    pub fn report(&self) -> Vec<TaskReport> {
        let one = |(name, state): (&&'static str, &Arc<TaskState>)| TaskReport {
            name,
            up: state.up.load(Ordering::Relaxed),
            restarts: state.restarts.load(Ordering::Relaxed),
            panics: state.panics.load(Ordering::Relaxed),
        };
        lock(&self.states).iter().map(one).collect()
    }

    /// Makes a task panic; the hook of tests. False when there is no such task.
    pub fn make_panic(&self, name: &str) -> bool {
        let state = lock(&self.states).get(name).cloned();
        if let Some(state) = &state {
            state.panic_flag.store(true, Ordering::Relaxed);
            state.panic_asked.notify_one();
        }
        state.is_some()
    }

    /// Ends all tasks and waits for them, at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.stop.cancel();
        let handles = std::mem::take(&mut *lock(&self.handles));
        let all = async {
            for handle in handles {
                // Its panics were counted where they happened.
                let _ = handle.await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("some control-plane tasks did not end in time");
        }
    }
}

/// Runs one life of a task; says how it ended.
async fn run_once(state: &Arc<TaskState>, task: impl Future<Output = ()> + Send + 'static) -> &'static str {
    state.set_up(true);
    // A task of its own, so that the panic ends there and its message is printed by the panic hook.
    let asked = Arc::clone(state);
    let mut life = AbortOnDrop(tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            () = asked.panic_asked.notified() => panic!("asked to panic by the test hook"),
        }
    }));
    let ended = (&mut life.0).await;
    state.set_up(false);
    if ended.is_ok() {
        return "it returned";
    }
    state.count_panic();
    "it panicked"
}

/// A spawned task that does not outlive its supervisor's interest.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    async fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < deadline, "not in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_or_returns_is_started_again_and_counted() {
        let (supervisor, lives) = (Supervisor::default(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&lives);
        supervisor.spawn("fragile", move || {
            let life = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match life {
                    0 => panic!("first life"),
                    1 => {}
                    _ => std::future::pending().await,
                }
            }
        });
        until(|| lives.load(Ordering::Relaxed) == 3 && supervisor.report()[0].up).await;
        let report = |restarts, panics| [TaskReport { name: "fragile", up: true, restarts, panics }];
        assert_eq!(supervisor.report(), report(2, 1));
        assert!(!supervisor.make_panic("absent"));
        assert!(supervisor.make_panic("fragile"));
        until(|| lives.load(Ordering::Relaxed) == 4).await;
        until(|| supervisor.report() == report(3, 2)).await;
        supervisor.stop(Duration::from_secs(5)).await;
        assert_eq!(lives.load(Ordering::Relaxed), 4);
    }
}
