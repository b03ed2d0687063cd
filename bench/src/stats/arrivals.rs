//! Tests of the gaps between arrivals: are they exponential, are they constant?
//!
//! Two answers each: whether a difference is *significant*, and whether it is *large*. With 20,000 gaps any clock shows up
//! as significant; what matters to a server is the share of gaps that are off by more than it can notice.

/// Least gaps that are tested: below it the table of critical values has no use.
const GAPS_MIN: usize = 100;

/// Significance points of the modified statistic for an exponential with estimated mean, (level, value), from M. A.
/// Stephens, "EDF Statistics for Goodness of Fit and Some Comparisons", JASA 69 (1974), table 1.3; the correction of
/// Kolmogorov and Smirnov's test is that of H. Lilliefors, JASA 64 (1969). A seeded test here redraws them.
const STEPHENS: [(f64, f64); 5] =
    [(0.15, 0.926), (0.10, 0.990), (0.05, 1.094), (0.025, 1.190), (0.01, 1.308)];

/// Gaps against an exponential distribution with their own mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialGaps {
    /// Mean gap, nanoseconds.
    pub mean: f64,
    /// Kolmogorov and Smirnov's distance, 0..=1.
    pub distance: f64,
    /// The distance that remains when each gap may be moved by the tolerance, 0..=1.
    pub distance_beyond_tolerance: f64,
    /// Chance of a distance as large from truly exponential gaps, between 0 and 0.15 (where the table ends).
    pub p_value: f64,
}

/// Tests gaps (nanoseconds) for being exponential; `None` for fewer than a hundred or a mean of 0.
#[must_use]
pub fn exponential_gaps(gaps: &[u64], tolerance: u64) -> Option<ExponentialGaps> {
    let mean = mean(gaps)?;
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as f64;
    let below = |gap: f64| 1.0 - (-gap.max(0.0) / mean).exp();
    let mut distance = 0.0_f64;
    let mut beyond = 0.0_f64;
    let tolerance = tolerance as f64;
    for (at, gap) in sorted.iter().map(|gap| *gap as f64).enumerate() {
        let (before, after) = (at as f64 / n, (at + 1) as f64 / n);
        distance = distance.max(after - below(gap)).max(below(gap) - before);
        beyond = beyond.max(after - below(gap + tolerance)).max(below(gap - tolerance) - before);
    }
    let modified = (distance - 0.2 / n) * (n.sqrt() + 0.26 + 0.5 / n.sqrt());
    Some(ExponentialGaps {
        mean,
        distance,
        distance_beyond_tolerance: beyond,
        p_value: stephens_level(modified),
    })
}

/// Level of a modified statistic: log-linear between the table's points and beyond its end.
fn stephens_level(modified: f64) -> f64 {
    let (mut from, mut to) = (STEPHENS[0], STEPHENS[1]);
    for pair in STEPHENS.windows(2) {
        (from, to) = (pair[0], pair[1]);
        if modified <= to.1 {
            break;
        }
    }
    let slope = (to.0.ln() - from.0.ln()) / (to.1 - from.1);
    (from.0.ln() + slope * (modified - from.1)).exp().clamp(0.0, STEPHENS[0].0)
}

/// Gaps against one constant gap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantGaps {
    /// Mean gap, nanoseconds.
    pub mean: f64,
    /// Standard deviation over the mean: 0 for a metronome, 1 for a Poisson process.
    pub variation: f64,
    /// Share of gaps that differ from the expected one by more than the tolerance, 0..=1.
    pub displaced: f64,
}

/// Tests gaps (nanoseconds) for being all the expected one; `None` for fewer than a hundred or a mean of 0.
#[must_use]
pub fn constant_gaps(gaps: &[u64], expected: f64, tolerance: f64) -> Option<ConstantGaps> {
    let mean = mean(gaps)?;
    let n = gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (*gap as f64 - mean).powi(2)).sum::<f64>() / n;
    let displaced = gaps.iter().filter(|gap| (**gap as f64 - expected).abs() > tolerance).count();
    Some(ConstantGaps { mean, variation: variance.sqrt() / mean, displaced: displaced as f64 / n })
}

fn mean(gaps: &[u64]) -> Option<f64> {
    let mean = gaps.iter().map(|gap| *gap as f64).sum::<f64>() / gaps.len() as f64;
    (gaps.len() >= GAPS_MIN && mean > 0.0).then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Rng;

    fn exponential(count: usize, mean: f64, rng: &mut Rng) -> Vec<u64> {
        (0..count).map(|_| rng.exponential(mean) as u64).collect()
    }

    #[test]
    fn exponential_gaps_are_rejected_as_often_as_the_level_says() {
        let mut rng = Rng::new(1969);
        let mut rejected = [0; 2];
        for _ in 0..2_000 {
            let test = exponential_gaps(&exponential(200, 1e9, &mut rng), 0).expect("enough gaps");
            rejected[0] += usize::from(test.p_value <= 0.05);
            rejected[1] += usize::from(test.p_value <= 0.01);
        }
        assert!((70..=130).contains(&rejected[0]), "5 %: {} of 2000", rejected[0]);
        assert!((8..=34).contains(&rejected[1]), "1 %: {} of 2000", rejected[1]);
    }

    #[test]
    fn other_gaps_are_told_apart() {
        let mut rng = Rng::new(7);
        let constant = vec![200_000; 5_000];
        let uniform: Vec<u64> = (0..5_000).map(|_| rng.below(400_000)).collect();
        // Every second arrival of a Poisson process: what a wrong split over threads gives.
        let halved: Vec<u64> =
            (0..5_000).map(|_| (rng.exponential(1e5) + rng.exponential(1e5)) as u64).collect();
        for gaps in [constant, uniform, halved] {
            let test = exponential_gaps(&gaps, 10_000).expect("enough gaps");
            assert!(test.p_value < 0.01 && test.distance_beyond_tolerance > 0.05, "{test:?}");
        }
    }

    #[test]
    fn a_clock_within_the_tolerance_is_significant_but_not_large() {
        let mut rng = Rng::new(8);
        let ticks: Vec<u64> =
            exponential(20_000, 200_000.0, &mut rng).iter().map(|gap| gap / 20_000 * 20_000).collect();
        let test = exponential_gaps(&ticks, 50_000).expect("enough gaps");
        assert!(test.p_value < 0.01 && test.distance > 0.05, "{test:?}");
        assert!(test.distance_beyond_tolerance < 0.05, "{test:?}");
    }

    #[test]
    fn constant_gaps_are_told_from_exponential_ones() {
        let mut rng = Rng::new(9);
        let metronome: Vec<u64> = (0..1_000).map(|_| 195_000 + rng.below(10_000)).collect();
        let test = constant_gaps(&metronome, 200_000.0, 50_000.0).expect("enough gaps");
        assert!(test.displaced == 0.0 && test.variation < 0.05, "{test:?}");
        let poisson = exponential(1_000, 200_000.0, &mut rng);
        let test = constant_gaps(&poisson, 200_000.0, 50_000.0).expect("enough gaps");
        assert!(test.displaced > 0.5 && (0.9..1.1).contains(&test.variation), "{test:?}");
    }

    #[test]
    fn too_few_gaps_are_not_judged() {
        assert_eq!(exponential_gaps(&[1; 99], 0), None);
        assert_eq!(constant_gaps(&[], 1.0, 1.0), None);
        assert_eq!(exponential_gaps(&[0; 200], 0), None);
    }
}
