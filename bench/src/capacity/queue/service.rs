//! Service times as they were measured, to be drawn from.
//!
//! Owns the split of a measured time into what keeps a shard busy and what does not, and the drawing (Walker's alias method,
//! a draw in constant time). Never invents a shape: every draw is a measured time.

use hdrhistogram::Histogram;

use crate::stats::Rng;

/// Measured service times, split into occupancy of a shard and delay beside it.
///
/// A request takes `delay + l` where the shard is busy for `scale * l`: the network and the kernel add to every reply and
/// occupy no shard. With `delay` 0 and `scale` 1 all of it is occupancy.
#[derive(Clone, Debug)]
pub struct Service {
    /// Lowest and highest time of each class, nanoseconds.
    classes: Vec<(f64, f64)>,
    /// Walker's table: the chance to stay in the class drawn, and where to go otherwise.
    table: Vec<(f64, usize)>,
    delay: f64,
    scale: f64,
    mean: f64,
    variance: f64,
}

impl Service {
    /// All of the measured time keeps the shard busy. `None` without a measured time.
    #[must_use]
    pub fn whole(measured: &Histogram<u64>) -> Option<Self> {
        let classes: Vec<(f64, f64, u64)> = measured
            .iter_recorded()
            .map(|step| {
                let value = step.value_iterated_to();
                let [low, high] = [measured.lowest_equivalent(value), measured.highest_equivalent(value)];
                // The range of a histogram is cut at what was really seen.
                let high = high.min(measured.max());
                (low as f64, high.max(low) as f64, step.count_at_value())
            })
            .collect();
        let total: f64 = classes.iter().map(|(_, _, count)| *count as f64).sum();
        if total == 0.0 {
            return None;
        }
        let weighted = |of: &dyn Fn(f64, f64) -> f64| {
            classes.iter().map(|(low, high, count)| of(*low, *high) * *count as f64).sum::<f64>() / total
        };
        let mean = weighted(&|low, high| low.midpoint(high));
        // Second moment of a uniform class, less the squared mean.
        let second = weighted(&|low, high| (low * low + low * high + high * high) / 3.0);
        Some(Self {
            table: alias_table(
                &classes.iter().map(|(_, _, count)| *count as f64 / total).collect::<Vec<_>>(),
            ),
            classes: classes.into_iter().map(|(low, high, _)| (low, high)).collect(),
            delay: 0.0,
            scale: 1.0,
            mean,
            variance: (second - mean * mean).max(0.0),
        })
    }

    /// The same times where a shard can serve `rate` requests per second: whatever of the mean time exceeds `1 / rate` is
    /// delay. The constant part of the time is taken first, because a path adds the same to every reply; then the rest is
    /// shared out evenly.
    #[must_use]
    pub fn with_capacity(mut self, rate: f64) -> Self {
        let least = self.classes.iter().map(|(low, _)| *low).fold(f64::INFINITY, f64::min);
        let occupancy = (1e9 / rate).min(self.mean);
        self.delay = (self.mean - occupancy).clamp(0.0, least);
        let left = self.mean - self.delay;
        self.scale = if left > 0.0 { occupancy / left } else { 1.0 };
        self
    }

    /// Mean time that a request keeps a shard busy, nanoseconds.
    #[must_use]
    pub fn occupancy(&self) -> f64 {
        (self.mean - self.delay) * self.scale
    }

    /// Mean time of a request that finds no other, nanoseconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Squared coefficient of variation of the occupancy: 0 constant, 1 exponential.
    #[must_use]
    pub fn variation(&self) -> f64 {
        self.variance * self.scale.powi(2) / self.occupancy().powi(2).max(f64::MIN_POSITIVE)
    }

    /// Second moment of the occupancy, nanoseconds squared.
    pub(super) fn second_moment(&self) -> f64 {
        self.variance * self.scale.powi(2) + self.occupancy().powi(2)
    }

    /// A request: how long it keeps the shard busy, and how long it takes where it does not wait; nanoseconds.
    pub(super) fn draw(&self, rng: &mut Rng) -> (f64, f64) {
        let drawn = rng.below(self.table.len() as u64) as usize;
        let (stay, other) = self.table[drawn];
        let (low, high) = self.classes[if rng.uniform() < stay { drawn } else { other }];
        let whole = low + (high - low) * rng.uniform();
        ((whole - self.delay).max(0.0) * self.scale, whole)
    }
}

/// Walker's alias table (Vose 1991) of these shares, which add up to 1.
fn alias_table(shares: &[f64]) -> Vec<(f64, usize)> {
    let count = shares.len() as f64;
    let mut scaled: Vec<f64> = shares.iter().map(|share| share * count).collect();
    let mut table: Vec<(f64, usize)> = (0..shares.len()).map(|i| (1.0, i)).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..shares.len()).partition(|i| scaled[*i] < 1.0);
    while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
        small.pop();
        table[poor] = (scaled[poor], rich);
        scaled[rich] -= 1.0 - scaled[poor];
        if scaled[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::new_histogram;

    fn two_times() -> Histogram<u64> {
        let mut histogram = new_histogram();
        histogram.record_n(100_000, 900).expect("within bounds");
        histogram.record_n(1_000_000, 100).expect("within bounds");
        histogram
    }

    #[test]
    fn draws_have_the_measured_moments() {
        let service = Service::whole(&two_times()).expect("times");
        assert!((service.mean() / 190_000.0 - 1.0).abs() < 0.001);
        // Variance 0.09 * 900,000² over 190,000² is 2.02.
        assert!((service.variation() - 2.02).abs() < 0.01, "{}", service.variation());
        let mut rng = Rng::new(1);
        let draws: Vec<f64> = (0..100_000).map(|_| service.draw(&mut rng).0).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean / 190_000.0 - 1.0).abs() < 0.02, "{mean}");
        let long = draws.iter().filter(|draw| **draw > 500_000.0).count();
        assert!((9_500..10_500).contains(&long), "{long}");
    }

    #[test]
    fn what_exceeds_the_capacity_is_delay_before_it_is_scale() {
        let service = Service::whole(&two_times()).expect("times");
        // 140 µs of 190 are occupancy: 50 of the constant 100 are delay, the shape keeps its spread.
        let part = service.clone().with_capacity(1e9 / 140_000.0);
        assert!((part.occupancy() / 140_000.0 - 1.0).abs() < 0.001 && (part.scale - 1.0).abs() < 0.001);
        assert!((part.variation() / (2.02 * (190.0_f64 / 140.0).powi(2)) - 1.0).abs() < 0.01);
        // 45 µs: the constant 100 are all delay, and of the 90 that are left a half.
        let less = service.clone().with_capacity(1e9 / 45_000.0);
        assert!((less.occupancy() / 45_000.0 - 1.0).abs() < 0.01 && (less.scale - 0.5).abs() < 0.01);
        // A capacity below what the times themselves allow changes nothing.
        assert!((service.clone().with_capacity(1.0).occupancy() - service.mean()).abs() < 1.0);
    }

    #[test]
    fn a_draw_s_time_is_its_delay_and_its_occupancy() {
        let service = Service::whole(&two_times()).expect("times").with_capacity(1e9 / 140_000.0);
        let mut rng = Rng::new(2);
        for _ in 0..1_000 {
            let (occupancy, whole) = service.draw(&mut rng);
            assert!((whole - occupancy - 50_000.0).abs() < 200.0, "{whole} {occupancy}");
        }
    }

    #[test]
    fn nothing_measured_is_no_service() {
        assert!(Service::whole(&new_histogram()).is_none());
    }
}
