//! Merges what the threads hand over, interval by interval, into the outcome. Never sorts samples, never averages
//! percentiles, and keeps nothing of an interval but its row of the series.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::arrivals::asked_rate;
use super::client;
use super::outcome::{Interval, Latencies, Point, RequestOutcome, StreamOutcome, Totals, new_histogram};
use super::record::{Batch, RequestBatch, merge, new_streams, reset};
use super::spec::{Arrivals, Spec};

/// Rows of the series; one more, and neighbours are merged.
const POINTS_MAX: usize = 3_600;

/// What a thread has handed over and is not merged yet.
struct Queue {
    /// Batches with the interval at which each begins.
    batches: VecDeque<(u64, Box<Batch>)>,
    /// Its next batch begins here; `u64::MAX` once it has ended.
    next: u64,
    back: SyncSender<Box<Batch>>,
}

/// The outcome as it grows.
pub(crate) struct Collector {
    spec: Spec,
    queues: Vec<Queue>,
    /// Index of the interval that is to be given out next, and its figures.
    index: u64,
    interval: Interval,
    /// How long the threads measured that have ended.
    measured: Duration,
    pub(crate) totals: Totals,
    pub(crate) latencies: Latencies,
    pub(crate) lag: Histogram<u64>,
    pub(crate) waited: u64,
    pub(crate) connect: Histogram<u64>,
    pub(crate) requests: Vec<RequestOutcome>,
    pub(crate) streams: Option<StreamOutcome>,
    series: Series,
}

fn empty_interval() -> Interval {
    Interval {
        start: Duration::ZERO,
        length: Duration::ZERO,
        totals: Totals::default(),
        latencies: Latencies::default(),
        lag: new_histogram(),
        backlog: 0,
        in_flight: 0,
        asked_rate: None,
    }
}

impl Collector {
    /// `backs` take emptied batches back to each thread.
    pub(crate) fn new(spec: &Spec, backs: Vec<SyncSender<Box<Batch>>>) -> Self {
        let queue = |back| Queue { batches: VecDeque::new(), next: 0, back };
        let names = client::mix(&spec.protocol).into_iter().map(|(name, _)| name);
        let request = |name| {
            let RequestBatch { completed, errors, latencies } = RequestBatch::default();
            RequestOutcome { name, completed, errors, latencies }
        };
        Self {
            queues: backs.into_iter().map(queue).collect(),
            index: 0,
            interval: empty_interval(),
            measured: Duration::ZERO,
            totals: Totals::default(),
            latencies: Latencies::default(),
            lag: new_histogram(),
            waited: 0,
            connect: new_histogram(),
            requests: names.chain(client::asides(&spec.protocol)).map(request).collect(),
            streams: client::has_streams(&spec.protocol).then(new_streams),
            series: Series::new(),
            spec: spec.clone(),
        }
    }

    /// A thread has handed over.
    pub(crate) fn take(&mut self, thread: u32, batch: Box<Batch>) {
        if let Some(queue) = self.queues.get_mut(thread as usize) {
            let next = if batch.last.is_some() { u64::MAX } else { batch.interval + 1 };
            let first = std::mem::replace(&mut queue.next, next);
            self.measured = self.measured.max(Duration::from_nanos(batch.last.unwrap_or(0)));
            queue.batches.push_back((first, batch));
        }
    }

    /// A thread has ended, perhaps without a last batch.
    pub(crate) fn ended(&mut self, thread: u32) {
        if let Some(queue) = self.queues.get_mut(thread as usize) {
            queue.next = u64::MAX;
        }
    }

    /// Gives out the next interval that all threads are done with, if there is one.
    pub(crate) fn next(&mut self) -> Option<&Interval> {
        let start = self.spec.interval.saturating_mul(u32::try_from(self.index).unwrap_or(u32::MAX));
        let done = self.queues.iter().all(|queue| queue.next > self.index);
        // The last interval is shorter, or as long as the others; after it there is none.
        let ended = self.queues.iter().all(|queue| queue.next == u64::MAX);
        let left = self.queues.iter().any(|queue| !queue.batches.is_empty());
        if !done || (ended && !left && start >= self.measured) {
            return None;
        }
        self.reset_interval();
        self.interval.start = start;
        let rest = self.measured.saturating_sub(start);
        self.interval.length = if ended { rest.min(self.spec.interval) } else { self.spec.interval };
        for at in 0..self.queues.len() {
            self.merge_thread(at);
        }
        let end = start + self.interval.length;
        self.interval.asked_rate = asked_rate(&self.spec, start, end);
        self.totals.merge(&self.interval.totals);
        merge(&mut self.latencies.response, &self.interval.latencies.response);
        merge(&mut self.latencies.service, &self.interval.latencies.service);
        merge(&mut self.lag, &self.interval.lag);
        self.series.push(&self.interval);
        self.index += 1;
        Some(&self.interval)
    }

    fn reset_interval(&mut self) {
        self.interval.totals = Totals::default();
        reset(&mut self.interval.latencies.response);
        reset(&mut self.interval.latencies.service);
        reset(&mut self.interval.lag);
        (self.interval.backlog, self.interval.in_flight) = (0, 0);
    }

    /// Merges the batches of one thread that begin in the current interval.
    fn merge_thread(&mut self, at: usize) {
        let closed = self.spec.arrivals == Arrivals::Closed;
        while let Some(queue) = self.queues.get_mut(at)
            && queue.batches.front().is_some_and(|(first, _)| *first <= self.index)
            && let Some((_, mut batch)) = queue.batches.pop_front()
        {
            let interval = &mut self.interval;
            interval.totals.merge(&batch.totals);
            (interval.backlog, interval.in_flight) =
                (interval.backlog + batch.backlog, interval.in_flight + batch.in_flight);
            merge(&mut interval.lag, &batch.lag);
            self.waited += batch.waited;
            merge(&mut self.connect, &batch.connect);
            for (outcome, request) in self.requests.iter_mut().zip(&batch.requests) {
                outcome.completed += request.completed;
                outcome.errors.merge(&request.errors);
                let service = &request.latencies.service;
                let response = if closed { service } else { &request.latencies.response };
                merge(&mut outcome.latencies.service, service);
                merge(&mut outcome.latencies.response, response);
            }
            // Those beside the mix are in no total.
            let mix = self.requests.len() - client::asides(&self.spec.protocol).len();
            for request in batch.requests.iter().take(mix) {
                let service = &request.latencies.service;
                let response = if closed { service } else { &request.latencies.response };
                merge(&mut interval.latencies.service, service);
                merge(&mut interval.latencies.response, response);
            }
            if let (Some(own), Some(theirs)) = (&mut self.streams, &batch.streams) {
                own.streams += theirs.streams;
                own.events += theirs.events;
                own.stalls += theirs.stalls;
                merge(&mut own.first_event, &theirs.first_event);
                merge(&mut own.gap, &theirs.gap);
            }
            batch.clear();
            // A thread that has ended takes none back.
            let _ = queue.back.try_send(batch);
        }
    }

    /// The rows of all intervals so far.
    pub(crate) fn take_series(&mut self) -> Vec<Point> {
        self.series.take()
    }
}

/// Rows by interval, bounded: beyond the bound neighbours become one, whose rates are the means over its length and whose
/// percentiles are the larger ones (percentiles cannot be averaged). What comes later is merged by histogram first.
struct Series {
    points: Vec<Point>,
    /// Intervals that make one row.
    stride: u32,
    gathered: u32,
    /// Of the row being gathered.
    response: Histogram<u64>,
    start: Duration,
    length: Duration,
    asked: f64,
    totals: Totals,
    backlog: u64,
}

impl Series {
    fn new() -> Self {
        Self {
            points: Vec::new(),
            stride: 1,
            gathered: 0,
            response: new_histogram(),
            start: Duration::ZERO,
            length: Duration::ZERO,
            asked: 0.0,
            totals: Totals::default(),
            backlog: 0,
        }
    }

    fn push(&mut self, interval: &Interval) {
        if self.gathered == 0 {
            self.start = interval.start;
        }
        self.gathered += 1;
        self.length += interval.length;
        self.asked += interval.asked_rate.unwrap_or(0.0) * interval.length.as_secs_f64();
        self.totals.merge(&interval.totals);
        self.backlog = interval.backlog;
        merge(&mut self.response, &interval.latencies.response);
        if self.gathered >= self.stride {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.gathered == 0 {
            return;
        }
        let seconds = self.length.as_secs_f64().max(1e-9);
        let ms = |nanos: u64| nanos as f64 / 1e6;
        self.points.push(Point {
            at: self.start.as_secs_f64(),
            asked: self.asked / seconds,
            achieved: self.totals.completed as f64 / seconds,
            errors: self.totals.errors.total() as f64 / seconds,
            p50: ms(self.response.value_at_quantile(0.5)),
            p99: ms(self.response.value_at_quantile(0.99)),
            max: ms(self.response.max()),
            backlog: self.backlog,
        });
        (self.gathered, self.length, self.asked, self.totals) = (0, Duration::ZERO, 0.0, Totals::default());
        reset(&mut self.response);
        if self.points.len() > POINTS_MAX {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.points = self.points.chunks(2).map(join).collect();
        self.stride = self.stride.saturating_mul(2);
    }

    fn take(&mut self) -> Vec<Point> {
        self.flush();
        std::mem::take(&mut self.points)
    }
}

/// Neighbours as one row.
fn join(points: &[Point]) -> Point {
    let [one, two] = points else { return points.first().copied().unwrap_or_default() };
    let mean = |a: f64, b: f64| f64::midpoint(a, b);
    Point {
        at: one.at,
        asked: mean(one.asked, two.asked),
        achieved: mean(one.achieved, two.achieved),
        errors: mean(one.errors, two.errors),
        p50: one.p50.max(two.p50),
        p99: one.p99.max(two.p99),
        max: one.max.max(two.max),
        backlog: two.backlog,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::spec;
    use std::sync::mpsc::{Receiver, sync_channel};

    fn interval(at: u32, completed: u64) -> Interval {
        let mut interval = empty_interval();
        interval.start = Duration::from_secs(at.into());
        interval.length = Duration::from_secs(1);
        interval.totals.completed = completed;
        interval.asked_rate = Some(10.0);
        interval
            .latencies
            .response
            .record_n(u64::from(at % 100 + 1) * 1_000_000, completed)
            .expect("in range");
        interval
    }

    #[test]
    fn the_series_of_a_long_run_stays_bounded_and_covers_it() {
        let mut series = Series::new();
        for at in 0..10_000 {
            series.push(&interval(at, 7));
            assert!(series.points.len() <= POINTS_MAX);
        }
        let points = series.take();
        assert!(points.len() > POINTS_MAX / 2, "{}", points.len());
        assert!(points.is_sorted_by(|a, b| a.at < b.at));
        assert!(points.iter().all(|point| (point.achieved - 7.0).abs() < 1e-9 && point.asked == 10.0));
        // The slowest interval of each hundred is still seen.
        assert!(points.iter().filter(|point| point.max >= 99.0).count() >= 100);
    }

    fn collector(threads: usize) -> (Collector, Vec<Receiver<Box<Batch>>>) {
        let (backs, given_back) = (0..threads).map(|_| sync_channel(4)).unzip();
        (Collector::new(&spec(([127, 0, 0, 1], 1).into()), backs), given_back)
    }

    fn batch(interval: u64, completed: u64) -> Box<Batch> {
        let mut batch = Box::new(Batch::new(1, false));
        (batch.interval, batch.totals.completed) = (interval, completed);
        batch
    }

    #[test]
    fn an_interval_is_given_out_when_all_threads_are_done_with_it() {
        let (mut collector, given_back) = collector(2);
        collector.take(0, batch(0, 1));
        assert!(collector.next().is_none(), "the other thread is not done");
        // It hands over late: two intervals in one batch, which then count in the first of them.
        collector.take(1, batch(1, 10));
        let completed =
            |collector: &mut Collector| collector.next().map(|interval| interval.totals.completed);
        assert_eq!(completed(&mut collector), Some(11));
        assert_eq!(completed(&mut collector), None);
        collector.take(0, batch(1, 2));
        assert_eq!(completed(&mut collector), Some(2));
        // The last one is as long as what is left.
        for thread in 0..2 {
            let mut last = batch(2, 100);
            last.last = Some(500_000_000 + u64::from(thread));
            collector.take(thread, last);
        }
        let last = collector.next().expect("the last one");
        assert_eq!((last.totals.completed, last.length.as_millis()), (200, 100));
        assert!(collector.next().is_none());
        assert_eq!(collector.totals.completed, 213);
        // Emptied batches went back.
        assert!(given_back.iter().all(|back| back.try_iter().count() >= 2));
    }

    #[test]
    fn threads_that_ended_without_measuring_leave_nothing() {
        let (mut collector, _given_back) = collector(2);
        collector.ended(0);
        collector.ended(1);
        assert!(collector.next().is_none());
    }
}
