//! How dependent samples are: latencies of one moment resemble each other, so a stall of 50 ms is one event, not a thousand.

/// Least clusters: with fewer their spread says nothing.
const CLUSTERS_MIN: usize = 10;

/// Kish's design effect of a share that was counted in clusters (stretches of time) of `(samples, of which beyond)`: by how
/// much the variance exceeds that of as many independent samples. At least 1; `None` for fewer than ten clusters.
///
/// Estimated as Pearson's χ² over its degrees of freedom (McCullagh and Nelder, "Generalized Linear Models", 4.5).
#[must_use]
pub fn design_effect(clusters: &[(u64, u64)]) -> Option<f64> {
    let used: Vec<(f64, f64)> =
        clusters.iter().filter(|(samples, _)| *samples > 0).map(|(n, k)| (*n as f64, *k as f64)).collect();
    if used.len() < CLUSTERS_MIN {
        return None;
    }
    let (samples, beyond) = used.iter().fold((0.0, 0.0), |sum, (n, k)| (sum.0 + n, sum.1 + k));
    let share = beyond / samples;
    if share <= 0.0 || share >= 1.0 {
        return Some(1.0);
    }
    let chi: f64 = used.iter().map(|(n, k)| (k - n * share).powi(2) / (n * share * (1.0 - share))).sum();
    Some((chi / (used.len() - 1) as f64).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{CONFIDENCE, Rng, rank_interval};

    #[test]
    fn independent_samples_have_none() {
        let mut rng = Rng::new(5);
        let clusters: Vec<(u64, u64)> =
            (0..200).map(|_| (1_000, (0..1_000).filter(|_| rng.uniform() < 0.05).count() as u64)).collect();
        let effect = design_effect(&clusters).expect("enough clusters");
        assert!((1.0..1.25).contains(&effect), "{effect}");
        assert_eq!(design_effect(&clusters[..9]), None);
        assert_eq!(design_effect(&[(10, 0); 12]), Some(1.0));
    }

    /// Stretches of time share a factor: plain intervals then cover far less often than they say, corrected ones as often.
    #[test]
    fn corrects_the_coverage_of_clustered_samples() {
        let (clusters, each) = (60_u64, 50_u64);
        let truth = pooled_p90(&mut Rng::new(99), 200_000);
        let mut rng = Rng::new(6);
        let (mut plain, mut corrected) = (0, 0);
        for _ in 0..300 {
            let drawn: Vec<Vec<f64>> = (0..clusters)
                .map(|_| {
                    let factor = factor(&mut rng);
                    (0..each).map(|_| factor * rng.exponential(1.0)).collect()
                })
                .collect();
            let mut all: Vec<f64> = drawn.iter().flatten().copied().collect();
            all.sort_unstable_by(f64::total_cmp);
            let estimate = all[all.len() * 9 / 10];
            let counts: Vec<(u64, u64)> = drawn
                .iter()
                .map(|cluster| (each, cluster.iter().filter(|value| **value > estimate).count() as u64))
                .collect();
            let covers = |effect| {
                let ranks = rank_interval(all.len() as u64, 0.9, CONFIDENCE, effect).expect("large enough");
                all[ranks.low as usize - 1] <= truth && truth <= all[ranks.high as usize - 1]
            };
            plain += usize::from(covers(1.0));
            corrected += usize::from(covers(design_effect(&counts).expect("enough clusters")));
        }
        assert!(plain < 225, "plain intervals cover {plain} of 300");
        assert!(corrected >= 273, "corrected intervals cover {corrected} of 300");
    }

    fn factor(rng: &mut Rng) -> f64 {
        if rng.uniform() < 0.2 { 4.0 } else { 1.0 }
    }

    fn pooled_p90(rng: &mut Rng, count: usize) -> f64 {
        let mut drawn: Vec<f64> = (0..count).map(|_| factor(rng) * rng.exponential(1.0)).collect();
        drawn.sort_unstable_by(f64::total_cmp);
        drawn[count * 9 / 10]
    }
}
