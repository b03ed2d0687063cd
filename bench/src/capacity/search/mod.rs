//! The highest rate that meets all goals, in spite of noisy trials: multiple loss ratio search
//! (draft-ietf-bmwg-mlrsearch) with latency and error goals.
//!
//! Owns which load is tried next and for how long: doubling until a load fails, then bisection, first by single short
//! trials, then by the majority of short ones, at last by the majority of full-length ones. All goals together are sought
//! first, then each alone, over the same trials. Never runs load itself ([`Trial`] does), never ends without a bound:
//! trials and time are limited, and a load that the generator cannot offer is not tried again.

mod bounds;
mod classify;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use super::goals::{Goal, Met};
use super::record::TrialRecord;
use super::trial::{Ask, Evidence, Measured, Trial, TrialError};
use super::{Event, Progress};
use bounds::{Bounds, Sample, State, next_rate};
pub use classify::{Class, Target, classify, conditional_throughput};

/// Trials that the generator may spoil at one rate, if they are half of its trials or more, before the rate is taken for
/// more than it can offer.
const SPOILED_MAX: usize = 3;

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchSpec {
    /// Virtual clients of each trial.
    pub connections: u32,
    /// Length of the short trials.
    pub trial: Duration,
    /// Length of the trials that count in the end.
    pub final_trial: Duration,
    /// Full-length trials of so much together decide a load.
    pub final_sum: Duration,
    /// Share of them that may miss the goals. One half tolerates the most spoiled trials.
    pub exceed_ratio: f64,
    /// How near the bounds are to come, `(upper - lower) / upper`.
    pub width: f64,
    /// Lowest rate that is worth knowing, requests per second.
    pub rate_min: f64,
    /// First rate tried.
    pub rate_start: f64,
    /// Highest rate tried.
    pub rate_max: f64,
    /// Most trials.
    pub trials_max: usize,
    /// Most time for all of them.
    pub time_max: Duration,
    /// Of the schedules.
    pub seed: u64,
}

impl SearchSpec {
    /// The defaults for trials of these lengths: five full-length trials and their majority, bounds within 5 %, 120 trials.
    ///
    /// Five, because a load is then misjudged by 0.9 % of the searches where 10 % of the trials are spoiled; of three trials
    /// 2.8 % would, and about four loads are judged at full length.
    #[must_use]
    pub fn new(connections: u32, trial: Duration, final_trial: Duration) -> Self {
        Self {
            connections,
            trial,
            final_trial: final_trial.max(trial),
            final_sum: final_trial.max(trial) * 5,
            exceed_ratio: 0.5,
            width: 0.05,
            rate_min: 1.0,
            rate_start: 100.0,
            rate_max: 10_000_000.0,
            trials_max: 120,
            time_max: Duration::from_secs(1200),
            seed: 1,
        }
    }

    /// Coarse to fine. The width of each is about half of the one before, so that a stage has one or two loads to add.
    fn stages(&self) -> [Target; 3] {
        let target = |duration: Duration, duration_sum: Duration, width: f64| Target {
            duration,
            duration_sum,
            exceed_ratio: self.exceed_ratio,
            width: width.min(0.5),
        };
        [
            target(self.trial, self.trial, self.width * 4.0),
            target(self.trial, self.trial * 3, self.width * 2.0),
            target(self.final_trial, self.final_sum, self.width),
        ]
    }
}

/// Why a search ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why", content = "detail")]
pub enum End {
    /// The bounds are as near as asked.
    Converged,
    /// The highest rate to be tried still meets the goals.
    RateMax,
    /// The lowest rate worth knowing does not.
    NothingMeets,
    /// Beyond the lower bound the generator is the limit, not the server: its reasons.
    Generator(Vec<String>),
    /// The number of trials is used up.
    TrialsMax,
    /// The time is used up.
    TimeMax,
    /// The user stopped it.
    Stopped,
}

/// What was found for a goal, or for all together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoalResult {
    /// The goals.
    pub goals: Vec<Goal>,
    /// Highest rate below every upper bound that meets them (relevant lower bound), requests per second.
    pub lower_per_s: Option<f64>,
    /// Lowest rate that does not (relevant upper bound).
    pub upper_per_s: Option<f64>,
    /// Good replies per second that the lower bound stands for.
    pub conditional_throughput_per_s: Option<f64>,
    /// Whether the bounds stand on full-length trials; otherwise they are what shorter ones showed.
    pub confirmed: bool,
    /// Trials whose outcome decided, over all loads.
    pub trials: usize,
    /// Share of the trials at the lower bound that missed the goals.
    pub exceed_share: Option<f64>,
    /// Requests of the smallest trial at the lower bound are fewer than the goals need: what they would need.
    pub samples_short_of: Option<u64>,
    /// Why the search ended.
    pub end: End,
}

impl GoalResult {
    /// Nothing is known yet.
    #[must_use]
    pub fn unknown(goals: &[Goal]) -> Self {
        Self {
            goals: goals.to_vec(),
            lower_per_s: None,
            upper_per_s: None,
            conditional_throughput_per_s: None,
            confirmed: false,
            trials: 0,
            exceed_share: None,
            samples_short_of: None,
            end: End::Stopped,
        }
    }
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct SearchResult {
    /// For all goals together.
    pub all: GoalResult,
    /// For each goal alone; empty with a single goal.
    pub each: Vec<GoalResult>,
    /// Every trial, in order.
    pub trials: Vec<TrialRecord>,
    /// Time that they took.
    pub took: Duration,
    /// The user stopped it: the bounds are what was known by then.
    pub stopped: bool,
}

/// Searches.
///
/// # Errors
/// [`TrialError::Failed`] when the load generator or the server could not be run. A stop is no error: what was found by
/// then is returned.
pub fn search(
    spec: &SearchSpec,
    goals: &[Goal],
    trial: &mut dyn Trial,
    progress: &mut dyn Progress,
) -> Result<SearchResult, TrialError> {
    let mut search = Search {
        spec,
        goals,
        trial,
        progress,
        samples: Vec::new(),
        records: Vec::new(),
        took: Duration::ZERO,
        ceiling: None,
    };
    let all_mask = ((1_u32 << goals.len()) - 1) as u16;
    let mut stopped = false;
    let mut ends = Vec::new();
    let masks = std::iter::once(all_mask).chain((0..goals.len()).map(|i| 1 << i).filter(|_| goals.len() > 1));
    let masks: Vec<u16> = masks.collect();
    for &mask in &masks {
        let end = if stopped { Err(TrialError::Stopped) } else { search.criterion(mask) };
        ends.push(match end {
            Ok(end) => end,
            Err(TrialError::Stopped) => {
                stopped = true;
                End::Stopped
            }
            Err(error @ TrialError::Failed(_)) => return Err(error),
        });
    }
    let mut results = masks.iter().zip(ends).map(|(&mask, end)| search.result(mask, end)).collect::<Vec<_>>();
    let all = results.remove(0);
    Ok(SearchResult { all, each: results, trials: search.records, took: search.took, stopped })
}

struct Search<'a> {
    spec: &'a SearchSpec,
    goals: &'a [Goal],
    trial: &'a mut dyn Trial,
    progress: &'a mut dyn Progress,
    samples: Vec<Sample>,
    records: Vec<TrialRecord>,
    took: Duration,
    /// Lowest rate that the generator could not offer, and why.
    ceiling: Option<(f64, Vec<String>)>,
}

impl Search<'_> {
    /// Narrows the bounds of the goals in `mask`, stage by stage.
    ///
    /// A later stage that finds the bounds of the one before it wrong goes back to the first: spoiled trials have misled it,
    /// and the range is found again by short trials rather than by long ones.
    fn criterion(&mut self, mask: u16) -> Result<End, TrialError> {
        let stages = self.spec.stages();
        let mut stage = 0;
        let mut hint = Bounds::default();
        let mut expansions = 0;
        // Trials at the last return: a return that added none would be repeated for ever.
        let mut returned_at = None;
        while let Some(target) = stages.get(stage) {
            let ceiling = self.ceiling.as_ref().map(|(rate, _)| *rate);
            let state = State { samples: &self.samples, mask, stage, hint, ceiling };
            let Some(rate) = next_rate(self.spec, target, &state, &mut expansions) else {
                hint = Bounds::of(&self.samples, mask, target);
                (stage, expansions) = (stage + 1, 0);
                continue;
            };
            if stage > 0 && hint.misled(rate) && returned_at != Some(self.records.len()) {
                returned_at = Some(self.records.len());
                (stage, expansions, hint) = (0, 0, Bounds::default());
                continue;
            }
            if self.records.len() >= self.spec.trials_max {
                return Ok(End::TrialsMax);
            }
            if self.took + target.duration > self.spec.time_max {
                return Ok(End::TimeMax);
            }
            self.measure(rate, target.duration, stage)?;
        }
        Ok(self.end(hint))
    }

    fn end(&self, bounds: Bounds) -> End {
        match (bounds.lower, bounds.upper, &self.ceiling) {
            (Some(_), Some(_), _) => End::Converged,
            (None, Some(_), _) => End::NothingMeets,
            (_, None, Some((_, reasons))) => End::Generator(reasons.clone()),
            (_, None, None) => End::RateMax,
        }
    }

    fn measure(&mut self, rate: f64, duration: Duration, stage: usize) -> Result<(), TrialError> {
        let ask = Ask {
            rate: Some(rate),
            connections: self.spec.connections,
            duration,
            seed: self.spec.seed.wrapping_add(self.records.len() as u64),
        };
        let purpose = ["range", "narrowing", "final"][stage.min(2)];
        self.progress.event(&Event::TrialBegan {
            ask: &ask,
            purpose,
            number: self.records.len() + 1,
            took: self.took,
            time_max: self.spec.time_max,
        });
        let measured = self.trial.run(&ask, self.progress)?;
        self.took += measured.took;
        let record = TrialRecord::new(purpose, &measured, self.goals);
        self.progress.event(&Event::TrialEnded(&record));
        self.records.push(record);
        self.account(rate, &measured);
        Ok(())
    }

    fn account(&mut self, rate: f64, measured: &Measured) {
        let met = Met::judge(self.goals, measured);
        let reasons = match &measured.evidence {
            Evidence::Invalid(reasons) => Some(reasons.clone()),
            Evidence::Valid | Evidence::Degraded(_) => None,
        };
        self.samples.push(Sample {
            rate,
            duration: measured.ask.duration,
            achieved: measured.achieved(),
            samples: measured.completed + measured.errors,
            met,
            spoiled: reasons.is_some(),
        });
        let own = self.samples.iter().filter(|sample| sample.rate == rate);
        let spoiled = own.clone().filter(|sample| sample.spoiled).count();
        let lowest = self.ceiling.as_ref().is_none_or(|(ceiling, _)| rate < *ceiling);
        if let Some(reasons) =
            reasons.filter(|_| spoiled >= SPOILED_MAX && 2 * spoiled >= own.count() && lowest)
        {
            self.ceiling = Some((rate, reasons));
        }
    }

    fn result(&self, mask: u16, end: End) -> GoalResult {
        let stages = self.spec.stages();
        let last = stages.len() - 1;
        let found = stages
            .iter()
            .enumerate()
            .rev()
            .map(|(stage, target)| (stage, target, Bounds::of(&self.samples, mask, target)));
        let (stage, target, bounds) = found
            .clone()
            .find(|(_, _, bounds)| bounds.lower.is_some() || bounds.upper.is_some())
            .unwrap_or((last, &stages[last], Bounds::default()));
        let goals: Vec<Goal> = self
            .goals
            .iter()
            .enumerate()
            .filter(|(i, _)| mask >> i & 1 == 1)
            .map(|(_, goal)| *goal)
            .collect();
        let full = |rate: Option<f64>| {
            let long = move |sample: &&Sample| sample.duration >= target.duration && !sample.spoiled;
            self.samples.iter().filter(move |sample| Some(sample.rate) == rate).filter(long)
        };
        let at_lower = full(bounds.lower).count();
        let missed = full(bounds.lower).filter(|sample| !sample.met.all_of(mask)).count();
        let needed = goals.iter().map(Goal::samples_min).max().unwrap_or(0);
        let fewest = full(bounds.lower).map(|sample| sample.samples).min();
        GoalResult {
            goals,
            lower_per_s: bounds.lower,
            upper_per_s: bounds.upper,
            conditional_throughput_per_s: conditional_throughput(
                full(bounds.lower).map(|sample| (sample.duration, sample.achieved)),
                target,
            ),
            confirmed: stage == last,
            trials: self.samples.iter().filter(|sample| !sample.spoiled).count(),
            exceed_share: (at_lower > 0).then(|| missed as f64 / at_lower as f64),
            samples_short_of: fewest.is_some_and(|fewest| fewest < needed).then_some(needed),
            end,
        }
    }
}
