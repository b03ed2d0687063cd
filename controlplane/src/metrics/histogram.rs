//! Durations in the catalogue's buckets: counted here for checks, gathered from the shards' finer ones.

use std::time::Duration;

use erlmcp_config::metrics::DURATION_BUCKETS_US;
use erlmcp_dataplane::link::Histogram;
use erlmcp_dataplane::link::pages::BUCKETS;

/// Counts per bucket, each bucket its own.
#[derive(Debug, Clone)]
pub struct Durations {
    counts: [u64; DURATION_BUCKETS_US.len() + 1],
    sum_us: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: [0; DURATION_BUCKETS_US.len() + 1], sum_us: 0 }
    }
}

impl Durations {
    /// Counts one.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[DURATION_BUCKETS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds a shard's histogram. Its buckets are at most an eighth wide; one that straddles a bound counts above it.
    pub(super) fn add(&mut self, page: &Histogram) {
        for bucket in 0..BUCKETS {
            let count = page.count(bucket);
            if count > 0 {
                // Values of the bucket are below this one.
                let above = Histogram::bound_us(bucket).unwrap_or(u64::MAX);
                self.counts[DURATION_BUCKETS_US.partition_point(|bound| *bound < above - 1)] += count;
            }
        }
        self.sum_us = self.sum_us.saturating_add(page.sum_us());
    }

    /// Adds another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// Bounds in microseconds with the count of all up to each; the last has no bound.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = DURATION_BUCKETS_US.iter().copied().map(Some).chain([None]);
        let mut total = 0;
        bounds.zip(self.counts).map(move |(bound, count)| {
            total += count;
            (bound, total)
        })
    }

    /// Sum in seconds.
    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(durations: &Durations, us: u64) -> u64 {
        durations.cumulative().find(|(bound, _)| *bound == Some(us)).unwrap().1
    }

    #[test]
    fn values_count_in_the_bucket_of_their_bound() {
        let mut durations = Durations::default();
        for us in [50, 51, 999, 1000, 60_000_001] {
            durations.record(Duration::from_micros(us));
        }
        assert_eq!((up_to(&durations, 50), up_to(&durations, 100), up_to(&durations, 1000)), (1, 2, 4));
        assert_eq!((up_to(&durations, 60_000_000), durations.count()), (4, 5));
    }

    #[test]
    fn a_shards_buckets_add_up() {
        let page = Histogram::default();
        for us in [10, 40, 3000, 10_000_000, u64::MAX / 4] {
            page.record(us);
        }
        let mut durations = Durations::default();
        durations.add(&page);
        durations.add(&page);
        assert_eq!((up_to(&durations, 50), up_to(&durations, 2500), up_to(&durations, 5000)), (4, 4, 6));
        assert_eq!((durations.count(), durations.cumulative().last()), (10, Some((None, 10))));
    }
}
