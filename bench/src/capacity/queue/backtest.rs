//! Does the model hold? Calibrated on some load steps of a real run, it predicts the others.
//!
//! Owns the split into calibration and held-out steps, the calibration of the one figure that cannot be measured from outside
//! (how long a request keeps a shard busy), and the comparison. Never calibrates on a step that it is judged by.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::service::Service;
use super::simulate::{Effort, Model, Prediction, predict};

/// A step that achieved less of its offered rate has no steady state to predict.
const STEADY_SHARE: f64 = 0.97;
/// Utilisations of the highest calibration step that are tried first.
const GRID: u32 = 16;
/// Halvings of the search around the best of them.
const REFINEMENTS: u32 = 8;
/// Least steps: two to calibrate by and one to predict.
const STEPS_MIN: usize = 3;

/// A load step as it was measured.
#[derive(Clone, Debug)]
pub struct LoadStep {
    /// Requests per second offered, Poisson arrivals.
    pub offered_per_s: f64,
    /// Good replies per second.
    pub achieved_per_s: f64,
    /// From the intended start, nanoseconds.
    pub response: Histogram<u64>,
}

/// One step, measured and predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BacktestRow {
    /// Requests per second offered.
    pub offered_per_s: f64,
    /// Whether the calibration did not see it.
    pub held_out: bool,
    /// p99 measured, milliseconds.
    pub measured_p99_ms: f64,
    /// p99 predicted.
    pub predicted: Prediction,
    /// Predicted over measured.
    pub ratio: Option<f64>,
}

/// What the model came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backtest {
    /// Mean time that a request keeps a shard busy, as calibrated, microseconds.
    pub occupancy_us: f64,
    /// Mean time of a request at low load, microseconds.
    pub service_us: f64,
    /// Squared coefficient of variation of the occupancy.
    pub variation: f64,
    /// Requests per second that all shards together can serve, by the calibration.
    pub capacity_per_s: f64,
    /// Every steady step, ascending.
    pub rows: Vec<BacktestRow>,
    /// Geometric mean of how far off the held-out steps are, as a factor of at least 1.
    pub off_by: Option<f64>,
    /// Steps left out because the server did not keep up.
    pub unsteady: usize,
}

/// Why the model cannot be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// Too few steps that the server kept up with.
    #[error("{steady} load steps are steady, the back-test needs 3: take more steps or lower rates")]
    TooFew {
        /// How many.
        steady: usize,
    },
    /// Nothing was answered at low load.
    #[error("no service time was measured at low load")]
    NoService,
}

/// Calibrates on every other step, the first and the last steady one included where their number is odd, and predicts all.
///
/// `low_load` are the service times at a load so low that hardly a request waits.
///
/// # Errors
/// Too few steady steps, or no service time.
pub fn backtest(
    low_load: &Histogram<u64>,
    steps: &[LoadStep],
    model: &Model,
    effort: Effort,
) -> Result<(Backtest, Service), BacktestError> {
    let whole = Service::whole(low_load).ok_or(BacktestError::NoService)?;
    let answered = |step: &&LoadStep| !step.response.is_empty();
    let keeps_up = |step: &&LoadStep| step.achieved_per_s >= STEADY_SHARE * step.offered_per_s;
    let mut steady: Vec<&LoadStep> = steps.iter().filter(answered).filter(keeps_up).collect();
    steady.sort_by(|a, b| a.offered_per_s.total_cmp(&b.offered_per_s));
    if steady.len() < STEPS_MIN {
        return Err(BacktestError::TooFew { steady: steady.len() });
    }
    let held_out = |index: usize| index % 2 == 1;
    let training: Vec<&LoadStep> =
        steady.iter().enumerate().filter(|(i, _)| !held_out(*i)).map(|(_, step)| *step).collect();
    let service = calibrate(&whole, &training, model, effort.calibration());
    let rows: Vec<BacktestRow> =
        steady.iter().enumerate().map(|(i, step)| row(step, held_out(i), &service, model, effort)).collect();
    let logs: Vec<f64> = rows
        .iter()
        .filter(|row| row.held_out)
        .filter_map(|row| row.ratio)
        .map(|ratio| ratio.ln().abs())
        .collect();
    let backtest = Backtest {
        occupancy_us: service.occupancy() / 1e3,
        service_us: service.mean() / 1e3,
        variation: service.variation(),
        capacity_per_s: f64::from(model.shards.max(1)) * 1e9 / service.occupancy(),
        off_by: (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp()),
        unsteady: steps.len() - steady.len(),
        rows,
    };
    Ok((backtest, service))
}

fn row(step: &LoadStep, held_out: bool, service: &Service, model: &Model, effort: Effort) -> BacktestRow {
    let measured_p99_ms = step.response.value_at_quantile(0.99) as f64 / 1e6;
    let predicted = predict(service, model, step.offered_per_s, effort);
    let ratio = predicted.p99.value_ms.map(|value| value / measured_p99_ms);
    BacktestRow { offered_per_s: step.offered_per_s, held_out, measured_p99_ms, predicted, ratio }
}

/// The occupancy with which the calibration steps' p99 fit best, by least squares of their logarithms: a grid over the
/// utilisation of the highest step, then halving around the best. The same seed everywhere, so that only the occupancy differs.
fn calibrate(whole: &Service, training: &[&LoadStep], model: &Model, effort: Effort) -> Service {
    let top = training.iter().map(|step| step.offered_per_s).fold(1.0, f64::max);
    let shards = f64::from(model.shards.max(1));
    let service_at = |utilisation: f64| whole.clone().with_capacity(top / shards / utilisation);
    let misfit = |utilisation: f64| -> f64 {
        let service = service_at(utilisation);
        let off = training.iter().map(|step| {
            let measured = step.response.value_at_quantile(0.99) as f64 / 1e6;
            // An overloaded shard under a step that was steady: as wrong as a factor of a thousand.
            let predicted = predict(&service, model, step.offered_per_s, effort).p99.value_ms;
            predicted.map_or(1e3_f64.ln(), |value| (value / measured).ln()).powi(2)
        });
        off.sum()
    };
    // Denser towards full: 1 - (1 - x)^2.
    let grid = (1..=GRID).map(|i| 1.0 - (1.0 - f64::from(i) / f64::from(GRID + 1)).powi(2));
    let scored: Vec<(f64, f64)> = grid.map(|utilisation| (utilisation, misfit(utilisation))).collect();
    let best = scored.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let Some(mut best) = best else { return whole.clone() };
    let mut reach = (1.0 - best.0) / 2.0;
    for _ in 0..REFINEMENTS {
        for candidate in [best.0 - reach, best.0 + reach] {
            let candidate = candidate.clamp(0.001, 0.999);
            let score = misfit(candidate);
            if score < best.1 {
                best = (candidate, score);
            }
        }
        reach /= 2.0;
    }
    service_at(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::queue::Placement;
    use crate::load::new_histogram;
    use crate::stats::Rng;

    const MODEL: Model = Model { shards: 1, connections: 64, placement: Placement::LeastLoaded };
    const EFFORT: Effort = Effort { placements: 4, requests: 40_000, seed: 5 };

    /// A path of 300 µs and a server that needs 80 µs or, one time in ten, 400: 112 µs on average, 8,900 requests/s at most.
    fn request(rng: &mut Rng) -> (f64, f64) {
        let busy = if rng.uniform() < 0.1 { 400_000.0 } else { 80_000.0 };
        (busy, 300_000.0 + busy)
    }

    fn step(rate: f64, seed: u64) -> LoadStep {
        let mut rng = Rng::new(seed);
        let mut response = new_histogram();
        let mut wait = 0.0;
        for _ in 0..100_000 {
            let (busy, whole) = request(&mut rng);
            response.saturating_record((wait + whole) as u64);
            wait = f64::max(wait + busy - rng.exponential(1e9 / rate), 0.0);
        }
        LoadStep { offered_per_s: rate, achieved_per_s: rate, response }
    }

    fn low_load() -> Histogram<u64> {
        let mut rng = Rng::new(9);
        let mut service = new_histogram();
        (0..20_000).for_each(|_| service.saturating_record(request(&mut rng).1 as u64));
        service
    }

    #[test]
    fn held_out_steps_of_a_known_server_are_predicted() {
        let rates = [1_800.0, 3_600.0, 5_300.0, 6_200.0, 7_100.0];
        let steps: Vec<LoadStep> = (0_u64..).zip(rates).map(|(seed, rate)| step(rate, seed)).collect();
        let (found, service) = backtest(&low_load(), &steps, &MODEL, EFFORT).expect("steady steps");
        println!("occupancy {:.1} µs, off by {:?}", found.occupancy_us, found.off_by);
        assert!((found.occupancy_us / 112.0 - 1.0).abs() < 0.08, "{}", found.occupancy_us);
        assert!((service.mean() / 412_000.0 - 1.0).abs() < 0.02);
        let held: Vec<f64> =
            found.rows.iter().filter(|row| row.held_out).map(|row| row.offered_per_s).collect();
        assert_eq!(held, [3_600.0, 6_200.0]);
        assert!(found.off_by.expect("held-out steps") < 1.15, "{:?}", found.rows);
    }

    #[test]
    fn a_wrong_model_shows() {
        let rates = [1_800.0, 3_600.0, 5_300.0, 6_200.0, 7_100.0];
        let mut steps: Vec<LoadStep> = (0_u64..).zip(rates).map(|(seed, rate)| step(rate, seed)).collect();
        // A stall of the server: no arrival explains it, so the model cannot, and says by how much.
        steps[3].response.record_n(80_000_000, 4_000).expect("within bounds");
        let (found, _) = backtest(&low_load(), &steps, &MODEL, EFFORT).expect("steady steps");
        assert!(found.off_by.expect("held-out steps") > 2.0, "{found:?}");
    }

    #[test]
    fn steps_that_the_server_did_not_keep_up_with_are_left_out() {
        let mut steps: Vec<LoadStep> = [1_800.0, 3_600.0, 5_300.0].map(|rate| step(rate, 1)).to_vec();
        steps[2].achieved_per_s = 5_000.0;
        let error = backtest(&low_load(), &steps, &MODEL, EFFORT).expect_err("two steady steps");
        assert_eq!(error, BacktestError::TooFew { steady: 2 });
        let error = backtest(&new_histogram(), &steps, &MODEL, EFFORT).expect_err("no service");
        assert_eq!(error, BacktestError::NoService);
    }
}
