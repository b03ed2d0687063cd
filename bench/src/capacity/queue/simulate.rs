//! Response times of `c` independent M/G/1 queues by simulation.
//!
//! Owns Lindley's recursion over drawn service times, once for each placement of the connections. Bounded in draws; pure and
//! seeded. Never reports a shard that cannot keep up as slow: it says that it is overloaded.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::closed::{mmc_quantile, pollaczek_khinchine};
use super::placement::{Placement, place};
use super::service::Service;
use crate::load::new_histogram;
use crate::stats::Rng;

/// Part of each shard's draws that is thrown away: the queue starts empty.
const WARMUP_SHARE: f64 = 0.1;
/// Least draws of a shard.
const SHARD_DRAWS_MIN: usize = 200;

/// A system whose response times are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Model {
    /// Shards.
    pub shards: u32,
    /// Connections spread over them, each with the same rate.
    pub connections: u32,
    /// How they are spread.
    pub placement: Placement,
}

/// How much to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Placements, each simulated apart: their spread gives the intervals.
    pub placements: u32,
    /// Requests of each.
    pub requests: usize,
    /// Of everything.
    pub seed: u64,
}

impl Effort {
    /// Of a plan: a million requests for each prediction.
    pub const FULL: Self = Self { placements: 20, requests: 50_000, seed: 1 };
    /// A twentieth of that, for a look.
    pub const QUICK: Self = Self { placements: 4, requests: 12_500, seed: 1 };

    /// Of one step of a calibration, where many are needed and only their differences count.
    pub(super) fn calibration(self) -> Self {
        Self { placements: self.placements.div_ceil(5), requests: self.requests.div_ceil(2), ..self }
    }
}

/// A quantile over all placements, and the middle 95 % of the placements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Of all requests of all placements, milliseconds; `None` where a shard is overloaded in half of the placements.
    pub value_ms: Option<f64>,
    /// 2.5 % of the placements are better.
    pub low_ms: Option<f64>,
    /// 2.5 % are worse; `None` where those are overloaded.
    pub high_ms: Option<f64>,
}

/// Response times that the model expects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Requests per second offered.
    pub rate_per_s: f64,
    /// Of the shards, were they even.
    pub utilisation: f64,
    /// Hottest shard over mean, average of the placements.
    pub imbalance: f64,
    /// Utilisation of the hottest shard, average of the placements.
    pub hottest: f64,
    /// Share of the placements in which a shard cannot keep up.
    pub overloaded_share: f64,
    /// Median.
    pub p50: Spread,
    /// See `p50`.
    pub p99: Spread,
    /// 99.9 %.
    pub p999: Spread,
    /// Mean of the simulation, milliseconds.
    pub mean_ms: f64,
    /// Mean by Pollaczek's and Khinchine's formula: close to `mean_ms`, or the simulation was too short.
    pub formula_mean_ms: f64,
    /// p99 of M/M/c with the same mean service time, milliseconds: what one shared queue would do.
    pub mmc_p99_ms: Option<f64>,
    /// How many times too hopeful M/M/c is.
    pub mmc_hopeful: Option<f64>,
}

/// What one placement came to.
struct Draw {
    imbalance: f64,
    hottest: f64,
    /// `None` when a shard cannot keep up.
    response: Option<Histogram<u64>>,
    mean: f64,
    formula: f64,
}

/// Predicts the response times at `rate` requests per second.
#[must_use]
pub fn predict(service: &Service, model: &Model, rate: f64, effort: Effort) -> Prediction {
    let draws: Vec<Draw> = (0..effort.placements.max(1))
        .map(|i| {
            // Apart by more than a placement uses, so that no two see the same numbers.
            let mut rng = Rng::new(effort.seed.wrapping_mul(0xd134_2543_de82_ef95) ^ (u64::from(i) << 40));
            draw(service, model, rate, effort.requests, &mut rng)
        })
        .collect();
    let count = draws.len() as f64;
    let mean = |of: fn(&Draw) -> f64| draws.iter().map(of).sum::<f64>() / count;
    let steady: Vec<&Draw> = draws.iter().filter(|draw| draw.response.is_some()).collect();
    let steady_mean =
        |of: fn(&Draw) -> f64| steady.iter().map(|d| of(d)).sum::<f64>() / steady.len() as f64 / 1e6;
    let overloaded_share = 1.0 - steady.len() as f64 / count;
    let per_shard = rate / f64::from(model.shards.max(1));
    let utilisation = per_shard * service.occupancy() / 1e9;
    let p99 = spread(&draws, 0.99);
    let servers = model.shards.max(1);
    let mmc = mmc_quantile(servers, utilisation * f64::from(servers), 0.99) * service.occupancy();
    let mmc_p99 = (mmc + service.mean() - service.occupancy()) / 1e6;
    let mmc_p99_ms = mmc_p99.is_finite().then_some(mmc_p99);
    Prediction {
        rate_per_s: rate,
        utilisation,
        imbalance: mean(|draw| draw.imbalance),
        hottest: mean(|draw| draw.hottest),
        overloaded_share,
        p50: spread(&draws, 0.5),
        p99,
        p999: spread(&draws, 0.999),
        mean_ms: steady_mean(|draw| draw.mean),
        formula_mean_ms: steady_mean(|draw| draw.formula),
        mmc_p99_ms,
        mmc_hopeful: p99.value_ms.zip(mmc_p99_ms).map(|(own, mmc)| own / mmc),
    }
}

fn draw(service: &Service, model: &Model, rate: f64, requests: usize, rng: &mut Rng) -> Draw {
    let counts = place(model.placement, model.connections, model.shards, rng);
    let total: u32 = counts.iter().sum();
    let shares: Vec<f64> = counts.iter().map(|count| f64::from(*count) / f64::from(total.max(1))).collect();
    let hottest_share = shares.iter().copied().fold(0.0, f64::max);
    let hottest = hottest_share * rate * service.occupancy() / 1e9;
    let imbalance = hottest_share * shares.len() as f64;
    if hottest >= 1.0 {
        return Draw { imbalance, hottest, response: None, mean: f64::NAN, formula: f64::NAN };
    }
    let mut response = new_histogram();
    let mut sum = 0.0;
    let mut formula = 0.0;
    for share in shares.into_iter().filter(|share| *share > 0.0) {
        // A cold shard is drawn as often as it is asked, but never so rarely that its queue has no time to form; its
        // requests then count for less.
        let due = (share * requests as f64).round() as usize;
        let drawn = due.max(SHARD_DRAWS_MIN);
        let mean = lindley(service, share * rate / 1e9, drawn, due.max(1), &mut response, rng);
        sum += share * mean;
        formula +=
            share * pollaczek_khinchine(share * rate / 1e9, service.occupancy(), service.second_moment());
    }
    Draw { imbalance, hottest, response: Some(response), mean: sum, formula: formula + service.mean() }
}

/// One shard: `drawn` requests after a warm-up, of which `kept` are recorded. Returns their mean response, nanoseconds.
///
/// Lindley (1952): the next request waits for what is left of this one's wait and service when it arrives.
fn lindley(
    service: &Service,
    rate_per_ns: f64,
    drawn: usize,
    kept: usize,
    into: &mut Histogram<u64>,
    rng: &mut Rng,
) -> f64 {
    let warmup = (drawn as f64 * WARMUP_SHARE) as usize;
    let gap = 1.0 / rate_per_ns;
    let mut wait = 0.0;
    let mut sum = 0.0;
    for i in 0..warmup + drawn {
        let (occupancy, whole) = service.draw(rng);
        if i >= warmup {
            sum += wait + whole;
            if i - warmup < kept {
                into.saturating_record((wait + whole) as u64);
            }
        }
        wait = (wait + occupancy - rng.exponential(gap)).max(0.0);
    }
    sum / drawn as f64
}

/// A quantile over the placements, the overloaded ones last.
fn spread(draws: &[Draw], quantile: f64) -> Spread {
    let mut all = new_histogram();
    let mut each: Vec<f64> = Vec::with_capacity(draws.len());
    for draw in draws {
        match &draw.response {
            Some(response) => {
                // Histograms of the same bounds always add.
                let _ = all.add(response);
                each.push(response.value_at_quantile(quantile) as f64 / 1e6);
            }
            None => each.push(f64::INFINITY),
        }
    }
    each.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (each.len() - 1) as f64).round() as usize;
        each.get(index).copied().filter(|value| value.is_finite())
    };
    let overloaded = each.iter().filter(|value| value.is_infinite()).count();
    let value = (2 * overloaded < each.len()).then(|| all.value_at_quantile(quantile) as f64 / 1e6);
    Spread { value_ms: value, low_ms: at(0.025), high_ms: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponential service of 100 µs, as a measured histogram would have it.
    pub(in crate::capacity) fn exponential() -> Service {
        let mut histogram = new_histogram();
        for i in 0..200_000 {
            let time = -100_000.0 * (1.0 - (f64::from(i) + 0.5) / 200_000.0).ln();
            histogram.saturating_record(time as u64);
        }
        Service::whole(&histogram).expect("times")
    }

    fn constant() -> Service {
        let mut histogram = new_histogram();
        histogram.record_n(100_000, 10).expect("within bounds");
        Service::whole(&histogram).expect("times")
    }

    const ONE: Model = Model { shards: 1, connections: 64, placement: Placement::Random };
    const EFFORT: Effort = Effort { placements: 8, requests: 60_000, seed: 3 };

    /// p99 of M/M/1 is ln(100) / (1 - rho) service times: 15.4 at 70 %, 23.0 at 80 %.
    #[test]
    fn one_exponential_queue_is_m_m_1() {
        let service = exponential();
        for (utilisation, p99, tolerance) in [(0.5, 9.21, 0.03), (0.7, 15.4, 0.04), (0.8, 23.0, 0.06)] {
            let found = predict(&service, &ONE, utilisation * 10_000.0, EFFORT);
            let times = found.p99.value_ms.expect("steady") * 10.0;
            assert!((times / p99 - 1.0).abs() < tolerance, "rho {utilisation}: {times}, known {p99}");
            let median = found.p50.value_ms.expect("steady") * 10.0;
            assert!((median / (2_f64.ln() / (1.0 - utilisation)) - 1.0).abs() < tolerance, "{median}");
            assert!((found.mean_ms / found.formula_mean_ms - 1.0).abs() < 0.05, "{found:?}");
            assert!((found.utilisation - utilisation).abs() < 0.001);
        }
    }

    /// M/D/1 waits half as long as M/M/1 on average: response 1 + rho / (2 (1 - rho)) service times.
    #[test]
    fn one_queue_of_constant_service_is_m_d_1() {
        let service = constant();
        let found = predict(&service, &ONE, 8_000.0, EFFORT);
        assert!((found.mean_ms * 10.0 / 3.0 - 1.0).abs() < 0.03, "{}", found.mean_ms);
        assert!((found.formula_mean_ms * 10.0 / 3.0 - 1.0).abs() < 0.01, "{}", found.formula_mean_ms);
    }

    /// Sixteen shards are sixteen queues, each as slow as one: M/M/16 is three to five times too hopeful.
    #[test]
    fn shards_are_queues_of_their_own() {
        let model = Model { shards: 16, connections: 16_000, placement: Placement::LeastLoaded };
        let effort = Effort { placements: 4, requests: 160_000, seed: 3 };
        let found = predict(&exponential(), &model, 0.7 * 160_000.0, effort);
        let times = found.p99.value_ms.expect("steady") * 10.0;
        assert!((times / 15.4 - 1.0).abs() < 0.06, "{times}");
        let hopeful = found.mmc_hopeful.expect("both are steady");
        assert!((3.1..3.6).contains(&hopeful), "{hopeful}");
    }

    #[test]
    fn an_uneven_placement_is_slower_and_may_overload_a_shard() {
        let even = Model { shards: 8, connections: 64, placement: Placement::LeastLoaded };
        let uneven = Model { placement: Placement::Random, ..even };
        let effort = Effort { placements: 20, requests: 20_000, seed: 3 };
        let [good, bad] = [even, uneven].map(|model| predict(&exponential(), &model, 40_000.0, effort));
        assert!(bad.imbalance > 1.4 && good.imbalance < 1.25, "{} {}", bad.imbalance, good.imbalance);
        let [good_p99, bad_p99] = [good, bad].map(|found| found.p99.value_ms.expect("steady"));
        assert!(bad_p99 > 1.3 * good_p99, "{bad_p99} {good_p99}");
        assert!(bad.p99.high_ms.expect("steady") > 1.5 * bad.p99.low_ms.expect("steady"));
        let full = predict(&exponential(), &uneven, 72_000.0, effort);
        assert!(full.overloaded_share > 0.5, "{}", full.overloaded_share);
        assert_eq!((full.p99.value_ms, full.p99.high_ms), (None, None));
    }

    #[test]
    fn delay_is_added_once_and_does_not_queue() {
        let mut histogram = new_histogram();
        for i in 0..100_000 {
            let time = -100_000.0 * (1.0 - (f64::from(i) + 0.5) / 100_000.0).ln();
            histogram.saturating_record(1_000_000 + time as u64);
        }
        // A path of 1 ms, then exponential service of 100 µs.
        let service = Service::whole(&histogram).expect("times").with_capacity(10_000.0);
        let found = predict(&service, &ONE, 7_000.0, EFFORT);
        let p99 = found.p99.value_ms.expect("steady");
        assert!((p99 / (1.0 + 1.54) - 1.0).abs() < 0.04, "{p99}");
    }

    #[test]
    fn the_same_seed_gives_the_same_prediction() {
        let service = exponential();
        let [one, same] =
            [3, 3].map(|seed| predict(&service, &ONE, 7_000.0, Effort { seed, ..Effort::QUICK }));
        assert_eq!(one, same);
        let other = predict(&service, &ONE, 7_000.0, Effort { seed: 4, ..Effort::QUICK });
        assert_ne!(one.mean_ms, other.mean_ms);
    }
}
