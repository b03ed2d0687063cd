//! Random choices of a run: seeded, so that a run can be repeated. Not for secrets.

use std::time::Duration;

use super::spec::Think;

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators").
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A stream of its own for each pair of seed and number.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        rng.next();
        rng
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1, one excluded.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in 0..n; `n` is not zero. Multiply and shift: the bias is below n / 2^64.
    #[inline]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Exponential with this mean.
    #[inline]
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// A pause, nanoseconds.
    pub(crate) fn think(&mut self, think: Think) -> u64 {
        match think {
            Think::No => 0,
            Think::Fixed(length) => nanos(length),
            Think::Uniform(from, to) => {
                let (from, to) = (nanos(from), nanos(to));
                from + self.below(to.saturating_sub(from).saturating_add(1))
            }
            Think::Exponential(mean) => self.exponential(nanos(mean) as f64) as u64,
        }
    }
}

/// Nanoseconds, 584 years at most.
pub(crate) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Which request of a mix comes next.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// Ends of the requests' shares, ascending.
    ends: Vec<u64>,
}

impl Mix {
    /// From the weights; those that add up to nothing always give the first.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let mut end = 0;
        let share = |weight: &u32| {
            end += u64::from(*weight);
            end
        };
        Self { ends: weights.iter().map(share).collect() }
    }

    #[inline]
    pub(crate) fn pick(&self, rng: &mut Rng) -> usize {
        match self.ends.as_slice() {
            [] | [_] => 0,
            [.., 0] => 0,
            [.., all] => {
                let at = rng.below(*all);
                self.ends.partition_point(|end| *end <= at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_stream_others() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.next(), rng.next(), rng.next()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn a_mix_is_drawn_by_its_weights() {
        let mix = Mix::new(&[1, 0, 3]);
        let mut rng = Rng::new(7, 0);
        let mut seen = [0_u32; 3];
        for _ in 0..40_000 {
            seen[mix.pick(&mut rng)] += 1;
        }
        assert_eq!(seen[1], 0);
        // Binomial, standard deviation 87: six of them.
        assert!((9_480..10_520).contains(&seen[0]), "{seen:?}");
        assert_eq!(Mix::new(&[0, 0]).pick(&mut rng), 0);
    }

    #[test]
    fn think_times_have_their_means_and_bounds() {
        let mut rng = Rng::new(7, 0);
        let ms = Duration::from_millis;
        assert_eq!(rng.think(Think::No), 0);
        assert_eq!(rng.think(Think::Fixed(ms(3))), 3_000_000);
        let mut sum = 0;
        for _ in 0..10_000 {
            let pause = rng.think(Think::Uniform(ms(1), ms(2)));
            assert!((1_000_000..=2_000_000).contains(&pause));
            sum += rng.think(Think::Exponential(ms(5)));
        }
        // Standard deviation of the mean: 1 %.
        assert!((47_000_000_000..53_000_000_000).contains(&sum), "{sum}");
    }
}
