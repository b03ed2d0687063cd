//! Quantiles with their intervals, in milliseconds: what every report and comparison says of a histogram.
//!
//! A quantile that its sample cannot carry has no figure at all, so that nobody can print one.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::Latencies;
use crate::stats::{self, CONFIDENCE, Support};

/// Nanoseconds in a millisecond.
pub(super) const MS: f64 = 1e6;

/// One quantile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Milliseconds; `None` when the sample is too small to carry it.
    pub ms: Option<f64>,
    /// Lower end of its 95 % interval, milliseconds; `None` where the sample, for its dependence, has none.
    pub low_ms: Option<f64>,
    /// Upper end, milliseconds.
    pub high_ms: Option<f64>,
    /// How well the sample carries it.
    pub support: Support,
}

/// The quantiles of a report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Values that they are of.
    pub samples: u64,
    /// Mean, milliseconds; `None` without samples.
    pub mean_ms: Option<f64>,
    /// Median.
    pub p50: Quantile,
    /// Of ten, the slowest.
    pub p90: Quantile,
    /// Of a hundred, the slowest.
    pub p99: Quantile,
    /// Of a thousand, the slowest.
    pub p999: Quantile,
    /// Of ten thousand, the slowest.
    pub p9999: Quantile,
    /// The largest seen, milliseconds; `None` without samples. It has no interval: the true one may be anything above.
    pub max_ms: Option<f64>,
}

/// The quantiles that are told.
const TOLD: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];

impl Quantiles {
    /// Of a histogram in nanoseconds, as if its samples were independent.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self::with_effect(histogram, |_| 1.0)
    }

    /// Of a histogram in nanoseconds whose samples resemble their neighbours: `effect` tells the design effect at a value
    /// (nanoseconds), see [`stats::design_effect`].
    #[must_use]
    pub fn with_effect(histogram: &Histogram<u64>, effect: impl Fn(u64) -> f64) -> Self {
        let [p50, p90, p99, p999, p9999] = TOLD.map(|p| quantile(histogram, p, &effect));
        let some = !histogram.is_empty();
        Self {
            samples: histogram.len(),
            mean_ms: some.then(|| histogram.mean() / MS),
            p50,
            p90,
            p99,
            p999,
            p9999,
            max_ms: some.then(|| histogram.max() as f64 / MS),
        }
    }

    /// Each with its share, ascending.
    #[must_use]
    pub fn rows(&self) -> [(f64, Quantile); TOLD.len()] {
        let [p50, p90, p99, p999, p9999] = TOLD;
        [(p50, self.p50), (p90, self.p90), (p99, self.p99), (p999, self.p999), (p9999, self.p9999)]
    }
}

const UNKNOWN: Quantile = Quantile { ms: None, low_ms: None, high_ms: None, support: Support::Insufficient };

/// The number of samples alone decides whether there is a figure: a stall that is one event must not hide itself. How much they
/// depend on each other widens the interval, or takes it away.
fn quantile(histogram: &Histogram<u64>, p: f64, effect: &impl Fn(u64) -> f64) -> Quantile {
    let samples = histogram.len();
    if Support::of(samples, p, 1.0) == Support::Insufficient {
        return UNKNOWN;
    }
    let at = stats::quantile_rank(samples, p);
    let Some((_, value)) = stats::values_at_ranks(histogram, &[at]).first().copied() else { return UNKNOWN };
    let effect = effect(value);
    let ranks = stats::rank_interval(samples, p, CONFIDENCE, effect);
    let ends = ranks.map(|ranks| stats::values_at_ranks(histogram, &[ranks.low, ranks.high]));
    let (low, high) = match ends.as_deref() {
        Some([(low, _), (_, high)]) => (Some(*low as f64 / MS), Some(*high as f64 / MS)),
        _ => (None, None),
    };
    let support = Support::of(samples, p, effect).max(Support::Rough);
    Quantile { ms: Some(value as f64 / MS), low_ms: low, high_ms: high, support }
}

/// Response and service times side by side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// From the intended start. In a closed loop the same as `service`.
    pub response: Quantiles,
    /// From the send.
    pub service: Quantiles,
}

impl Latency {
    /// Of a pair of histograms, as if their samples were independent.
    #[must_use]
    pub fn of(latencies: &Latencies) -> Self {
        Self { response: Quantiles::of(&latencies.response), service: Quantiles::of(&latencies.service) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::new_histogram;

    fn ramp(count: u64) -> Histogram<u64> {
        let mut histogram = new_histogram();
        for at in 1..=count {
            histogram.record(at * 1_000).expect("in range");
        }
        histogram
    }

    #[test]
    fn quantiles_lie_in_their_intervals_and_match_the_histogram() {
        let histogram = ramp(40_000);
        let told = Quantiles::of(&histogram);
        for (p, quantile) in told.rows() {
            let value = quantile.ms.expect("40,000 carry all five");
            assert!((value - histogram.value_at_quantile(p) as f64 / MS).abs() < value * 0.002, "{p}");
            assert!(
                quantile.low_ms.expect("low") <= value && value <= quantile.high_ms.expect("high"),
                "{p}"
            );
        }
        assert_eq!(told.p99.support, Support::Enough);
        assert_eq!(told.p9999.support, Support::Rough);
        assert_eq!(told.samples, 40_000);
    }

    #[test]
    fn what_the_sample_cannot_carry_has_no_figure() {
        let told = Quantiles::of(&ramp(10_000));
        assert_eq!(
            told.p9999,
            Quantile { ms: None, low_ms: None, high_ms: None, support: Support::Insufficient }
        );
        assert!(told.p999.ms.is_some());
        let none = Quantiles::of(&new_histogram());
        assert_eq!((none.mean_ms, none.max_ms, none.p50.ms), (None, None, None));
    }

    #[test]
    fn dependence_widens_intervals_or_takes_them_away() {
        let histogram = ramp(40_000);
        let (alone, clustered) = (Quantiles::of(&histogram), Quantiles::with_effect(&histogram, |_| 16.0));
        let width = |of: Quantile| of.high_ms.expect("high") - of.low_ms.expect("low");
        assert!(width(clustered.p50) > 3.5 * width(alone.p50));
        // As good as 2,500 samples: p99.99 stays what it is, but nobody knows how far off.
        assert_eq!(clustered.p9999.ms, alone.p9999.ms);
        assert_eq!((clustered.p9999.high_ms, clustered.p9999.support), (None, Support::Rough));
    }
}
