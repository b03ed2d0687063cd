//! What a generator thread knows of its virtual clients, and who begins which request when. Pure: no socket, no clock.
//!
//! Invariants: an arrival is begun by exactly one client, in the schedule's order; arrivals that wait cost no memory, the
//! schedule just is not advanced; a request is measured when its intended start (in a closed loop: its start) lies in
//! the measured window, and whatever is counted of it is counted once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use erlmcp_ring::TaskRef;

use super::arrivals::Schedule;
use super::draw::{Mix, Rng};
use super::outcome::ErrorKind;
use super::record::{Batch, Reservoir};
use super::spec::Think;

/// When the run measures, nanoseconds of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The schedule begins (with the warm-up).
    pub(crate) start: u64,
    /// Measuring begins.
    pub(crate) measure: u64,
    /// The run ends.
    pub(crate) end: u64,
}

/// Where requests come from.
#[derive(Debug)]
pub(crate) enum Supply {
    /// From the clients themselves.
    Closed(Think),
    /// From a schedule.
    Open(Box<Open>),
}

/// A schedule, and how much of it waits.
#[derive(Debug)]
pub(crate) struct Open {
    schedule: Schedule,
    /// The same schedule, further on by the arrivals that wait; of no meaning when none does.
    ahead: Schedule,
    waiting: u64,
}

impl Open {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self { ahead: schedule.clone(), schedule, waiting: 0 }
    }

    fn peek(&self, window: Window) -> Option<u64> {
        self.schedule.peek().map(|at| window.start + at)
    }

    /// Takes the next arrival; true when nobody has counted it as due before.
    fn take(&mut self) -> bool {
        self.schedule.next();
        let counted = self.waiting > 0;
        self.waiting = self.waiting.saturating_sub(1);
        !counted
    }

    /// Counts arrivals that have become due and have not been begun, of the measured ones `quota` at most.
    fn look_ahead(&mut self, window: Window, now: u64, quota: u64, due: &mut u64) {
        if self.waiting == 0 {
            self.ahead = self.schedule.clone();
        }
        while let Some(at) = self.ahead.peek()
            && window.start + at < now
            && self.waiting < quota
        {
            self.ahead.next();
            self.waiting += 1;
            *due += u64::from(window.start + at >= window.measure);
        }
    }
}

/// What a client is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This request of the mix.
    Begin(usize),
    /// Nothing yet: it is woken.
    Wait,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// It is at work, or about to ask.
    No,
    /// An arrival: it stands in the queue of idle clients.
    Arrival,
    /// This time.
    Until(u64),
    /// The run: it asked before that began.
    Start,
}

/// A virtual client.
#[derive(Debug)]
struct Slot {
    task: Option<TaskRef>,
    waits: Waits,
    /// An arrival that was given to it while it waited: when it was intended.
    given: Option<u64>,
    request: usize,
    intended: u64,
    /// Since when it can begin: idle and connected. What was due before waited for it.
    free: u64,
    /// When it was sent; 0 until the turn's sends are stamped.
    sent: u64,
    /// It has a request, it was begun (sent), it counts.
    at_work: bool,
    begun: bool,
    measured: bool,
    /// Connections in a row that could not be made.
    failed: u32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            task: None,
            waits: Waits::No,
            given: None,
            request: 0,
            intended: 0,
            free: 0,
            sent: 0,
            at_work: false,
            begun: false,
            measured: false,
            failed: 0,
        }
    }
}

/// First pause of a client that could not connect, and the longest, nanoseconds: a dead server is not stormed.
const PAUSE_MIN: u64 = 5_000_000;
const PAUSE_DOUBLINGS_MAX: u32 = 7;

/// A thread's clients and what they measured.
#[derive(Debug)]
pub(crate) struct State {
    slots: Vec<Slot>,
    /// Clients without work, the longest idle first.
    idle: VecDeque<u32>,
    /// Clients that wait for a time.
    wakes: BinaryHeap<Reverse<(u64, u32)>>,
    supply: Supply,
    mix: Mix,
    rng: Rng,
    window: Option<Window>,
    /// Requests begun since the last stamp.
    started: Vec<u32>,
    last_start: u64,
    pub(crate) gaps: Reservoir,
    pub(crate) batch: Box<Batch>,
    /// Measured requests that may still begin.
    quota: u64,
    /// Measured requests with a client, and of those the ones that were sent.
    at_work: u64,
    in_flight: u64,
    /// Of these, begun in this turn.
    unstamped: u64,
    /// Integral of `in_flight`, request-nanoseconds, up to `integrated`.
    pub(crate) integral: u128,
    integrated: u64,
    /// Since the schedule began, for the live display.
    pub(crate) live: Live,
    measuring: bool,
}

/// Counts for the live display: never cleared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    pub(crate) sent: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    /// Connections that are open.
    pub(crate) open: u64,
}

impl State {
    pub(crate) fn new(
        supply: Supply,
        weights: &[u32],
        quota: u64,
        rng: Rng,
        gaps: Reservoir,
        batch: Box<Batch>,
    ) -> Self {
        Self {
            slots: Vec::new(),
            idle: VecDeque::new(),
            wakes: BinaryHeap::new(),
            supply,
            mix: Mix::new(weights),
            rng,
            window: None,
            started: Vec::new(),
            last_start: 0,
            gaps,
            batch,
            quota,
            at_work: 0,
            in_flight: 0,
            unstamped: 0,
            integral: 0,
            integrated: 0,
            live: Live::default(),
            measuring: false,
        }
    }

    /// Another client; the tables have room for it from here on.
    pub(crate) fn add(&mut self) -> u32 {
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot::new());
        self.idle.reserve(self.slots.len());
        self.started.reserve(self.slots.len());
        self.wakes.reserve(self.slots.len());
        index
    }

    /// The task that is this client.
    pub(crate) fn enroll(&mut self, index: u32, task: TaskRef) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.task = Some(task);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.supply, Supply::Open(_))
    }

    /// The schedule begins at `window.start`: clients of a closed loop are to be woken then.
    pub(crate) fn start(&mut self, window: Window) {
        self.window = Some(window);
        self.integrated = window.measure;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.waits = Waits::No;
            let index = index as u32;
            match self.supply {
                Supply::Open(_) => {
                    slot.free = window.start;
                    slot.waits = Waits::Arrival;
                    self.idle.push_back(index);
                }
                // Not all at once: the first pause is a part of one, so that equal think times do not march in step.
                Supply::Closed(think) => {
                    let pause = (self.rng.think(think) as f64 * self.rng.unit()) as u64;
                    slot.waits = Waits::Until(window.start + pause);
                    self.wakes.push(Reverse((window.start + pause, index)));
                }
            }
        }
    }

    /// Gives arrivals that are due to idle clients, and finds clients whose time has come; each is woken by `wake`.
    pub(crate) fn dispatch(&mut self, now: u64, mut wake: impl FnMut(TaskRef)) {
        while let Some(Reverse((at, index))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            if let Some(task) = self.slots[index as usize].task {
                wake(task);
            }
        }
        let Some(window) = self.window else { return };
        while let Some(&index) = self.idle.front()
            && let Some(intended) = self.take_due(window, now)
        {
            self.idle.pop_front();
            let slot = &mut self.slots[index as usize];
            slot.given = Some(intended);
            if let Some(task) = slot.task {
                wake(task);
            }
        }
    }

    /// The next arrival, if it is due and may begin; it is this caller's then.
    fn take_due(&mut self, window: Window, now: u64) -> Option<u64> {
        let Supply::Open(open) = &mut self.supply else { return None };
        let at = open.peek(window)?;
        let measured = at >= window.measure;
        if at > now || (measured && self.quota == 0) {
            return None;
        }
        let first_seen = open.take();
        if measured {
            self.quota -= 1;
            self.at_work += 1;
            self.batch.totals.due += u64::from(first_seen);
        }
        Some(at)
    }

    /// When something is to happen by the clock: an arrival for which a client is idle, and a client's own time.
    pub(crate) fn next_times(&self) -> (Option<u64>, Option<u64>) {
        let arrival = match (&self.supply, self.window) {
            (Supply::Open(open), Some(window)) if !self.idle.is_empty() => {
                open.peek(window).filter(|at| *at < window.measure || self.quota > 0)
            }
            _ => None,
        };
        (arrival, self.wakes.peek().map(|Reverse((at, _))| *at))
    }

    /// In an open loop with requests in flight: when the last one was sent.
    pub(crate) fn awaited(&self) -> Option<u64> {
        (self.in_flight > 0 && self.is_open()).then_some(self.last_start)
    }

    /// What the client is to do now. [`Next::Wait`]: it stands where its wake will come from.
    pub(crate) fn next(&mut self, index: u32, now: u64) -> Next {
        let Some(window) = self.window else {
            self.slots[index as usize].waits = Waits::Start;
            return Next::Wait;
        };
        self.roll(now);
        let slot = &mut self.slots[index as usize];
        if let Some(intended) = slot.given.take() {
            slot.waits = Waits::No;
            return self.begin(index, intended, intended >= window.measure);
        }
        match (slot.waits, &self.supply) {
            (Waits::Arrival, _) => Next::Wait,
            (Waits::Until(at), _) if now < at => Next::Wait,
            (_, Supply::Closed(_)) => {
                let measured = now >= window.measure;
                if measured && self.quota == 0 {
                    slot.waits = Waits::Until(u64::MAX);
                    return Next::Wait;
                }
                if measured {
                    self.quota -= 1;
                    self.at_work += 1;
                    self.batch.totals.due += 1;
                }
                slot.waits = Waits::No;
                slot.free = now;
                self.begin(index, now, measured)
            }
            (_, Supply::Open(_)) => {
                slot.free = now;
                // The one that has been idle longest comes first.
                let due = if self.idle.is_empty() { self.take_due(window, now) } else { None };
                match due {
                    Some(intended) => {
                        self.slots[index as usize].waits = Waits::No;
                        self.begin(index, intended, intended >= window.measure)
                    }
                    None => {
                        self.slots[index as usize].waits = Waits::Arrival;
                        self.idle.push_back(index);
                        Next::Wait
                    }
                }
            }
        }
    }

    fn begin(&mut self, index: u32, intended: u64, measured: bool) -> Next {
        let request = self.mix.pick(&mut self.rng);
        let slot = &mut self.slots[index as usize];
        (slot.request, slot.intended, slot.measured) = (request, intended, measured);
        (slot.at_work, slot.begun, slot.sent) = (true, false, 0);
        Next::Begin(request)
    }

    /// The client had to connect first: from now on it can send.
    pub(crate) fn freed(&mut self, index: u32, now: u64) {
        self.slots[index as usize].free = now;
    }

    /// The client's request goes out with this turn's sends.
    pub(crate) fn sending(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.at_work && !slot.begun {
            slot.begun = true;
            self.live.sent += 1;
            if slot.measured {
                self.in_flight += 1;
                self.unstamped += 1;
                self.batch.totals.sent += 1;
            }
            self.started.push(index);
        }
    }

    /// Brings the integral of requests in flight up to date. Those that this turn begins are in flight from its stamp on,
    /// as their service time is.
    fn integrate(&mut self, now: u64) {
        if now > self.integrated {
            let in_flight = self.in_flight.saturating_sub(self.unstamped);
            self.integral += u128::from(in_flight) * u128::from(now - self.integrated);
            self.integrated = now;
        }
    }

    /// The turn's sends are about to be submitted: they start now.
    pub(crate) fn stamp(&mut self, now: u64) {
        self.integrate(now);
        self.unstamped = 0;
        let mut started = std::mem::take(&mut self.started);
        for index in started.drain(..) {
            let slot = &mut self.slots[index as usize];
            slot.sent = now;
            if !slot.measured {
                continue;
            }
            if self.last_start != 0 {
                self.gaps.offer(now - self.last_start);
            }
            self.last_start = now;
            if matches!(self.supply, Supply::Open(_)) {
                let could = slot.intended.max(slot.free);
                self.batch.lag.saturating_record(now.saturating_sub(could));
                self.batch.waited += u64::from(slot.free > slot.intended);
            }
        }
        self.started = started;
    }

    /// The client's request has ended: with its reply's last byte at the time given, or with an error now.
    ///
    /// What never got a reply within the time-out took at least so long: in an open loop that bound is recorded as its
    /// response time, because to leave it out would make a stalled server look fast.
    pub(crate) fn finish(&mut self, index: u32, now: u64, result: Result<u64, ErrorKind>) {
        let open = self.is_open();
        let slot = &mut self.slots[index as usize];
        if !std::mem::replace(&mut slot.at_work, false) {
            return;
        }
        match result {
            Ok(_) => self.live.completed += 1,
            Err(_) => self.live.errors += 1,
        }
        if !slot.measured {
            return;
        }
        self.at_work -= 1;
        let sent = if slot.sent == 0 { now } else { slot.sent };
        let intended = slot.intended;
        let batch = &mut self.batch.requests[slot.request];
        match result {
            Ok(end) => {
                self.batch.totals.completed += 1;
                batch.completed += 1;
                batch.latencies.service.saturating_record(end.saturating_sub(sent));
                if open {
                    batch.latencies.response.saturating_record(end.saturating_sub(intended));
                }
            }
            Err(kind) => {
                self.batch.totals.errors.add(kind);
                batch.errors.add(kind);
                if open && kind == ErrorKind::Timeout {
                    batch.latencies.response.saturating_record(now.saturating_sub(intended));
                }
            }
        }
        if slot.begun {
            self.integrate(now);
            self.in_flight -= 1;
        }
    }

    /// After a request: the client pauses, when it thinks or could not connect. True: its wake is set.
    pub(crate) fn pause(&mut self, index: u32, now: u64, could_connect: bool) {
        let slot = &mut self.slots[index as usize];
        let pause = if could_connect {
            slot.failed = 0;
            match self.supply {
                Supply::Closed(think) => self.rng.think(think),
                Supply::Open(_) => 0,
            }
        } else {
            slot.failed = slot.failed.saturating_add(1);
            PAUSE_MIN << (slot.failed - 1).min(PAUSE_DOUBLINGS_MAX)
        };
        if pause > 0 {
            let at = now.saturating_add(pause);
            slot.waits = Waits::Until(at);
            self.wakes.push(Reverse((at, index)));
        }
    }

    /// Measured requests are done: none is at work, and none will come.
    pub(crate) fn is_exhausted(&self) -> bool {
        let none_will_come = self.quota == 0
            || match &self.supply {
                Supply::Closed(_) => false,
                Supply::Open(open) => open.schedule.ends_the_run(),
            };
        self.window.is_some() && self.at_work == 0 && none_will_come
    }

    /// Once the measured window is reached, throws away what the warm-up recorded. True when that is now.
    pub(crate) fn roll(&mut self, now: u64) -> bool {
        let reached = !self.measuring && self.window.is_some_and(|window| now >= window.measure);
        if reached {
            self.measuring = true;
            self.batch.clear_warmup();
        }
        reached
    }

    /// The batch's last figures, before it is handed over at `now`.
    pub(crate) fn close_batch(&mut self, now: u64, interval: u64) {
        self.integrate(now);
        self.batch.interval = interval;
        self.batch.in_flight = self.in_flight;
        let Some(window) = self.window else { return };
        if let Supply::Open(open) = &mut self.supply {
            open.look_ahead(window, now, self.quota, &mut self.batch.totals.due);
            self.batch.backlog = open.waiting;
        }
    }

    /// The run has ended at `end`: in an open loop, what was due and has no reply is recorded with its response time so
    /// far, a lower bound of the true one. Comes after the last [`Self::close_batch`], within whose batch it goes.
    pub(crate) fn record_unanswered(&mut self, end: u64) {
        let (Supply::Open(open), Some(window)) = (&self.supply, self.window) else { return };
        let requests = &mut self.batch.requests;
        let mut record = |request: usize, intended: u64| {
            if intended >= window.measure {
                requests[request].latencies.response.saturating_record(end.saturating_sub(intended));
            }
        };
        for slot in &self.slots {
            match slot.given {
                Some(intended) => record(self.mix.pick(&mut self.rng), intended),
                None if slot.at_work => record(slot.request, slot.intended),
                None => {}
            }
        }
        let waiting = usize::try_from(open.waiting).unwrap_or(usize::MAX);
        for at in open.schedule.clone().take(waiting) {
            record(self.mix.pick(&mut self.rng), window.start + at);
        }
    }

    /// A request beside the mix, such as the beginning of a session: in the record of that name, and in no total.
    pub(crate) fn aside(&mut self, request: usize, nanos: u64, result: Result<(), ErrorKind>) {
        let open = self.is_open();
        let Some(batch) = self.batch.requests.get_mut(request) else { return };
        match result {
            Ok(()) => {
                batch.completed += 1;
                batch.latencies.service.saturating_record(nanos);
                if open {
                    batch.latencies.response.saturating_record(nanos);
                }
            }
            Err(kind) => batch.errors.add(kind),
        }
    }
}

#[cfg(test)]
mod tests;
