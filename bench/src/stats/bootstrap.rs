//! Percentile bootstrap (Efron 1979) with a seed.

use super::Rng;

/// Most resamples: beyond it the interval's ends move by less than anyone prints.
pub const RESAMPLES_MAX: u32 = 10_000;

/// Interval of a statistic of `values` at this confidence, by drawing them anew with replacement; `None` for fewer than two
/// values or when the statistic is never finite. Values must be independent: for dependent ones give blocks' values.
#[must_use]
pub fn bootstrap(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    resamples: u32,
    confidence: f64,
    seed: u64,
) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let mut rng = Rng::new(seed);
    let mut resample = vec![0.0; values.len()];
    let mut drawn: Vec<f64> = (0..resamples.clamp(1, RESAMPLES_MAX))
        .map(|_| {
            for slot in &mut resample {
                *slot = values[rng.below(values.len() as u64) as usize];
            }
            statistic(&resample)
        })
        .filter(|value| value.is_finite())
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |p: f64| {
        let rank = (p * drawn.len() as f64) as usize;
        drawn.get(rank.min(drawn.len().saturating_sub(1))).copied()
    };
    let tail = (1.0 - confidence) / 2.0;
    Some((at(tail)?, at(1.0 - tail)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::CONFIDENCE;

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn intervals_cover_as_often_as_they_claim() {
        let mut rng = Rng::new(1979);
        let covered = (0..1_000)
            .filter(|case| {
                let values: Vec<f64> = (0..80).map(|_| rng.normal()).collect();
                let (low, high) = bootstrap(&values, mean, 400, CONFIDENCE, *case).expect("enough values");
                low <= 0.0 && 0.0 <= high
            })
            .count();
        assert!((930..=970).contains(&covered), "{covered} of 1000");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        let interval = |seed| bootstrap(&values, mean, 200, CONFIDENCE, seed);
        assert_eq!(interval(3), interval(3));
        assert_ne!(interval(3), interval(4));
        assert_eq!(bootstrap(&[1.0], mean, 200, CONFIDENCE, 1), None);
        assert_eq!(bootstrap(&values, |_| f64::NAN, 200, CONFIDENCE, 1), None);
    }
}
