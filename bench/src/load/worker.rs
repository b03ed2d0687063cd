//! A generator thread: a shard, its virtual clients, and the loop that drives both by the clock.
//!
//! Each turn of the loop: stamp what the turn before has put out (just before it is submitted), hand over an interval that
//! has ended, wake whom the schedule wants, take a turn of the shard. Never merges a histogram, never prints.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use erlmcp_ring::probe::Chosen;
use erlmcp_ring::{Clock, GroupConfig, IoError, Shard, ShardConfig, TurnReport};
use rustix::time::{ClockId, clock_gettime};

use super::arrivals::Schedule;
use super::client::{self, Script};
use super::draw::Rng;
use super::machine;
use super::outcome::ErrorKind;
use super::pace::{Pacer, Wait};
use super::record::{Batch, GAPS_MAX, Reservoir};
use super::seat::{Seat, Shared, live};
use super::spec::Spec;
use super::state::{Open, State, Supply, Window};
use super::stop::Stop;

/// Clients that connect at a time, per thread: a listening socket's queue is finite.
const CONNECTING_MAX: u32 = 64;
/// Longest sleep, nanoseconds: so soon is a stop seen.
const SLEEP_MAX: u64 = 20_000_000;
/// Longest turn of a spin, nanoseconds: what took longer was not spent spinning, another thread had the processor.
const SPIN_TURN_MAX: u64 = 5_000;
/// Streams of random numbers, apart from those of the schedules (which are numbered by thread).
const MIX_STREAM: u64 = 1 << 32;
const GAPS_STREAM: u64 = 2 << 32;

/// What a thread tells the live display; written by it alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauges {
    pub(crate) sent: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) open: AtomicU64,
}

/// How the connections of a thread went before the schedule began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) made: u32,
    pub(crate) failed: u32,
    pub(crate) failure: Option<(ErrorKind, Option<IoError>)>,
}

/// What a thread says.
pub(crate) enum Message {
    /// It exists, with this thread id of the kernel, and its clients are connected, as far as they could be.
    Ready(u32, Result<(i32, Ready), String>),
    /// What it measured; the box goes back.
    Batch(u32, Box<Batch>),
}

/// How a thread fared while measuring.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    /// When it ended; before `measure` when nothing was measured.
    pub(crate) at: u64,
    /// CPU time of the thread, and of that what it spun, nanoseconds.
    pub(crate) cpu: u64,
    pub(crate) spun: u64,
    /// Tasks that panicked.
    pub(crate) panics: u64,
    /// Run delay and involuntary switches of the thread's whole life.
    pub(crate) figures: (u64, u64),
    pub(crate) gaps: Vec<u64>,
    /// Request-nanoseconds in flight.
    pub(crate) integral: u128,
}

/// What a thread is made of.
pub(crate) struct Job {
    pub(crate) thread: u32,
    pub(crate) spec: Arc<Spec>,
    pub(crate) chosen: Chosen,
    /// When the schedule begins, nanoseconds of the clock; 0 until that is known.
    pub(crate) start: Arc<AtomicU64>,
    /// Either ends the thread.
    pub(crate) stops: [Stop; 2],
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) out: SyncSender<Message>,
    pub(crate) back: Receiver<Box<Batch>>,
    /// Lengths of warm-up, measured part and interval, nanoseconds.
    pub(crate) lengths: [u64; 3],
    pub(crate) quota: u64,
}

/// The part of `all` that `thread` of `threads` has.
pub(crate) fn share(all: u64, thread: u32, threads: u32) -> u64 {
    let threads = u64::from(threads.max(1));
    all / threads + u64::from(u64::from(thread) < all % threads)
}

/// An empty batch for this run.
pub(crate) fn new_batch(spec: &Spec) -> Box<Batch> {
    let requests = client::mix(&spec.protocol).len() + client::asides(&spec.protocol).len();
    Box::new(Batch::new(requests, client::has_streams(&spec.protocol)))
}

/// Sizes of a generator's shard with so many clients.
pub(crate) fn shard_config(spec: &Spec, thread: u32) -> ShardConfig {
    let clients = share(spec.connections.into(), thread, spec.threads);
    let small = u16::try_from(clients.clamp(64, 1024).next_power_of_two()).unwrap_or(1024);
    ShardConfig {
        name: format!("load-{thread}"),
        small: GroupConfig { count: small, size: 4096 },
        // Each request has a time-out of its own, and fewer options make a connection cheaper.
        tcp_keepalive: None,
        seed: spec.seed,
        ..ShardConfig::default()
    }
}

struct Worker {
    job: Job,
    shard: Shard,
    shared: Rc<Shared>,
    script: Script,
    spawned: u32,
    pacer: Pacer,
    clock: Clock,
    spun: u64,
    cpu_before: u64,
}

/// Runs a thread to its end. What is said of the run goes out by `job.out`.
pub(crate) fn run(job: Job) -> End {
    // Best effort: without it sleeps end up to 50 µs later, which the margin learns.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let (thread, out) = (job.thread, job.out.clone());
    let mut worker = match Worker::new(job) {
        Ok(worker) => worker,
        Err(text) => {
            // The other end is gone only when the run is.
            let _ = out.send(Message::Ready(thread, Err(text)));
            return End::default();
        }
    };
    let ready = worker.connect();
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    let _ = out.send(Message::Ready(thread, Ok((tid, ready))));
    let Some(window) = worker.await_start() else { return End::default() };
    worker.drive(window)
}

impl Worker {
    fn new(job: Job) -> Result<Self, String> {
        let spec = &job.spec;
        let shard =
            Shard::new(&shard_config(spec, job.thread), &job.chosen).map_err(|error| error.to_string())?;
        let script = Script::new(spec)?;
        let supply = match Schedule::new(spec, job.thread) {
            Some(schedule) => Supply::Open(Box::new(Open::new(schedule))),
            None => Supply::Closed(spec.think),
        };
        let weights: Vec<u32> = client::mix(&spec.protocol).iter().map(|(_, weight)| *weight).collect();
        let thread = u64::from(job.thread);
        let gaps = GAPS_MAX / usize::try_from(spec.threads.max(1)).unwrap_or(1);
        let state = State::new(
            supply,
            &weights,
            job.quota,
            Rng::new(spec.seed, MIX_STREAM + thread),
            Reservoir::new(gaps, Rng::new(spec.seed, GAPS_STREAM + thread)),
            new_batch(spec),
        );
        let shared =
            Shared { state: RefCell::new(state), ready: Cell::new([0; 2]), failure: Cell::new(None) };
        Ok(Self {
            shard,
            shared: Rc::new(shared),
            script,
            spawned: 0,
            pacer: Pacer::new(),
            clock: Clock::Monotonic,
            spun: 0,
            cpu_before: 0,
            job,
        })
    }

    fn clients(&self) -> u32 {
        let clients = share(self.job.spec.connections.into(), self.job.thread, self.job.spec.threads);
        u32::try_from(clients).unwrap_or(u32::MAX)
    }

    fn spawn_client(&mut self) {
        let index = self.shared.state.borrow_mut().add();
        // Client n of the run goes to address n, in turn.
        let number = u64::from(index) * u64::from(self.job.spec.threads) + u64::from(self.job.thread);
        let addrs = &self.job.spec.target.addrs;
        let at = usize::try_from(number % addrs.len().max(1) as u64).unwrap_or(0);
        if let Some(addr) = addrs.get(at) {
            let handle = self.shard.handle();
            let seat =
                Seat::new(handle.clone(), Rc::clone(&self.shared), Arc::clone(&self.job.spec), index, *addr);
            // A shard takes a million tasks; what is beyond is not there, as the count of connections shows.
            let _ = handle.spawn(live(seat, self.script.client()));
        }
        self.spawned += 1;
    }

    /// Connects the clients, some at a time. Gives up early when none of the first ones can.
    fn connect(&mut self) -> Ready {
        let all = self.clients();
        loop {
            let [made, failed] = self.shared.ready.get();
            let hopeless = made == 0 && failed >= all.min(CONNECTING_MAX);
            if made + failed >= all || hopeless || self.is_stopped() {
                return Ready { made, failed, failure: self.shared.failure.get() };
            }
            while self.spawned < all && self.spawned - made - failed < CONNECTING_MAX {
                self.spawn_client();
            }
            self.turn(Duration::from_nanos(SLEEP_MAX));
            self.publish();
        }
    }

    /// Waits for the others; `None` when the run does not come about.
    fn await_start(&mut self) -> Option<Window> {
        let [warmup, length, _] = self.job.lengths;
        loop {
            let start = self.job.start.load(Ordering::Acquire);
            if self.is_stopped() || start == u64::MAX {
                return None;
            }
            if start != 0 {
                let measure = start.saturating_add(warmup);
                while self.spawned < self.clients() {
                    self.spawn_client();
                }
                return Some(Window { start, measure, end: measure.saturating_add(length) });
            }
            self.turn(Duration::from_millis(1));
        }
    }

    fn is_stopped(&self) -> bool {
        self.job.stops.iter().any(Stop::is_stopped)
    }

    fn turn(&mut self, wait: Duration) -> TurnReport {
        self.shard.turn(Some(wait))
    }

    fn state(&self) -> std::cell::RefMut<'_, State> {
        self.shared.state.borrow_mut()
    }

    fn drive(&mut self, window: Window) -> End {
        let [_, _, interval] = self.job.lengths;
        let handle = self.shard.handle();
        self.state().start(window);
        let mut next_cut = window.measure.saturating_add(interval);
        let mut measuring = false;
        // Tasks ran in the turn before, and have perhaps put something out; when a turn began that did nothing.
        let (mut busy, mut spinning) = (true, None::<u64>);
        loop {
            let now = self.clock.now().as_nanos();
            self.spun += spinning.map_or(0, |since| (now - since).min(SPIN_TURN_MAX));
            let (exhausted, (arrival, wake), awaited) = {
                let mut state = self.shared.state.borrow_mut();
                state.stamp(now);
                state.roll(now);
                state.dispatch(now, |task| handle.wake(task));
                (state.is_exhausted(), state.next_times(), state.awaited())
            };
            if !measuring && now >= window.measure {
                measuring = true;
                (self.cpu_before, self.spun) = (thread_cpu(), 0);
            }
            if now >= window.end || exhausted || self.is_stopped() {
                return self.end(window, now.min(window.end));
            }
            if now >= next_cut {
                let passed = (now - window.measure) / interval;
                self.hand_over(now, passed - 1);
                next_cut = window.measure + (passed + 1) * interval;
            }
            self.publish();
            let own = if measuring { next_cut } else { window.measure };
            let other = own.min(window.end).min(now + SLEEP_MAX).min(wake.unwrap_or(u64::MAX));
            let wait = self.pacer.wait(now, arrival, other, awaited);
            let report = self.turn(wait.length);
            let nothing = report.events == 0 && report.tasks_run == 0;
            spinning = (nothing && !busy && wait.length.is_zero()).then_some(now);
            busy = report.tasks_run > 0;
            if nothing && !wait.length.is_zero() {
                self.learn(wait);
            }
        }
    }

    /// A sleep in which nothing happened has ended by itself, unless it was interrupted.
    fn learn(&mut self, wait: Wait) {
        let woke = self.shard.handle().now().as_nanos();
        if woke >= wait.until {
            self.pacer.learn(wait, woke);
        }
    }

    fn publish(&self) {
        let live = self.state().live;
        let gauges = &self.job.gauges;
        gauges.sent.store(live.sent, Ordering::Relaxed);
        gauges.completed.store(live.completed, Ordering::Relaxed);
        gauges.errors.store(live.errors, Ordering::Relaxed);
        gauges.open.store(live.open, Ordering::Relaxed);
    }

    /// Hands over what was measured, if there is an empty batch to go on with; else it goes with the next interval.
    fn hand_over(&self, now: u64, interval: u64) {
        let Ok(spare) = self.job.back.try_recv() else { return };
        let mut state = self.state();
        state.close_batch(now, interval);
        let full = std::mem::replace(&mut state.batch, spare);
        // There is room for all batches that exist, and the other end outlives this one.
        let _ = self.job.out.try_send(Message::Batch(self.job.thread, full));
    }

    fn end(&mut self, window: Window, at: u64) -> End {
        let cpu = thread_cpu().saturating_sub(self.cpu_before);
        self.publish();
        let mut state = self.shared.state.borrow_mut();
        if at > window.measure {
            let [_, _, interval] = self.job.lengths;
            state.close_batch(at, (at - window.measure - 1) / interval);
            state.record_unanswered(at);
            let mut last = std::mem::replace(&mut state.batch, new_batch(&self.job.spec));
            last.last = Some(at - window.measure);
            let _ = self.job.out.send(Message::Batch(self.job.thread, last));
        }
        let (figures, panics) = (machine::own_figures(), self.shard.handle().stats().panics.get());
        End { at, cpu, spun: self.spun, figures, panics, gaps: state.gaps.take(), integral: state.integral }
    }
}

/// CPU time of this thread, nanoseconds.
fn thread_cpu() -> u64 {
    nanos_of(ClockId::ThreadCPUTime)
}

/// What a clock shows, nanoseconds.
pub(crate) fn nanos_of(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
