//! Which loads bound the answer, and which one to try next.
//!
//! Owns the choice. Pure: trials in, a rate out. Every chosen rate is measured until it is decided, which takes a bounded
//! number of trials, so that each stage ends.

use std::time::Duration;

use super::classify::{Class, Target, classify};
use super::{Met, SearchSpec};

/// Factor of the first range finding.
const RANGE_FACTOR: f64 = 2.0;
/// Largest factor of a later one, where a spoiled trial has misled the stages before.
const EXPANSION_FACTOR_MAX: f64 = 4.0;
/// Significant digits of a rate: enough for any width that makes sense, and the same load is met again.
const RATE_DIGITS: i32 = 4;

/// A trial as the search keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Requests per second, rounded: loads are equal when their rates are.
    pub(super) rate: f64,
    /// As asked.
    pub(super) duration: Duration,
    /// Good replies per second.
    pub(super) achieved: f64,
    /// Requests that ended.
    pub(super) samples: u64,
    /// Goals met.
    pub(super) met: Met,
    /// The generator spoiled it: it says nothing.
    pub(super) spoiled: bool,
}

/// Relevant bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    /// Highest lower bound below `upper`.
    pub(super) lower: Option<f64>,
    /// Lowest upper bound.
    pub(super) upper: Option<f64>,
}

impl Bounds {
    /// Of these trials, for the goals in `mask`.
    pub(super) fn of(samples: &[Sample], mask: u16, target: &Target) -> Self {
        let classes = classes(samples, mask, target);
        let upper = classes.iter().find(|(_, class)| *class == Class::Upper).map(|(rate, _)| *rate);
        let below = classes.iter().rev().filter(|(rate, _)| upper.is_none_or(|upper| *rate < upper));
        let lower = below.into_iter().find(|(_, class)| *class == Class::Lower).map(|(rate, _)| *rate);
        Self { lower, upper }
    }

    /// Whether a later stage that wants to try `rate` has found these bounds wrong.
    pub(super) fn misled(&self, rate: f64) -> bool {
        self.lower.is_some_and(|lower| rate < lower) || self.upper.is_some_and(|upper| rate > upper)
    }
}

/// Every load with its class, ascending; one that was only spoiled is undecided.
fn classes(samples: &[Sample], mask: u16, target: &Target) -> Vec<(f64, Class)> {
    let mut rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let class = |rate: f64| {
        let own = samples.iter().filter(|sample| sample.rate == rate && !sample.spoiled);
        classify(own.map(|sample| (sample.duration, sample.met.all_of(mask))), target)
    };
    rates.into_iter().map(|rate| (rate, class(rate))).collect()
}

/// What a choice stands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    /// All trials so far.
    pub(super) samples: &'a [Sample],
    /// The goals sought.
    pub(super) mask: u16,
    /// Which stage, from 0.
    pub(super) stage: usize,
    /// Bounds of the stage before.
    pub(super) hint: Bounds,
    /// Lowest rate that the generator cannot offer.
    pub(super) ceiling: Option<f64>,
}

/// The rate to try next in this stage; `None` when the stage has nothing to add. `expansions` counts how often the stage has
/// widened its range.
pub(super) fn next_rate(
    spec: &SearchSpec,
    target: &Target,
    state: &State<'_>,
    expansions: &mut u32,
) -> Option<f64> {
    let State { samples, mask, stage, hint, ceiling } = *state;
    let bounds = Bounds::of(samples, mask, target);
    let low = bounds.lower.unwrap_or(0.0);
    let high = bounds.upper.unwrap_or(f64::INFINITY).min(ceiling.unwrap_or(f64::INFINITY));
    let inside = |rate: &f64| *rate > low && *rate < high;
    let started = |rate: f64| samples.iter().any(|s| s.rate == rate && s.duration >= target.duration);
    let undecided = classes(samples, mask, target);
    let undecided = undecided.iter().filter(|(rate, class)| *class == Class::Undecided && started(*rate));
    if let Some(rate) = undecided.map(|(rate, _)| *rate).find(inside) {
        return Some(rate);
    }
    let hints = [hint.lower, hint.upper].into_iter().flatten();
    let mut factor = || {
        let first = if stage == 0 { RANGE_FACTOR - 1.0 } else { target.width };
        let factor = (1.0 + first * 2_f64.powi((*expansions).min(16) as i32)).min(EXPANSION_FACTOR_MAX);
        *expansions += 1;
        if stage == 0 { RANGE_FACTOR } else { factor }
    };
    match (bounds.lower, high.is_finite()) {
        (Some(lower), true) => {
            if (high - lower) / high <= target.width {
                return None;
            }
            let hinted = hints.into_iter().find(inside);
            hinted.or_else(|| Some(rounded((lower * high).sqrt())).filter(inside))
        }
        (Some(lower), false) => {
            if lower >= spec.rate_max {
                return None;
            }
            let up = hints.into_iter().find(inside);
            Some(up.unwrap_or_else(|| rounded(lower * factor()).min(spec.rate_max)))
        }
        (None, true) => {
            if high <= spec.rate_min {
                return None;
            }
            let down = hints.into_iter().find(inside);
            Some(down.unwrap_or_else(|| rounded(high / factor()).max(spec.rate_min))).filter(inside)
        }
        (None, false) => {
            let start = spec.rate_start.clamp(spec.rate_min, spec.rate_max);
            Some(hints.into_iter().find(inside).unwrap_or_else(|| rounded(start)))
        }
    }
}

/// Rounded to [`RATE_DIGITS`] significant digits.
fn rounded(rate: f64) -> f64 {
    let scale = 10_f64.powi(RATE_DIGITS - 1 - rate.log10().floor() as i32);
    (rate * scale).round() / scale
}
