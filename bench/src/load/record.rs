//! What a generator thread measured since it last handed over, and the sample of its gaps.
//!
//! A [`Batch`] is filled on the thread, handed to the collector at the end of an interval, merged and cleared there and
//! given back: a run needs a few of them, however long it is. Nothing here allocates while a run goes on.

use hdrhistogram::Histogram;

use super::draw::Rng;
use super::outcome::{Errors, Latencies, StreamOutcome, Totals, new_histogram};

/// Gaps kept over all threads.
pub(crate) const GAPS_MAX: usize = 20_000;

/// One request of the mix, or one beside it (such as MCP's `initialize`).
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestBatch {
    pub(crate) completed: u64,
    pub(crate) errors: Errors,
    /// In a closed loop only `service` is filled: the two are the same there.
    pub(crate) latencies: Latencies,
}

/// What a thread measured in an interval.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) totals: Totals,
    pub(crate) requests: Vec<RequestBatch>,
    pub(crate) lag: Histogram<u64>,
    /// Sent later than intended because no connection was idle.
    pub(crate) waited: u64,
    pub(crate) connect: Histogram<u64>,
    pub(crate) streams: Option<StreamOutcome>,
    /// Index of the interval that it ends with; it begins where the thread's batch before ended.
    pub(crate) interval: u64,
    /// The thread's last one: how long it measured, nanoseconds.
    pub(crate) last: Option<u64>,
    /// Due and not begun at its end.
    pub(crate) backlog: u64,
    /// Begun and not answered at its end.
    pub(crate) in_flight: u64,
}

/// An empty record of streams.
pub(crate) fn new_streams() -> StreamOutcome {
    StreamOutcome { streams: 0, events: 0, stalls: 0, first_event: new_histogram(), gap: new_histogram() }
}

impl Batch {
    pub(crate) fn new(requests: usize, streams: bool) -> Self {
        Self {
            totals: Totals::default(),
            requests: vec![RequestBatch::default(); requests],
            lag: new_histogram(),
            waited: 0,
            connect: new_histogram(),
            streams: streams.then(new_streams),
            interval: 0,
            last: None,
            backlog: 0,
            in_flight: 0,
        }
    }

    /// Empties it, keeping its memory.
    pub(crate) fn clear(&mut self) {
        self.clear_warmup();
        self.totals = Totals::default();
        reset(&mut self.connect);
    }

    /// Empties it but for the connections that were made: those of a keep-alive run are all made before it measures.
    /// Histograms that nothing was recorded in are not touched.
    pub(crate) fn clear_warmup(&mut self) {
        self.totals = Totals { connects: self.totals.connects, ..Totals::default() };
        for request in &mut self.requests {
            (request.completed, request.errors) = (0, Errors::default());
            reset(&mut request.latencies.response);
            reset(&mut request.latencies.service);
        }
        reset(&mut self.lag);
        self.waited = 0;
        if let Some(streams) = &mut self.streams {
            (streams.streams, streams.events, streams.stalls) = (0, 0, 0);
            reset(&mut streams.first_event);
            reset(&mut streams.gap);
        }
        (self.backlog, self.in_flight) = (0, 0);
    }
}

/// Empties a histogram that has something in it.
pub(crate) fn reset(histogram: &mut Histogram<u64>) {
    if !histogram.is_empty() {
        histogram.reset();
    }
}

/// Adds one histogram to another of the same bounds.
pub(crate) fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    let merged = into.add(from);
    debug_assert!(merged.is_ok(), "all histograms of a run have the same bounds");
}

/// A uniform sample of a stream of unknown length (Vitter, "Random Sampling with a Reservoir", algorithm R).
#[derive(Debug)]
pub(crate) struct Reservoir {
    kept: Vec<u64>,
    size: usize,
    seen: u64,
    rng: Rng,
}

impl Reservoir {
    pub(crate) fn new(size: usize, rng: Rng) -> Self {
        Self { kept: Vec::with_capacity(size), size, seen: 0, rng }
    }

    #[inline]
    pub(crate) fn offer(&mut self, value: u64) {
        self.seen += 1;
        if self.kept.len() < self.size {
            self.kept.push(value);
            return;
        }
        let at = self.rng.below(self.seen);
        if let Some(place) = usize::try_from(at).ok().and_then(|at| self.kept.get_mut(at)) {
            *place = value;
        }
    }

    pub(crate) fn take(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::ErrorKind;

    #[test]
    fn a_cleared_batch_is_as_new() {
        let mut batch = Batch::new(2, true);
        batch.requests[1].completed = 3;
        batch.requests[1].errors.add(ErrorKind::Closed);
        batch.requests[1].latencies.service.record(5_000).expect("in range");
        batch.lag.record(5_000).expect("in range");
        batch.totals.sent = 4;
        batch.streams.as_mut().expect("asked for").gap.record(5_000).expect("in range");
        batch.clear();
        assert_eq!(batch.totals, Totals::default());
        assert_eq!((batch.requests[1].completed, batch.requests[1].errors.total()), (0, 0));
        assert!(batch.requests[1].latencies.service.is_empty() && batch.lag.is_empty());
        assert!(batch.streams.expect("kept").gap.is_empty());
    }

    #[test]
    fn a_reservoir_is_uniform_and_bounded() {
        let mut sample = Reservoir::new(1_000, Rng::new(3, 0));
        for value in 0..100_000 {
            sample.offer(value);
        }
        let kept = sample.take();
        assert_eq!(kept.len(), 1_000);
        let late = kept.iter().filter(|value| **value >= 50_000).count();
        // Binomial around 500, standard deviation 16: six of them.
        assert!((405..595).contains(&late), "{late}");
    }
}
