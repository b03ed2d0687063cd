//! Is a load a lower or an upper bound? The load classification of MLRsearch (draft-ietf-bmwg-mlrsearch, "Load
//! Classification"), with "the trial missed a goal" in the place of "the trial's loss ratio exceeded the goal's".
//!
//! Owns the arithmetic. Pure: knows durations and outcomes, no clock and no rate.

use std::time::Duration;

/// What a load has to show before it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// A trial at least so long is a full-length one.
    pub duration: Duration,
    /// Full-length trials of so much together decide a load.
    pub duration_sum: Duration,
    /// Share of that time in which goals may be missed, `0 <= r < 1`: with 1/2 the majority decides.
    pub exceed_ratio: f64,
    /// How near the bounds have to be, `(upper - lower) / upper`.
    pub width: f64,
}

/// What a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The goals are met, whatever the missing trials would show.
    Lower,
    /// They are not, whatever the missing trials would show.
    Upper,
    /// More trials are needed.
    Undecided,
}

/// Classifies a load by its trials: their durations and whether the goals were met.
///
/// Short trials never make a lower bound, and speak against a load only as far as short ones that met the goals do not
/// balance them.
#[must_use]
pub fn classify(trials: impl Iterator<Item = (Duration, bool)>, target: &Target) -> Class {
    let [mut full_met, mut full_missed, mut short_met, mut short_missed] = [0.0; 4];
    for (duration, met) in trials {
        let sum = match (duration >= target.duration, met) {
            (true, true) => &mut full_met,
            (true, false) => &mut full_missed,
            (false, true) => &mut short_met,
            (false, false) => &mut short_missed,
        };
        *sum += duration.as_secs_f64();
    }
    let ratio = target.exceed_ratio;
    let balancing = short_met * ratio / (1.0 - ratio);
    let missed = full_missed + (short_missed - balancing).max(0.0);
    let whole = (full_met + missed).max(target.duration_sum.as_secs_f64());
    let allowed = whole * ratio;
    // If all that is missing were met, or were missed:
    let [hopeful, fearful] = [missed, whole - full_met];
    match (hopeful <= allowed, fearful <= allowed) {
        (true, true) => Class::Lower,
        (false, false) => Class::Upper,
        (true, false) | (false, true) => Class::Undecided,
    }
}

/// The achieved rate that a lower bound stands for: of its full-length trials, best first, the last of those that have
/// to be counted (conditional throughput of the draft). `None` without enough of them.
#[must_use]
pub fn conditional_throughput(trials: impl Iterator<Item = (Duration, f64)>, target: &Target) -> Option<f64> {
    let mut full: Vec<(Duration, f64)> =
        trials.filter(|(duration, _)| *duration >= target.duration).collect();
    full.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = full.iter().map(|(duration, _)| duration.as_secs_f64()).sum();
    let needed = total.max(target.duration_sum.as_secs_f64()) * (1.0 - target.exceed_ratio);
    let mut covered = 0.0;
    full.into_iter().find_map(|(duration, achieved)| {
        covered += duration.as_secs_f64();
        (covered >= needed).then_some(achieved)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target {
        duration: Duration::from_secs(20),
        duration_sum: Duration::from_secs(100),
        exceed_ratio: 0.5,
        width: 0.05,
    };

    fn class(full: &[bool], short: &[bool]) -> Class {
        let full = full.iter().map(|&met| (Duration::from_secs(20), met));
        classify(full.chain(short.iter().map(|&met| (Duration::from_secs(5), met))), &TARGET)
    }

    #[test]
    fn the_majority_of_full_trials_decides_as_soon_as_it_is_certain() {
        assert_eq!(class(&[], &[]), Class::Undecided);
        assert_eq!(class(&[true, true], &[]), Class::Undecided);
        assert_eq!(class(&[true, true, true], &[]), Class::Lower);
        assert_eq!(class(&[true, false, true, false], &[]), Class::Undecided);
        assert_eq!(class(&[true, false, true, false, true], &[]), Class::Lower);
        assert_eq!(class(&[false, false, false], &[]), Class::Upper);
    }

    #[test]
    fn short_trials_never_make_a_lower_bound() {
        assert_eq!(class(&[], &[true; 100]), Class::Undecided);
        assert_eq!(class(&[true, true], &[true; 100]), Class::Undecided);
    }

    #[test]
    fn short_misses_count_unless_short_successes_balance_them() {
        assert_eq!(class(&[], &[false; 11]), Class::Upper);
        assert_eq!(class(&[], &[false, true].repeat(11)), Class::Undecided);
        assert_eq!(class(&[true, true, true], &[false; 8]), Class::Lower);
        assert_eq!(class(&[true, true, true], &[false; 13]), Class::Upper);
    }

    #[test]
    fn a_strict_ratio_lets_one_miss_decide() {
        let strict = Target { exceed_ratio: 0.0, ..TARGET };
        let trial = |met| (Duration::from_secs(20), met);
        assert_eq!(classify([trial(true), trial(false)].into_iter(), &strict), Class::Upper);
        assert_eq!(classify([trial(true); 4].into_iter(), &strict), Class::Undecided);
        assert_eq!(classify([trial(true); 5].into_iter(), &strict), Class::Lower);
    }

    #[test]
    fn throughput_is_that_of_the_worst_trial_that_has_to_count() {
        let trials = [(20, 990.0), (20, 1_000.0), (5, 2_000.0), (20, 400.0), (20, 980.0)];
        let trials = trials.map(|(seconds, rate)| (Duration::from_secs(seconds), rate));
        assert_eq!(conditional_throughput(trials.into_iter(), &TARGET), Some(980.0));
        assert_eq!(conditional_throughput(trials.into_iter().take(3), &TARGET), None);
    }
}
