//! The Universal Scalability Law (Gunther): `X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))`.
//!
//! Owns the fit with its confidence, the residuals, and the warnings. Never extrapolates beyond twice the largest size
//! measured, and never shows a coefficient without its interval.
//!
//! Least squares are taken of `ln X`: errors of throughput are proportional to it over two orders of magnitude, so on plain `X`
//! the largest size alone would decide.
//!
//! Intervals come from a parametric bootstrap of the *unconstrained* fit: new data are drawn around it with normal errors, the
//! error's own size drawn from its scaled chi-squared distribution, because with a handful of sizes it is hardly known. The
//! interval is then cut at zero. A bootstrap of the constrained fit would be inconsistent where a coefficient is zero (Andrews,
//! Econometrica 2000), which is just where good systems are. Residuals are not resampled: of six sizes they are too few.

mod fit;
#[cfg(test)]
mod tests;
mod warnings;

use serde::Serialize;

use crate::stats::Rng;
use fit::{Coefficients, Point, constrained, slowdown, unconstrained};
pub use warnings::Warning;

/// Times the largest size that a prediction may reach.
pub const EXTRAPOLATION_MAX: f64 = 2.0;
/// Bootstrap draws of a plan.
pub const DRAWS: usize = 2_000;
/// Least measurements: three coefficients and one to see the error by.
const POINTS_MIN: usize = 4;
/// Most measurements.
const POINTS_MAX: usize = 10_000;
/// Probabilities of the two ends of an interval.
const ENDS: [f64; 2] = [0.025, 0.975];

/// Why there is no fit, or no prediction.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum UslError {
    /// Not enough to fit by.
    #[error(
        "{points} measurements at {sizes} sizes; the law needs at least 4 at 3 different sizes: measure more sizes"
    )]
    TooFew {
        /// Measurements.
        points: usize,
        /// Different sizes among them.
        sizes: usize,
    },
    /// A measurement makes no sense.
    #[error("a throughput of {throughput} at size {size}; sizes are at least 1 and throughputs above 0")]
    Figure {
        /// The size.
        size: f64,
        /// The throughput.
        throughput: f64,
    },
    /// Too far from what was measured.
    #[error(
        "size {size} is more than twice the largest one measured ({largest}): the law misses by 15 to 41 % already there; \
         measure up to {needed}"
    )]
    Extrapolation {
        /// Asked.
        size: f64,
        /// Largest measured.
        largest: f64,
        /// Largest size to be measured for it.
        needed: f64,
    },
}

/// What is known of the processors behind the sizes, for warnings about knees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knees {
    /// Physical cores: beyond them a thread shares its core with another.
    pub cores: Option<u32>,
    /// Cores of one NUMA node: beyond them memory is remote.
    pub node_cores: Option<u32>,
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The fit's.
    pub value: f64,
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// 2.5 % are above; `None` is unbounded.
    pub high: Option<f64>,
}

/// Where throughput is highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summit {
    /// Size N*; `None` where throughput only ever grows.
    pub size: Option<f64>,
    /// Its interval: low, and high where it is bounded.
    pub size_interval: (Option<f64>, Option<f64>),
    /// Throughput X* there; `None` where N* lies beyond what may be extrapolated.
    pub throughput: Option<Estimate>,
}

/// One measurement beside the fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Residual {
    /// N.
    pub size: f64,
    /// Measured.
    pub throughput: f64,
    /// By the fit.
    pub fitted: f64,
    /// Measured over fitted, less 1.
    pub relative: f64,
    /// Throughput over `lambda N`: what is left of perfect scaling.
    pub efficiency: f64,
}

/// A fit.
#[derive(Clone, Debug, Serialize)]
pub struct Usl {
    /// Throughput of one.
    pub lambda: Estimate,
    /// Contention.
    pub sigma: Estimate,
    /// Coherency: what makes throughput fall.
    pub kappa: Estimate,
    /// Share of the variance of `ln X` that the fit explains.
    pub r_squared: f64,
    /// The highest throughput.
    pub summit: Summit,
    /// Every measurement.
    pub residuals: Vec<Residual>,
    /// What to beware of.
    pub warnings: Vec<Warning>,
    /// Largest size measured.
    pub largest: f64,
    #[serde(skip)]
    fit: Coefficients,
    #[serde(skip)]
    draws: Vec<Coefficients>,
}

impl Usl {
    /// Fits measurements of size and throughput; several of one size are welcome.
    ///
    /// # Errors
    /// Too few measurements, or figures that make no sense.
    pub fn fit(points: &[(f64, f64)], knees: Knees, seed: u64, draws: usize) -> Result<Self, UslError> {
        let points = checked(points)?;
        let fit = constrained(&points);
        let draws = bootstrap(&points, seed, draws);
        let largest = points.iter().map(|(n, _)| *n).fold(1.0, f64::max);
        let interval = |value: f64, floor: f64, of: &dyn Fn(&Coefficients) -> f64| {
            let ends = ends(draws.iter().map(of));
            // An interval that left out its own estimate would help nobody.
            let [low, high] = [ends[0].max(floor).min(value), ends[1].max(value)];
            Estimate { value, low, high: high.is_finite().then_some(high) }
        };
        let mut usl = Self {
            lambda: interval(fit.ln_lambda.exp(), 0.0, &|draw| draw.ln_lambda.exp()),
            sigma: interval(fit.sigma, 0.0, &|draw| draw.sigma),
            kappa: interval(fit.kappa, 0.0, &|draw| draw.kappa),
            r_squared: r_squared(&points, &fit),
            summit: summit(&fit, &draws, largest),
            residuals: points.iter().map(|point| residual(&fit, *point)).collect(),
            warnings: Vec::new(),
            largest,
            fit,
            draws,
        };
        usl.warnings = warnings::all(&usl, &points, knees);
        Ok(usl)
    }

    /// Throughput at `size`, with the interval of the fit (not of a single measurement).
    ///
    /// # Errors
    /// [`UslError::Extrapolation`] beyond [`EXTRAPOLATION_MAX`] times the largest size measured, [`UslError::Figure`] below 1.
    pub fn predict(&self, size: f64) -> Result<Estimate, UslError> {
        if size.is_nan() || size < 1.0 {
            return Err(UslError::Figure { size, throughput: f64::NAN });
        }
        if size > self.largest * EXTRAPOLATION_MAX {
            let needed = (size / EXTRAPOLATION_MAX).ceil();
            return Err(UslError::Extrapolation { size, largest: self.largest, needed });
        }
        Ok(estimate_at(&self.fit, &self.draws, size))
    }
}

fn estimate_at(fit: &Coefficients, draws: &[Coefficients], size: f64) -> Estimate {
    let value = fit.ln_throughput(size).exp();
    // A draw whose denominator is not positive there says that throughput has no bound.
    let [low, high] = ends(draws.iter().map(|draw| {
        let ln = draw.ln_throughput(size);
        if ln.is_nan() { f64::INFINITY } else { ln.exp() }
    }));
    let high = high.max(value);
    Estimate { value, low: low.min(value), high: high.is_finite().then_some(high) }
}

fn checked(points: &[(f64, f64)]) -> Result<Vec<Point>, UslError> {
    let bad = points.iter().find(|(n, x)| !(n.is_finite() && x.is_finite() && *n >= 1.0 && *x > 0.0));
    if let Some(&(size, throughput)) = bad {
        return Err(UslError::Figure { size, throughput });
    }
    let mut sorted: Vec<Point> = points.iter().take(POINTS_MAX).copied().collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sizes = 1 + sorted.windows(2).filter(|pair| pair[0].0 < pair[1].0).count();
    if sorted.len() < POINTS_MIN || sizes < 3 {
        return Err(UslError::TooFew { points: sorted.len(), sizes: sizes.min(sorted.len()) });
    }
    Ok(sorted)
}

/// Coefficients of as many new data sets as asked, each as likely as the measured one.
fn bootstrap(points: &[Point], seed: u64, draws: usize) -> Vec<Coefficients> {
    let fit = unconstrained(points);
    let degrees = points.len() - 3;
    let squares = fit.squares(points);
    let mut rng = Rng::new(seed);
    let mut new = points.to_vec();
    let mut draw = || {
        let spread = (squares / chi_squared(&mut rng, degrees).max(f64::MIN_POSITIVE)).sqrt();
        for (new, (n, _)) in new.iter_mut().zip(points) {
            new.1 = (fit.ln_throughput(*n) + spread * rng.normal()).clamp(-700.0, 700.0).exp();
        }
        unconstrained(&new)
    };
    (0..draws).map(|_| draw()).collect()
}

fn chi_squared(rng: &mut Rng, degrees: usize) -> f64 {
    let pairs: f64 = (0..degrees / 2).map(|_| rng.exponential(2.0)).sum();
    if degrees % 2 == 1 { pairs + rng.normal().powi(2) } else { pairs }
}

/// The two ends of the middle 95 %, infinite values last.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    ENDS.map(|share| sorted.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN))
}

fn summit_size(fit: &Coefficients) -> f64 {
    if fit.kappa <= 0.0 { f64::INFINITY } else { ((1.0 - fit.sigma).max(0.0) / fit.kappa).sqrt().max(1.0) }
}

fn summit(fit: &Coefficients, draws: &[Coefficients], largest: f64) -> Summit {
    let bounded = |size: f64| size.is_finite().then_some(size);
    let size = summit_size(fit);
    let [low, high] = ends(draws.iter().map(summit_size));
    let within = size <= largest * EXTRAPOLATION_MAX;
    Summit {
        size: bounded(size),
        size_interval: (bounded(low.min(size)), bounded(high.max(size))),
        throughput: within.then(|| estimate_at(fit, draws, size)),
    }
}

fn residual(fit: &Coefficients, (size, throughput): Point) -> Residual {
    let fitted = fit.ln_throughput(size).exp();
    Residual {
        size,
        throughput,
        fitted,
        relative: throughput / fitted - 1.0,
        efficiency: throughput / (fit.ln_lambda.exp() * size),
    }
}

fn r_squared(points: &[Point], fit: &Coefficients) -> f64 {
    let mean = points.iter().map(|(_, x)| x.ln()).sum::<f64>() / points.len() as f64;
    let total: f64 = points.iter().map(|(_, x)| (x.ln() - mean).powi(2)).sum();
    if total > 0.0 { 1.0 - fit.squares(points) / total } else { 0.0 }
}

/// The law of these coefficients, for tests and plots.
#[must_use]
pub fn throughput(size: f64, lambda: f64, sigma: f64, kappa: f64) -> f64 {
    lambda * size / slowdown(size, sigma, kappa)
}
