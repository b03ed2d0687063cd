//! Quantiles by order statistics: which sample is one, between which two the true one lies, how many samples it takes.
//!
//! Distribution-free: nothing is assumed of the latencies but that samples are independent, or that their dependence is
//! told as a design effect. Hahn and Meeker, "Statistical Intervals", chapter 5.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// Tail count to within this share: a percentile counts as well supported.
const TAIL_ERROR_MAX: f64 = 0.10;
/// Variance of a binomial beyond which the normal distribution gives the same ranks: at a standard deviation of 1,000
/// ranks its error is below one.
const VARIANCE_EXACT_MAX: f64 = 1_000_000.0;
/// Terms of the binomial below this part of the largest do not change a rank.
const TERM_MIN: f64 = 1e-20;

/// How well a sample carries a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// The largest sample may well lie below the quantile: there is no upper bound, so there is no figure.
    Insufficient,
    /// There is a figure, but the count beyond the quantile is not known to within 10 %.
    Rough,
    /// The count beyond the quantile is known to within 10 %, at 95 %.
    Enough,
}

impl Support {
    /// Of quantile `p` from so many samples, each worth `1 / design_effect` independent ones.
    #[must_use]
    pub fn of(samples: u64, p: f64, design_effect: f64) -> Self {
        let samples = samples as f64 / design_effect.max(1.0);
        if samples >= samples_enough(p) as f64 {
            Self::Enough
        } else if samples >= samples_least(p) as f64 {
            Self::Rough
        } else {
            Self::Insufficient
        }
    }
}

/// Samples from which the count beyond quantile `p` is within ±10 % at 95 %: p99 38,031, p99.9 383,762.
///
/// That count is binomial, so its relative standard deviation is `sqrt(p / (n (1 - p)))`.
#[must_use]
pub fn samples_enough(p: f64) -> u64 {
    let z = normal_quantile(0.5 + super::CONFIDENCE / 2.0) / TAIL_ERROR_MAX;
    (z * z * odds(p)).ceil() as u64
}

/// Samples below which quantile `p` has no 95 % interval, the hard bound: median 6, p99 368, p99.99 36,887.
///
/// All samples lie below the quantile with a chance of `p^n`, and all above it with `(1 - p)^n`; each may be at most half
/// of what the confidence leaves.
#[must_use]
pub fn samples_least(p: f64) -> u64 {
    let tail = ((1.0 - super::CONFIDENCE) / 2.0).ln();
    let side = p.max(1.0 - p).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
    (tail / side.ln()).ceil() as u64
}

fn odds(p: f64) -> f64 {
    p / (1.0 - p).max(f64::EPSILON)
}

/// Rank (from 1) of the sample that is quantile `p` of so many: the smallest with at least that share at or below it.
#[must_use]
pub fn quantile_rank(samples: u64, p: f64) -> u64 {
    // 0.999 × 1000 is a hair above 999 in binary; the hair must not move the rank.
    let exact = p * samples as f64;
    ((exact - exact * 1e-12).ceil() as u64).clamp(1, samples.max(1))
}

/// Ranks (from 1) of the samples between which a quantile lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Of the lower one.
    pub low: u64,
    /// Of the upper one, at most the sample's size.
    pub high: u64,
}

/// Ranks between which quantile `p` lies with at least this confidence; `None` when the sample is too small for two.
///
/// `design_effect` (1 for independent samples) divides the sample's size: see [`super::design_effect`].
#[must_use]
pub fn rank_interval(samples: u64, p: f64, confidence: f64, design_effect: f64) -> Option<Ranks> {
    if !(p > 0.0 && p < 1.0 && confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let independent = (samples as f64 / design_effect.max(1.0)).floor() as u64;
    if independent == 0 {
        return None;
    }
    let variance = independent as f64 * p * (1.0 - p);
    let ranks = if variance <= VARIANCE_EXACT_MAX {
        Binomial::new(independent, p).interval(confidence)?
    } else {
        let mean = independent as f64 * p;
        let reach = normal_quantile(0.5 + confidence / 2.0) * variance.sqrt();
        Ranks { low: (mean - reach).floor().max(1.0) as u64, high: (mean + reach).ceil() as u64 + 1 }
    };
    let scale = samples as f64 / independent as f64;
    let low = ((ranks.low as f64 * scale).floor() as u64).max(1);
    let high = (ranks.high as f64 * scale).ceil() as u64;
    (ranks.high <= independent).then_some(Ranks { low, high: high.min(samples) })
}

/// Values at these ranks (ascending, from 1), as the lowest and highest value that their bucket stands for.
///
/// Ranks beyond the histogram's count give its last bucket; an empty histogram gives nothing.
#[must_use]
pub fn values_at_ranks(histogram: &Histogram<u64>, ranks: &[u64]) -> Vec<(u64, u64)> {
    let mut values = Vec::with_capacity(ranks.len());
    let mut ranks = ranks.iter().copied().peekable();
    let mut seen = 0_u64;
    let mut last = None;
    for step in histogram.iter_recorded() {
        seen = seen.saturating_add(step.count_at_value());
        let value = step.value_iterated_to();
        let bucket = (histogram.lowest_equivalent(value), histogram.highest_equivalent(value));
        while ranks.next_if(|rank| *rank <= seen).is_some() {
            values.push(bucket);
        }
        if ranks.peek().is_none() {
            return values;
        }
        last = Some(bucket);
    }
    if let Some(bucket) = last {
        values.extend(ranks.map(|_| bucket));
    }
    values
}

/// Quantile of the standard normal distribution.
fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// The probabilities of a binomial distribution around its mode, normalised.
///
/// `statrs` takes them from an incomplete beta function whose continued fraction stops after 140 terms; the sample sizes of
/// a load test need more. Ratios of neighbours need no special function at all.
struct Binomial {
    /// Value of the first term.
    first: u64,
    terms: Vec<f64>,
}

impl Binomial {
    fn new(n: u64, p: f64) -> Self {
        let mode = (((n + 1) as f64 * p).floor() as u64).min(n);
        let odds = odds(p);
        let mut below = Vec::new();
        let mut term = 1.0;
        for k in (1..=mode).rev() {
            term *= k as f64 / ((n - k + 1) as f64 * odds);
            if term < TERM_MIN {
                break;
            }
            below.push(term);
        }
        let first = mode - below.len() as u64;
        let mut terms: Vec<f64> = below.into_iter().rev().collect();
        terms.push(1.0);
        term = 1.0;
        for k in mode..n {
            term *= (n - k) as f64 * odds / (k + 1) as f64;
            if term < TERM_MIN {
                break;
            }
            terms.push(term);
        }
        let sum: f64 = terms.iter().sum();
        for term in &mut terms {
            *term /= sum;
        }
        Self { first, terms }
    }

    /// Probability of exactly `k`.
    fn of(&self, k: u64) -> f64 {
        k.checked_sub(self.first).and_then(|at| self.terms.get(at as usize)).copied().unwrap_or(0.0)
    }

    /// The shortest ranks `l, u` with P(l ≤ B < u) ≥ `confidence` that shrinking the equal-tailed ones gives.
    fn interval(&self, confidence: f64) -> Option<Ranks> {
        let tail = (1.0 - confidence) / 2.0;
        let mut low = self.first;
        let mut below = 0.0;
        while below + self.of(low) <= tail {
            below += self.of(low);
            low += 1;
        }
        let mut high = self.first + self.terms.len() as u64;
        let mut above = 0.0;
        while above + self.of(high - 1) <= tail {
            above += self.of(high - 1);
            high -= 1;
        }
        if low == 0 {
            return None;
        }
        let mut inside = 1.0 - below - above;
        while high - low > 1 {
            let (at_low, at_high) = (self.of(low), self.of(high - 1));
            if inside - at_low.min(at_high) < confidence {
                break;
            }
            inside -= at_low.min(at_high);
            if at_low <= at_high {
                low += 1;
            } else {
                high -= 1;
            }
        }
        Some(Ranks { low, high })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::new_histogram;
    use crate::stats::{CONFIDENCE, Rng};

    /// Hahn and Meeker, section 5.2: the distribution-free interval of a median from ten samples is X(2)..X(9), 97.9 %.
    #[test]
    fn matches_the_textbook() {
        let ranks = rank_interval(10, 0.5, CONFIDENCE, 1.0).expect("ten carry a median");
        assert_eq!(ranks, Ranks { low: 2, high: 9 });
        let inside: f64 = (2..9).map(|k| Binomial::new(10, 0.5).of(k)).sum();
        assert!((inside - 0.978_515_625).abs() < 1e-12, "{inside}");
    }

    #[test]
    fn sample_sizes_are_those_of_the_reference() {
        assert_eq!([0.5, 0.99, 0.999, 0.9999].map(samples_least), [6, 368, 3_688, 36_887]);
        assert_eq!([0.99, 0.999].map(samples_enough), [38_031, 383_762]);
        assert_eq!(Support::of(10_000, 0.9999, 1.0), Support::Insufficient);
        assert_eq!(Support::of(10_000, 0.999, 1.0), Support::Rough);
        assert_eq!(Support::of(40_000, 0.99, 1.0), Support::Enough);
        assert_eq!(Support::of(40_000, 0.99, 2.0), Support::Rough);
    }

    #[test]
    fn intervals_cover_as_often_as_they_claim() {
        for (samples, p, seed) in [(200, 0.5, 1), (2_000, 0.9, 2), (2_000, 0.99, 3), (5_000, 0.999, 4)] {
            let ranks = rank_interval(samples, p, CONFIDENCE, 1.0).expect("large enough");
            let truth = -(1.0_f64 - p).ln();
            let mut rng = Rng::new(seed);
            let covered = (0..1_000)
                .filter(|_| {
                    let mut drawn: Vec<f64> = (0..samples).map(|_| rng.exponential(1.0)).collect();
                    drawn.sort_unstable_by(f64::total_cmp);
                    drawn[ranks.low as usize - 1] <= truth && truth <= drawn[ranks.high as usize - 1]
                })
                .count();
            assert!((930..=970).contains(&covered), "p{p} of {samples}: {covered} of 1000");
        }
    }

    #[test]
    fn the_normal_approximation_joins_the_exact_ranks() {
        let exact = Binomial::new(3_900_000, 0.5).interval(CONFIDENCE).expect("large");
        let near = rank_interval(4_100_000, 0.5, CONFIDENCE, 1.0).expect("large");
        let reach = |ranks: Ranks| (ranks.high - ranks.low) as f64;
        let expected = (4_100_000.0_f64 / 3_900_000.0).sqrt();
        assert!((reach(near) / reach(exact) - expected).abs() < 0.002, "{exact:?} {near:?}");
    }

    #[test]
    fn dependent_samples_widen_the_interval() {
        let alone = rank_interval(10_000, 0.9, CONFIDENCE, 1.0).expect("large");
        let clustered = rank_interval(10_000, 0.9, CONFIDENCE, 4.0).expect("large");
        let ratio = (clustered.high - clustered.low) as f64 / (alone.high - alone.low) as f64;
        assert!((1.9..2.15).contains(&ratio), "{ratio}");
    }

    proptest! {
        #[test]
        fn ranks_are_ordered_and_hold_the_quantile(samples in 1_u64..200_000, p in 0.001_f64..0.9999) {
            if let Some(ranks) = rank_interval(samples, p, CONFIDENCE, 1.0) {
                prop_assert!(1 <= ranks.low && ranks.low < ranks.high && ranks.high <= samples);
                let at = quantile_rank(samples, p);
                prop_assert!(ranks.low <= at && at <= ranks.high, "{ranks:?} {at}");
            }
            prop_assert_eq!(
                rank_interval(samples, p, CONFIDENCE, 1.0).is_none(),
                Support::of(samples, p, 1.0) == Support::Insufficient
            );
        }

        #[test]
        fn ranks_find_the_same_values_as_a_sorted_list(mut drawn in prop::collection::vec(1_000_u64..10_000_000, 1..300)) {
            let mut histogram = new_histogram();
            for value in &drawn {
                histogram.record(*value).expect("in range");
            }
            drawn.sort_unstable();
            let ranks: Vec<u64> = (1..=drawn.len() as u64).collect();
            for (value, (low, high)) in drawn.iter().zip(values_at_ranks(&histogram, &ranks)) {
                prop_assert!(low <= *value && *value <= high);
            }
        }
    }
}
