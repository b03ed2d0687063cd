//! A run from its start to its outcome: starts the threads, collects what they hand over, tells an observer.
//!
//! The caller's thread is the collector; it merges and reports, and the generator's threads never wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use erlmcp_ring::probe::{self, Chosen, ProbeError};
use erlmcp_ring::{Clock, DriverKind, spawn_shard};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::ClockId;

use super::arrivals::planned;
use super::client;
use super::collect::Collector;
use super::draw::nanos;
use super::machine::{self, Probe, Snapshot};
use super::outcome::{ErrorKind, Interval, Outcome, Pacing};
use super::spec::{Arrivals, Protocol, Spec};
use super::stop::Stop;
use super::worker::{self, End, Gauges, Job, Message, Ready};

/// Between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// From the moment that all are ready to the start of the schedule: every thread has looked by then.
const START_IN: Duration = Duration::from_millis(10);
/// Batches of a thread that wait to be filled, besides the one being filled.
const SPARES: usize = 2;
/// Descriptors of a generator thread and of the process besides its connections.
const DESCRIPTORS_PER_THREAD: u64 = 4;
const DESCRIPTORS_BESIDES: u64 = 64;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections and sessions are being made.
    Connecting,
    /// The schedule has begun, and nothing counts yet.
    WarmingUp,
    /// What happens counts.
    Measuring,
}

/// A run as it goes, for a live display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Since the phase began.
    pub elapsed: Duration,
    /// How long the phase is to last; zero where that is not known.
    pub length: Duration,
    /// Connections that are open.
    pub open: u64,
    /// Requests sent since the schedule began, warm-up included.
    pub sent: u64,
    /// Whole good replies, the same.
    pub completed: u64,
    /// Failures, the same.
    pub errors: u64,
    /// Good replies per second since the report before.
    pub rate: f64,
    /// Response time so far, as of the last interval; `None` before the first.
    pub p99: Option<Duration>,
    /// Requests due and not begun, as of the last interval.
    pub backlog: u64,
}

/// Hears of a run while it goes on. Takes no time from the generator, but a slow one makes intervals longer.
pub trait Observer {
    /// An interval has ended. Forgotten afterwards: what is wanted of it is to be kept.
    fn interval(&mut self, interval: &Interval) {
        let _ = interval;
    }

    /// About five times a second.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }
}

/// Hears nothing.
impl Observer for () {}

/// Why a run did not come about.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What was asked makes no sense, or cannot be sent.
    #[error("{0}")]
    Spec(String),
    /// The driver that was asked for does not work here.
    #[error(transparent)]
    Driver(#[from] ProbeError),
    /// Too few descriptors.
    #[error(
        "{connections} connections need {need} file descriptors and this process may have {limit}: \
         raise the hard limit (ulimit -Hn, LimitNOFILE=) or ask for fewer connections"
    )]
    Descriptors {
        /// Connections asked for.
        connections: u32,
        /// Descriptors that they need.
        need: u64,
        /// The hard limit.
        limit: u64,
    },
    /// A thread could not be started.
    #[error("cannot start generator thread {thread}: {source}")]
    Thread {
        /// Its number.
        thread: u32,
        /// Why.
        source: io::Error,
    },
    /// A thread could not make its shard or its requests.
    #[error("generator thread {thread}: {text}")]
    Shard {
        /// Its number.
        thread: u32,
        /// Why.
        text: String,
    },
    /// No client could connect.
    #[error(
        "no connection to {url} ({tried} tried): {text}; is the server running, and is the address right?"
    )]
    NoConnection {
        /// The target.
        url: String,
        /// Attempts.
        tried: u32,
        /// Its kind.
        kind: ErrorKind,
        /// Why the last one failed.
        text: String,
    },
    /// Stopped before measuring began, so that there is nothing to tell.
    #[error("stopped before measuring began")]
    Stopped,
    /// A defect of the generator.
    #[error("generator thread {0} panicked: this is a defect of the generator, please report it")]
    Panicked(u32),
}

/// Loads the target as asked, and returns what was measured. Blocks until the run has ended: by itself, or soon after
/// `stop` is set; then [`Outcome::cut`] says so, and what was measured until then is there.
///
/// # Errors
/// When nothing could be measured at all; see [`RunError`]. Errors of requests are part of the outcome.
pub fn run(spec: &Spec, observer: &mut dyn Observer, stop: &Stop) -> Result<Outcome, RunError> {
    check(spec)?;
    raise_descriptors(spec)?;
    let chosen = probe::choose(spec.driver, &worker::shard_config(spec, 0))?;
    let mut run = Run::start(spec, &chosen, stop)?;
    let result = run.drive(observer);
    // Whatever went wrong, no thread is left behind.
    run.start.store(u64::MAX, Ordering::Release);
    run.own_stop.stop();
    let ends = run.join();
    result?;
    Ok(run.outcome(ends?, observer, &chosen))
}

/// What the types do not rule out.
fn check(spec: &Spec) -> Result<(), RunError> {
    let good = |rate: f64| rate.is_finite() && rate >= 0.0;
    let some = |rate: f64| good(rate) && rate > 0.0;
    let rates = match &spec.arrivals {
        Arrivals::Closed => true,
        Arrivals::Constant(rate) | Arrivals::Poisson(rate) => some(*rate),
        Arrivals::Ramp { from, to } => good(*from) && good(*to) && some(from + to),
        Arrivals::Steps(steps) => steps.iter().all(|step| good(step.rate)) && !steps.is_empty(),
        Arrivals::Replay(starts) => !starts.is_empty() && starts.is_sorted(),
    };
    let text = if !rates {
        "the arrivals have no rate: rates are finite numbers above 0, recorded starts ascend"
    } else if spec.connections == 0 || spec.threads == 0 || spec.threads > spec.connections {
        "connections and threads are at least 1, and each thread needs a connection of its own"
    } else if spec.target.addrs.is_empty() {
        "the target has no address"
    } else if planned(spec).is_zero() || spec.interval.is_zero() || spec.timeout.is_zero() {
        "duration, interval and time-out are longer than zero"
    } else if client::mix(&spec.protocol).is_empty() {
        "the mix of requests is empty: name at least one"
    } else if matches!(&spec.protocol, Protocol::Sse { hold, .. } if hold.is_zero()) {
        "streams are held for longer than zero"
    } else {
        return Ok(());
    };
    Err(RunError::Spec(text.to_owned()))
}

/// Raises the soft limit of descriptors as far as the run needs it, and the hard one where that is allowed.
fn raise_descriptors(spec: &Spec) -> Result<(), RunError> {
    // A client that opens a connection anew may still hold the one before.
    let per_client = if matches!(spec.protocol, Protocol::NewConnection(_)) { 2 } else { 1 };
    let threads = u64::from(spec.threads) * DESCRIPTORS_PER_THREAD;
    let need = u64::from(spec.connections) * per_client + threads + DESCRIPTORS_BESIDES;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|soft| soft >= need) {
        return Ok(());
    }
    let hard = now.maximum.map(|hard| hard.max(need));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(need), maximum: hard });
    raised.map_err(|_| RunError::Descriptors {
        connections: spec.connections,
        need,
        limit: now.maximum.unwrap_or(u64::MAX),
    })
}

struct Run {
    spec: Arc<Spec>,
    threads: Vec<JoinHandle<End>>,
    /// When the schedule begins; 0 until that is known, the maximum when it never does.
    start: Arc<AtomicU64>,
    /// The caller's, which clones share, and our own: a failing run does not set the caller's flag.
    stop: Stop,
    own_stop: Stop,
    gauges: Vec<Arc<Gauges>>,
    messages: Receiver<Message>,
    collector: Collector,
    probe: Probe,
    before: Snapshot,
    /// CPU time of the process when measuring began.
    cpu_before: u64,
    measure: u64,
    started: SystemTime,
    ports_max: u64,
    reported: Instant,
    completed_before: u64,
    p99: Option<Duration>,
    backlog: u64,
}

impl Run {
    fn start(spec: &Spec, chosen: &Chosen, stop: &Stop) -> Result<Self, RunError> {
        let shared = Arc::new(spec.clone());
        let start = Arc::new(AtomicU64::new(0));
        let own_stop = Stop::default();
        // A message of each batch, of being ready and of the last batch: no sender ever finds it full.
        let per_thread = SPARES + 3;
        let (out, messages) = sync_channel(per_thread * spec.threads as usize);
        let mut run = Self {
            collector: Collector::new(spec, Vec::new()),
            spec: shared,
            threads: Vec::new(),
            start,
            stop: stop.clone(),
            own_stop,
            gauges: Vec::new(),
            messages,
            probe: Probe::default(),
            before: Snapshot::default(),
            cpu_before: 0,
            measure: 0,
            started: SystemTime::now(),
            ports_max: 0,
            reported: Instant::now(),
            completed_before: 0,
            p99: None,
            backlog: 0,
        };
        let mut backs = Vec::new();
        for thread in 0..spec.threads {
            match run.spawn(thread, chosen, out.clone()) {
                Ok(back) => backs.push(back),
                Err(source) => {
                    run.own_stop.stop();
                    let _ = run.join();
                    return Err(RunError::Thread { thread, source });
                }
            }
        }
        run.collector = Collector::new(spec, backs);
        Ok(run)
    }

    fn spawn(
        &mut self,
        thread: u32,
        chosen: &Chosen,
        out: SyncSender<Message>,
    ) -> io::Result<SyncSender<Box<super::record::Batch>>> {
        let spec = &self.spec;
        let (back, spares) = sync_channel(SPARES + 1);
        for _ in 0..SPARES {
            // There is room for them.
            let _ = back.try_send(worker::new_batch(spec));
        }
        let gauges = Arc::new(Gauges::default());
        self.gauges.push(Arc::clone(&gauges));
        let job = Job {
            thread,
            spec: Arc::clone(spec),
            chosen: chosen.clone(),
            start: Arc::clone(&self.start),
            stops: [self.stop.clone(), self.own_stop.clone()],
            gauges,
            out,
            back: spares,
            lengths: [nanos(spec.warmup), nanos(planned(spec)), nanos(spec.interval)],
            quota: spec.requests_max.map_or(u64::MAX, |max| worker::share(max, thread, spec.threads)),
        };
        let cpu =
            if spec.cpus.is_empty() { None } else { Some(spec.cpus[thread as usize % spec.cpus.len()]) };
        self.threads.push(spawn_shard(&format!("load-{thread}"), cpu, move || worker::run(job))?);
        Ok(back)
    }

    fn drive(&mut self, observer: &mut dyn Observer) -> Result<(), RunError> {
        self.connect(observer)?;
        let start = Clock::Monotonic.now().as_nanos() + nanos(START_IN);
        self.measure = start.saturating_add(nanos(self.spec.warmup));
        let length = nanos(planned(&self.spec));
        self.start.store(start, Ordering::Release);
        self.wait_until(self.measure, Phase::WarmingUp, start, observer);
        (self.started, self.before) = (SystemTime::now(), self.probe.snapshot());
        self.cpu_before = worker::nanos_of(ClockId::ProcessCPUTime);
        self.wait_until(self.measure.saturating_add(length), Phase::Measuring, self.measure, observer);
        // Threads look at the clock at least every few milliseconds; wait for the last batches of all.
        while !self.threads.iter().all(JoinHandle::is_finished) {
            self.receive(Duration::from_millis(5), observer);
        }
        Ok(())
    }

    /// Waits for all threads to have connected.
    fn connect(&mut self, observer: &mut dyn Observer) -> Result<(), RunError> {
        let begun = Clock::Monotonic.now().as_nanos();
        let (mut all, mut tids) = (Vec::<Ready>::new(), vec![0; self.threads.len()]);
        while all.len() < self.threads.len() {
            match self.messages.recv_timeout(Duration::from_millis(50)) {
                Ok(Message::Ready(thread, Ok((tid, ready)))) => {
                    tids[thread as usize] = tid;
                    all.push(ready);
                }
                Ok(Message::Ready(thread, Err(text))) => return Err(RunError::Shard { thread, text }),
                Ok(Message::Batch(..)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if let Some(thread) = self.dead_before_ready(&tids) {
                        return Err(RunError::Panicked(thread));
                    }
                }
            }
            if self.stop.is_stopped() {
                return Err(RunError::Stopped);
            }
            self.report(Phase::Connecting, begun, Duration::ZERO, observer);
        }
        self.probe = Probe { tids, cpus: self.spec.cpus.clone() };
        let made: u32 = all.iter().map(|ready| ready.made).sum();
        if made > 0 {
            return Ok(());
        }
        let tried = all.iter().map(|ready| ready.failed).sum();
        let (kind, error) = all.iter().find_map(|ready| ready.failure).unwrap_or((ErrorKind::Connect, None));
        let text = error.map_or_else(|| kind.name().to_owned(), |error| error.to_string());
        Err(RunError::NoConnection { url: self.spec.target.url.clone(), tried, kind, text })
    }

    fn dead_before_ready(&self, tids: &[i32]) -> Option<u32> {
        let dead = |(thread, tid): (&JoinHandle<End>, &i32)| *tid == 0 && thread.is_finished();
        self.threads.iter().zip(tids).position(dead).and_then(|at| u32::try_from(at).ok())
    }

    /// Collects until `until`, or until all threads have ended.
    fn wait_until(&mut self, until: u64, phase: Phase, begun: u64, observer: &mut dyn Observer) {
        let length = Duration::from_nanos(until.saturating_sub(begun));
        loop {
            let now = Clock::Monotonic.now().as_nanos();
            if now >= until || self.threads.iter().all(JoinHandle::is_finished) {
                return;
            }
            let left = Duration::from_nanos(until - now);
            self.receive(left.min(PROGRESS_EVERY / 4), observer);
            self.report(phase, begun, length, observer);
        }
    }

    /// Takes what is handed over, waiting for the first for `wait` at most, and gives out intervals that are complete.
    fn receive(&mut self, wait: Duration, observer: &mut dyn Observer) {
        let mut message = match self.messages.recv_timeout(wait) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            // All threads have ended: their last words were taken before.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(wait.min(Duration::from_millis(1)));
                None
            }
        };
        while let Some(Message::Batch(thread, batch)) = message {
            self.collector.take(thread, batch);
            message = self.messages.try_recv().ok();
        }
        self.give_out(observer);
    }

    fn give_out(&mut self, observer: &mut dyn Observer) {
        let mut any = false;
        while let Some(interval) = self.collector.next() {
            observer.interval(interval);
            self.backlog = interval.backlog;
            any = true;
        }
        if any {
            let p99 = self.collector.latencies.response.value_at_quantile(0.99);
            self.p99 = Some(Duration::from_nanos(p99));
        }
    }

    /// Tells the observer how it goes, if it is time for that, and looks at the ports in use.
    fn report(&mut self, phase: Phase, begun: u64, length: Duration, observer: &mut dyn Observer) {
        let since = self.reported.elapsed();
        if since < PROGRESS_EVERY {
            return;
        }
        self.reported = Instant::now();
        let sum = |of: fn(&Gauges) -> &AtomicU64| -> u64 {
            self.gauges.iter().map(|gauges| of(gauges).load(Ordering::Relaxed)).sum()
        };
        let completed = sum(|gauges| &gauges.completed);
        let open = sum(|gauges| &gauges.open);
        let rate = completed.saturating_sub(self.completed_before) as f64 / since.as_secs_f64();
        self.completed_before = completed;
        self.ports_max = self.ports_max.max(open + machine::time_wait());
        observer.progress(&Progress {
            phase,
            elapsed: Duration::from_nanos(Clock::Monotonic.now().as_nanos().saturating_sub(begun)),
            length,
            open,
            sent: sum(|gauges| &gauges.sent),
            completed,
            errors: sum(|gauges| &gauges.errors),
            rate,
            p99: self.p99,
            backlog: self.backlog,
        });
    }

    /// Waits for all threads, which have been told to end.
    fn join(&mut self) -> Result<Vec<End>, RunError> {
        let mut result = Ok(Vec::new());
        for (at, thread) in self.threads.drain(..).enumerate() {
            match (thread.join(), &mut result) {
                (Ok(end), Ok(ends)) if end.panics == 0 => ends.push(end),
                (_, Ok(_)) => result = Err(RunError::Panicked(u32::try_from(at).unwrap_or(u32::MAX))),
                (_, Err(_)) => {}
            }
        }
        result
    }

    fn outcome(mut self, ends: Vec<End>, observer: &mut dyn Observer, chosen: &Chosen) -> Outcome {
        let after = self.probe.snapshot();
        let cpu = worker::nanos_of(ClockId::ProcessCPUTime).saturating_sub(self.cpu_before);
        let asked = planned(&self.spec);
        let walls: Vec<u64> = ends.iter().map(|end| end.at.saturating_sub(self.measure)).collect();
        let measured = Duration::from_nanos(walls.iter().copied().max().unwrap_or(0));
        self.give_out_last(observer);
        let mut machine = machine::between(&self.before, &after, &ends, &walls, &self.spec.cpus);
        let range = machine::port_range().unwrap_or(0);
        machine.ports = (self.ports_max, range * self.spec.target.addrs.len() as u64);
        let mut collector = self.collector;
        if collector.totals.completed > 0 {
            machine.cpu_us_per_request = cpu as f64 / 1e3 / collector.totals.completed as f64;
        }
        let integral: u128 = ends.iter().map(|end| end.integral).sum();
        let cut = self.stop.is_stopped() && measured < asked;
        Outcome {
            spec: Spec::clone(&self.spec),
            started: self.started,
            measured,
            cut: cut.then(|| {
                format!("stopped after {:.1} s of {:.1} s", measured.as_secs_f64(), asked.as_secs_f64())
            }),
            driver: match chosen.kind {
                DriverKind::IoUring => "io_uring",
                DriverKind::Epoll => "epoll",
            },
            series: collector.take_series(),
            totals: collector.totals,
            latencies: collector.latencies,
            lag: collector.lag,
            connect: collector.connect,
            requests: collector.requests,
            streams: collector.streams,
            pacing: Pacing {
                gaps: ends.into_iter().flat_map(|end| end.gaps).collect(),
                in_flight_seconds: integral as f64 / 1e9,
                waited: collector.waited,
            },
            machine,
        }
    }

    /// The threads have ended: gives out what they handed over last.
    fn give_out_last(&mut self, observer: &mut dyn Observer) {
        while let Ok(message) = self.messages.try_recv() {
            if let Message::Batch(thread, batch) = message {
                self.collector.take(thread, batch);
            }
        }
        for thread in 0..self.spec.threads {
            self.collector.ended(thread);
        }
        self.give_out(observer);
    }
}
