//! Statistics of measurements: intervals, sample sizes, tests of arrivals, laws that must hold.
//!
//! Pure functions of their arguments; what is random takes a seed. Never measures, never prints, never judges: limits
//! are the certificate's.

mod arrivals;
mod bootstrap;
mod dispersion;
mod little;
mod order;
mod rng;

pub use arrivals::{ConstantGaps, ExponentialGaps, constant_gaps, exponential_gaps};
pub use bootstrap::{RESAMPLES_MAX, bootstrap};
pub use dispersion::design_effect;
pub use little::{Little, little};
pub use order::{
    Ranks, Support, quantile_rank, rank_interval, samples_enough, samples_least, values_at_ranks,
};
pub use rng::Rng;

/// Confidence of every interval that is printed.
pub const CONFIDENCE: f64 = 0.95;
