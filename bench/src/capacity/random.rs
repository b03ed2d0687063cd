//! Seeded random numbers of the planner's simulations: the same seed gives the same plan on every machine.
//!
//! Owns xoshiro256++ (Blackman, Vigna 2019) seeded by SplitMix64, and the few distributions that the models draw from.
//! Never reads the clock or the system's entropy; never for secrets.

/// A generator.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut mix)) }
    }

    /// An independent generator: of this one's seed and `stream`.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut mix = stream;
        Self::new(seed ^ split_mix(&mut mix))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `0..bound`; 0 for an empty range.
    pub fn below(&mut self, bound: usize) -> usize {
        // Multiply-shift (Lemire 2019); its bias of bound / 2^64 is far below what a simulation can see.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Normal with mean 0 and variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Chi-squared with `degrees` of freedom.
    pub fn chi_squared(&mut self, degrees: usize) -> f64 {
        let pairs: f64 = (0..degrees / 2).map(|_| 2.0 * self.exponential()).sum();
        if degrees % 2 == 1 { pairs + self.normal().powi(2) } else { pairs }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 100_000;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / DRAWS as f64;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DRAWS as f64)
    }

    /// Reference output of xoshiro256++ for the state 1, 2, 3, 4 (first values of the authors' C code).
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut random = Random::new(7);
        for (draw, mean, variance) in [
            (Random::uniform as fn(&mut Random) -> f64, 0.5, 1.0 / 12.0),
            (Random::exponential, 1.0, 1.0),
            (Random::normal, 0.0, 1.0),
            (|random| random.chi_squared(5), 5.0, 10.0),
            (|random| random.below(10) as f64, 4.5, 8.25),
        ] {
            let (got_mean, got_variance) = moments(|| draw(&mut random));
            assert!((got_mean - mean).abs() < 0.03, "mean {got_mean} for {mean}");
            assert!((got_variance / variance - 1.0).abs() < 0.04, "variance {got_variance} for {variance}");
        }
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let mut one = Random::stream(1, 0);
        let mut other = Random::stream(1, 1);
        assert!((0..8).all(|_| one.bits() != other.bits()));
    }
}
