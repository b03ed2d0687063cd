//! Latency over time, kept while a run goes on: what heat maps need and an outcome no longer has.
//!
//! Fed each interval as it ends. Bounded: columns are merged two by two when there are too many, so an hour costs as much
//! as a minute, about a mebibyte.

use hdrhistogram::Histogram;

use crate::load::{Interval, Observer};
use crate::stats;

/// Most columns: more than a screen tells apart.
const COLUMNS_MAX: usize = 240;
/// Buckets per doubling of latency: each 4.4 % wide.
const PER_OCTAVE: f64 = 16.0;
/// Lower end of the first bucket, nanoseconds.
const FIRST: f64 = 1_000.0;
/// Buckets: 32 octaves reach beyond an hour.
const BUCKETS: usize = 512;

/// Collects intervals into a bounded number of columns.
#[derive(Clone, Debug)]
pub struct Collector {
    columns: Vec<Column>,
    /// Intervals that a full column holds.
    intervals_per_column: u32,
}

/// Response times of a stretch of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Since measuring began, seconds.
    pub start_seconds: f64,
    /// Its length, seconds.
    pub length_seconds: f64,
    counts: Vec<u64>,
    intervals: u32,
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { columns: Vec::new(), intervals_per_column: 1 }
    }

    /// Takes an interval in, in their order.
    pub fn interval(&mut self, interval: &Interval) {
        let room = self.columns.last().is_some_and(|last| last.intervals < self.intervals_per_column);
        if !room && self.columns.len() >= COLUMNS_MAX {
            self.halve();
        }
        let column = Column::of(interval);
        match self.columns.last_mut().filter(|last| last.intervals < self.intervals_per_column) {
            Some(last) => last.merge(&column),
            None => self.columns.push(column),
        }
    }

    /// Columns in the order of time.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Design effect of the share of response times beyond `value` (nanoseconds), over the columns; 1 for too few.
    #[must_use]
    pub fn design_effect(&self, value: u64) -> f64 {
        let edge = bucket(value) + 1;
        let clusters: Vec<(u64, u64)> = self
            .columns
            .iter()
            .map(|column| (column.counts.iter().sum(), column.counts.get(edge..).unwrap_or(&[]).iter().sum()))
            .collect();
        stats::design_effect(&clusters).unwrap_or(1.0)
    }

    fn halve(&mut self) {
        let mut merged: Vec<Column> = Vec::with_capacity(COLUMNS_MAX);
        for column in self.columns.drain(..) {
            match merged.last_mut().filter(|last| last.intervals < 2 * self.intervals_per_column) {
                Some(last) => last.merge(&column),
                None => merged.push(column),
            }
        }
        self.columns = merged;
        self.intervals_per_column = self.intervals_per_column.saturating_mul(2);
    }
}

/// A collector alone may hear a run.
impl Observer for Collector {
    fn interval(&mut self, interval: &Interval) {
        Self::interval(self, interval);
    }
}

impl Column {
    fn of(interval: &Interval) -> Self {
        Self {
            start_seconds: interval.start.as_secs_f64(),
            length_seconds: interval.length.as_secs_f64(),
            counts: bucket_counts(&interval.latencies.response),
            intervals: 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.length_seconds = other.start_seconds + other.length_seconds - self.start_seconds;
        self.intervals = self.intervals.saturating_add(other.intervals);
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
    }

    /// Non-empty buckets with their count; [`bucket_edges`] tells what they stand for.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }
}

/// Lowest and highest latency of a bucket, milliseconds.
#[must_use]
pub fn bucket_edges(bucket: usize) -> (f64, f64) {
    let edge = |at: usize| FIRST * (at as f64 / PER_OCTAVE).exp2() / super::quantiles::MS;
    (edge(bucket), edge(bucket + 1))
}

fn bucket(value: u64) -> usize {
    let octaves = (value as f64 / FIRST).max(1.0).log2();
    ((octaves * PER_OCTAVE) as usize).min(BUCKETS - 1)
}

fn bucket_counts(histogram: &Histogram<u64>) -> Vec<u64> {
    let mut counts = vec![0; BUCKETS];
    for step in histogram.iter_recorded() {
        counts[bucket(histogram.median_equivalent(step.value_iterated_to()))] += step.count_at_value();
    }
    counts
}
