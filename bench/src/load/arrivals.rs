//! The schedule of an open loop: intended starts, computed one by one from their index. Pure; reads no clock.
//!
//! A schedule is a value of a few words however long the run is, and a clone of it goes on by itself: that is how a
//! backlog is counted without being kept. Of `n` threads, thread `k` takes the arrivals `k`, `k + n`, ...; Poisson
//! arrivals are drawn per thread at an n-th of the rate instead, which together are Poisson arrivals of the whole rate
//! (superposition), so that the gaps of one thread are exponential too.

use std::sync::Arc;
use std::time::Duration;

use super::draw::{Rng, nanos};
use super::spec::{Arrivals, Spec, Step};

const SECOND: f64 = 1e9;

/// Intended starts of one thread, nanoseconds since the schedule began (that is: warm-up included), ascending.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    shape: Arc<Shape>,
    /// Threads: the distance to this one's next arrival.
    stride: u64,
    /// Index of the next arrival over all threads.
    index: u64,
    /// For steps: the current one, and the index at which it began.
    step: usize,
    step_first: u64,
    rng: Rng,
    next: Option<u64>,
}

/// What the threads share.
#[derive(Debug)]
struct Shape {
    arrivals: Arrivals,
    warmup: u64,
    /// Of the measured part.
    length: u64,
    /// Rate of the warm-up, requests per second, and how many arrivals it has.
    warm_rate: f64,
    warm_count: u64,
}

/// How long a run measures: as asked, unless the arrivals end by themselves.
///
/// A replay ends with its last arrival; that one's reply is awaited for `timeout` at most.
pub(crate) fn planned(spec: &Spec) -> Duration {
    match &spec.arrivals {
        Arrivals::Steps(steps) => steps.iter().map(|step| step.length).sum(),
        Arrivals::Replay(starts) => starts.last().copied().unwrap_or_default() + spec.timeout,
        _ => spec.duration,
    }
}

/// Mean rate asked for between two times since measuring began, requests per second; `None` in a closed loop.
pub(crate) fn asked_rate(spec: &Spec, from: Duration, to: Duration) -> Option<f64> {
    let span = to.saturating_sub(from).as_secs_f64();
    match &spec.arrivals {
        Arrivals::Closed => None,
        Arrivals::Constant(rate) | Arrivals::Poisson(rate) => Some(*rate),
        Arrivals::Ramp { from: first, to: last } => {
            let middle = (from + to).as_secs_f64() / 2.0 / spec.duration.as_secs_f64().max(f64::MIN_POSITIVE);
            Some(first + (last - first) * middle.min(1.0))
        }
        _ if span == 0.0 => Some(0.0),
        Arrivals::Steps(steps) => {
            let mut start = Duration::ZERO;
            let mut due = 0.0;
            for step in steps {
                let end = start + step.length;
                due += step.rate * end.min(to).saturating_sub(start.max(from)).as_secs_f64();
                start = end;
            }
            Some(due / span)
        }
        Arrivals::Replay(starts) => {
            let before = |at: Duration| starts.partition_point(|start| *start < at) as f64;
            Some((before(to) - before(from)) / span)
        }
    }
}

/// Arrivals at `rate` in `length` nanoseconds, evenly spaced from its start on.
fn count(rate: f64, length: u64) -> u64 {
    if rate > 0.0 { (rate * length as f64 / SECOND).ceil() as u64 } else { 0 }
}

/// When the arrival `index` of an even stretch comes, nanoseconds since its start.
fn even(rate: f64, index: u64) -> u64 {
    (index as f64 * SECOND / rate) as u64
}

impl Schedule {
    /// The share of `thread`; `None` in a closed loop.
    pub(crate) fn new(spec: &Spec, thread: u32) -> Option<Self> {
        let warm_rate = match &spec.arrivals {
            Arrivals::Closed => return None,
            Arrivals::Constant(rate) | Arrivals::Poisson(rate) => *rate,
            Arrivals::Ramp { from, .. } => *from,
            Arrivals::Steps(steps) => steps.first().map_or(0.0, |step| step.rate),
            Arrivals::Replay(starts) => {
                let length = starts.last().map_or(0.0, Duration::as_secs_f64);
                if length > 0.0 { starts.len() as f64 / length } else { 0.0 }
            }
        };
        let warmup = nanos(spec.warmup);
        let shape = Shape {
            arrivals: spec.arrivals.clone(),
            warmup,
            length: nanos(planned(spec)),
            warm_rate,
            warm_count: count(warm_rate, warmup),
        };
        let mut schedule = Self {
            shape: Arc::new(shape),
            stride: u64::from(spec.threads.max(1)),
            index: u64::from(thread),
            step: 0,
            step_first: 0,
            rng: Rng::new(spec.seed, u64::from(thread)),
            next: Some(0),
        };
        schedule.next = match schedule.shape.arrivals {
            Arrivals::Poisson(_) => schedule.poisson(0),
            _ => schedule.at_index(),
        };
        Some(schedule)
    }

    /// The next arrival, if there is one.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u64> {
        self.next
    }

    /// It has ended, and the run ends with it: a recording's length is its own, that of the others was asked for.
    pub(crate) fn ends_the_run(&self) -> bool {
        self.next.is_none() && matches!(self.shape.arrivals, Arrivals::Replay(_))
    }

    fn poisson(&mut self, before: u64) -> Option<u64> {
        let Arrivals::Poisson(rate) = self.shape.arrivals else { return None };
        let gap = self.rng.exponential(SECOND * self.stride as f64 / rate);
        let at = before.saturating_add(gap as u64);
        (at < self.shape.warmup + self.shape.length).then_some(at)
    }

    fn at_index(&mut self) -> Option<u64> {
        let shape = Arc::clone(&self.shape);
        if self.index < shape.warm_count {
            return Some(even(shape.warm_rate, self.index));
        }
        let index = self.index - shape.warm_count;
        let since = match &shape.arrivals {
            Arrivals::Constant(rate) if *rate > 0.0 => Some(even(*rate, index)),
            Arrivals::Ramp { from, to } => ramp(*from, *to, shape.length, index),
            Arrivals::Steps(steps) => self.in_steps(steps, index),
            Arrivals::Replay(starts) => {
                return starts.get(usize::try_from(index).ok()?).map(|at| shape.warmup + nanos(*at));
            }
            _ => None,
        };
        since.filter(|since| *since < shape.length).map(|since| shape.warmup + since)
    }

    fn in_steps(&mut self, steps: &[Step], index: u64) -> Option<u64> {
        loop {
            let step = steps.get(self.step)?;
            let length = nanos(step.length);
            let in_step = index - self.step_first;
            if in_step < count(step.rate, length) {
                let before: u64 = steps[..self.step].iter().map(|step| nanos(step.length)).sum();
                return Some(before + even(step.rate, in_step));
            }
            self.step_first += count(step.rate, length);
            self.step += 1;
        }
    }
}

/// When the count of arrivals reaches `index`, while the rate goes from `from` to `to` within `length` nanoseconds.
fn ramp(from: f64, to: f64, length: u64, index: u64) -> Option<u64> {
    if index == 0 {
        return Some(0);
    }
    // a·t + b·t²/2 = index, by the root's form that loses no digits and needs no a > 0.
    let slope = (to - from) / (length as f64 / SECOND);
    let root = from.mul_add(from, 2.0 * slope * index as f64);
    let time = 2.0 * index as f64 / (from + root.max(0.0).sqrt());
    (root >= 0.0 && time.is_finite()).then_some((time * SECOND) as u64)
}

impl Iterator for Schedule {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let at = self.next?;
        self.index += self.stride;
        self.next = match self.shape.arrivals {
            Arrivals::Poisson(_) => self.poisson(at),
            _ => self.at_index(),
        };
        Some(at)
    }
}

#[cfg(test)]
mod tests;
