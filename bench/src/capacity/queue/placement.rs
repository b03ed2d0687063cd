//! How unevenly connections fall on shards.
//!
//! Owns the simulation of placements. Pure and seeded.

use serde::Serialize;

use crate::stats::Rng;

/// Most shards of a model.
pub const SHARDS_MAX: u32 = 1_024;
/// Most connections placed one by one; more are as even as these.
pub const CONNECTIONS_MAX: u32 = 1_000_000;

/// Who decides where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The kernel's hash (`SO_REUSEPORT`), or whichever shard is first to accept: at random.
    Random,
    /// As the gateway does: at random, and on to the least loaded shard where the first one has more than two above it.
    LeastLoaded,
}

/// How far a shard may be above the least loaded one before it hands over; the gateway's own bound.
const ABOVE_LEAST_MAX: u32 = 2;

/// Connections of each shard after placing `connections` on `shards`.
///
/// More connections or shards than the bounds are taken as the bounds.
#[must_use]
pub fn place(placement: Placement, connections: u32, shards: u32, rng: &mut Rng) -> Vec<u32> {
    let shards = shards.clamp(1, SHARDS_MAX) as usize;
    let mut counts = vec![0_u32; shards];
    // How many shards have each count, so that the least one is known without a search.
    let mut least = 0;
    let mut at_least = shards;
    for _ in 0..connections.min(CONNECTIONS_MAX) {
        let first = rng.below(shards as u64) as usize;
        let chosen = match placement {
            Placement::LeastLoaded if counts[first] > least + ABOVE_LEAST_MAX => {
                counts.iter().position(|count| *count == least).unwrap_or(first)
            }
            Placement::Random | Placement::LeastLoaded => first,
        };
        if counts[chosen] == least {
            at_least -= 1;
        }
        counts[chosen] += 1;
        if at_least == 0 {
            least = counts.iter().copied().min().unwrap_or(0);
            at_least = counts.iter().filter(|count| **count == least).count();
        }
    }
    counts
}

/// The hottest shard's share over the mean share, averaged over `draws` placements.
#[must_use]
pub fn imbalance(placement: Placement, connections: u32, shards: u32, draws: u32, seed: u64) -> f64 {
    let mut rng = Rng::new(seed);
    let one = |rng: &mut Rng| {
        let counts = place(placement, connections, shards, rng);
        let total: u32 = counts.iter().sum();
        let hottest = counts.iter().copied().max().unwrap_or(0);
        f64::from(hottest) * counts.len() as f64 / f64::from(total.max(1))
    };
    (0..draws.max(1)).map(|_| one(&mut rng)).sum::<f64>() / f64::from(draws.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hottest over mean by random placement, as others have it (averages of 200 draws).
    #[test]
    fn random_placement_is_as_uneven_as_known() {
        for (connections, shards, known) in
            [(256, 8, 1.27), (1_024, 8, 1.12), (1_024, 32, 1.39), (10_000, 32, 1.12), (100_000, 64, 1.06)]
        {
            let draws = if connections > 50_000 { 20 } else { 200 };
            let found = imbalance(Placement::Random, connections, shards, draws, 1);
            assert!((found - known).abs() < 0.025, "{connections} on {shards}: {found}, known {known}");
        }
    }

    #[test]
    fn the_least_loaded_placement_is_nearly_even() {
        let mut rng = Rng::new(1);
        for (connections, shards) in [(256, 8), (1_024, 32), (7, 3), (10_000, 32)] {
            let counts = place(Placement::LeastLoaded, connections, shards, &mut rng);
            assert_eq!((counts.len(), counts.iter().sum::<u32>()), (shards as usize, connections));
            let [least, most] =
                [counts.iter().min(), counts.iter().max()].map(|count| *count.expect("shards"));
            assert!(most - least <= ABOVE_LEAST_MAX + 1, "{counts:?}");
        }
    }

    #[test]
    fn nothing_is_placed_beyond_the_bounds() {
        let mut rng = Rng::new(1);
        assert_eq!(place(Placement::Random, 5, 0, &mut rng), [5]);
        assert_eq!(place(Placement::Random, 0, 4, &mut rng), [0; 4]);
    }
}
