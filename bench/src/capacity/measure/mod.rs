//! The sequence of runs behind a plan.
//!
//! Owns which trials are run, in which order, and what is made of them. Everything it decides is pure but for the trials, so
//! that the whole sequence is tested against simulated servers. A stop ends it at once and keeps what is known. Trials that the
//! generator spoiled are told and never counted.
//!
//! Open loops use Poisson arrivals: independent clients come so, the queue model presumes it, and evenly spaced arrivals would
//! show a queue that hardly ever forms.

mod needs;
#[cfg(test)]
pub(super) mod simulated;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::capacity::baseline::{self, Baseline, Metric, Subject, VALUES_MAX};
use crate::capacity::generator::Generator;
use crate::capacity::goals::GOALS_MAX;
use crate::capacity::plan::{Plan, PlanError, PlanSpec, QueueReport, ScalingReport, ShardRun};
use crate::capacity::queue::{Effort, LoadStep, Model, Placement, Prediction, Service, backtest, predict};
use crate::capacity::record::TrialRecord;
use crate::capacity::search::{End, GoalResult, SearchResult, SearchSpec, search};
use crate::capacity::trial::{Ask, Evidence, Measured, Rig, Trial, TrialError};
use crate::capacity::usl::{DRAWS, Usl};
use crate::capacity::{Event, Progress};
use crate::certificate::Verdict;
use crate::load::Stop;
use crate::procfs;
use crate::report::Host;

/// Load steps as shares of the highest rate within the goals. An odd number, so that the highest of those that the server
/// keeps up with is one to calibrate by; beyond 1 they show what an overload does.
const STEPS: [f64; 9] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.15, 1.4];
/// Rate of the reference trials as a share of the highest rate within the goals: steady, and still sensitive.
const REFERENCE_SHARE: f64 = 0.7;
/// Reference trials: with five then and five now the rank test reaches 0.4 %.
const REFERENCE_TRIALS: u64 = 5;
/// Closed-loop trials of each size.
const ROUNDS: usize = 2;
/// Most sizes of a scaling law.
const SIZES_MAX: usize = 64;

/// Plans: runs the load generator against the target.
///
/// # Errors
/// A question that makes no sense, a server that cannot be reached at all, a baseline of something else. A stop is no error:
/// [`Plan::stopped`] tells it.
pub fn plan(spec: &PlanSpec, progress: &mut dyn Progress, stop: &Stop) -> Result<Plan, PlanError> {
    plan_on(spec, &mut Generator::new(spec, stop), progress)
}

/// Plans with whatever system the rig gives.
///
/// # Errors
/// As [`plan`].
pub fn plan_on(spec: &PlanSpec, rig: &mut dyn Rig, progress: &mut dyn Progress) -> Result<Plan, PlanError> {
    check(spec)?;
    if let Some(then) = &spec.baseline {
        // Before minutes of measuring, not after them.
        baseline::same_subject(&then.subject, &subject(spec, then.subject.reference_rate_per_s))?;
    }
    let began = Instant::now();
    let mut work = Work {
        spec,
        progress,
        plan: empty(spec),
        idle: spec.server_pid.and_then(idle),
        seed: spec.search.seed.wrapping_add(1 << 32),
    };
    match work.all(rig) {
        Ok(()) => {}
        Err(Ended::Stopped) => {
            work.plan.stopped = true;
            work.note("stopped: all figures are partial".to_owned());
        }
        Err(Ended::Failed(error)) => return Err(error),
    }
    let mut plan = work.plan;
    plan.verdict = verdict(&plan);
    plan.took_s = began.elapsed().as_secs_f64();
    Ok(plan)
}

fn check(spec: &PlanSpec) -> Result<(), PlanError> {
    let search = &spec.search;
    let beyond =
        spec.goals.iter().find(|goal| goal.time_limit().is_some_and(|limit| limit >= spec.load.timeout));
    let problem = if let Some(goal) = beyond {
        format!(
            "goal `{goal}` reaches beyond the time-out of {:?}, after which a request has failed: raise --timeout",
            spec.load.timeout
        )
    } else if spec.goals.is_empty() || spec.goals.len() > GOALS_MAX {
        format!("{} goals; give 1 to {GOALS_MAX}, such as --goal \"p99 < 5 ms\"", spec.goals.len())
    } else if search.connections == 0 {
        "no connections; give at least one".to_owned()
    } else if search.trial < Duration::from_millis(10) || search.final_trial < search.trial {
        "trials need at least 10 ms, and final ones at least the length of the others".to_owned()
    } else if !(0.001..=0.5).contains(&search.width) || !(0.0..1.0).contains(&search.exceed_ratio) {
        "the goal width is a share from 0.1 to 50 %, the exceed ratio one below 100 %".to_owned()
    } else if !(search.rate_min > 0.0 && search.rate_min <= search.rate_max && search.rate_max.is_finite()) {
        "the lowest rate is above 0 and at most the highest".to_owned()
    } else if spec.connections.contains(&0)
        || spec.connections.len() > SIZES_MAX
        || spec.shard_runs.len() > SIZES_MAX
    {
        format!("sizes of the scaling law are at least 1 and at most {SIZES_MAX} of them")
    } else if spec.threshold.is_nan() || spec.threshold < 0.0 {
        "the threshold of a regression is a share of at least 0 %".to_owned()
    } else {
        return Ok(());
    };
    Err(PlanError::Spec(problem))
}

fn empty(spec: &PlanSpec) -> Plan {
    Plan {
        host: Host::read(),
        url: spec.load.target.url.clone(),
        connections: spec.search.connections,
        all: GoalResult::unknown(&spec.goals),
        each: Vec::new(),
        search_trials: Vec::new(),
        saturation_per_s: None,
        steps: Vec::new(),
        queue: None,
        scaling: Vec::new(),
        nodes: None,
        reference_trials: Vec::new(),
        comparison: None,
        record: None,
        notes: Vec::new(),
        verdict: Verdict::Valid,
        stopped: false,
        took_s: 0.0,
    }
}

fn subject(spec: &PlanSpec, rate: f64) -> Subject {
    Subject {
        url: spec.load.target.url.clone(),
        goals: spec.goals.iter().map(ToString::to_string).collect(),
        connections: spec.search.connections,
        reference_rate_per_s: rate,
        trial_s: spec.search.trial.as_secs_f64(),
    }
}

/// Descriptors and memory of the server before any load.
fn idle(pid: u32) -> Option<(u64, u64)> {
    let descriptors = procfs::descriptors(pid).ok()? as u64;
    Some((descriptors, procfs::memory(pid).map_or(0, |memory| memory.pss)))
}

/// Why the sequence ended before its end.
enum Ended {
    Stopped,
    Failed(PlanError),
}

impl From<TrialError> for Ended {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Stopped => Self::Stopped,
            TrialError::Failed(text) => Self::Failed(PlanError::Trial(text)),
        }
    }
}

impl From<PlanError> for Ended {
    fn from(error: PlanError) -> Self {
        Self::Failed(error)
    }
}

struct Work<'a> {
    spec: &'a PlanSpec,
    progress: &'a mut dyn Progress,
    plan: Plan,
    idle: Option<(u64, u64)>,
    seed: u64,
}

impl Work<'_> {
    fn all(&mut self, rig: &mut dyn Rig) -> Result<(), Ended> {
        {
            let mut system = rig.system(None)?;
            self.search(system.as_mut())?;
            let steps = self.steps(system.as_mut())?;
            self.queue(&steps);
            self.scaling_over_connections(system.as_mut())?;
            self.reference(system.as_mut())?;
        }
        self.scaling_over_shards(rig)?;
        self.nodes()
    }

    fn note(&mut self, text: String) {
        self.progress.event(&Event::Note(&text));
        self.plan.notes.push(text);
    }

    /// One trial outside the search, with its record.
    fn trial(
        &mut self,
        system: &mut dyn Trial,
        purpose: &str,
        rate: Option<f64>,
        connections: u32,
        duration: Duration,
    ) -> Result<(Measured, TrialRecord), Ended> {
        self.seed = self.seed.wrapping_add(1);
        let ask = Ask { rate, connections, duration, seed: self.seed };
        self.progress.event(&Event::TrialBegan {
            ask: &ask,
            purpose,
            number: 1,
            took: Duration::ZERO,
            time_max: duration,
        });
        let measured = system.run(&ask, self.progress)?;
        let record = TrialRecord::new(purpose, &measured, &self.spec.goals);
        self.progress.event(&Event::TrialEnded(&record));
        Ok((measured, record))
    }

    fn search(&mut self, system: &mut dyn Trial) -> Result<(), Ended> {
        self.progress.event(&Event::Part("saturation"));
        let SearchSpec { connections, trial, .. } = self.spec.search;
        let (measured, record) = self.trial(system, "saturation", None, connections, trial)?;
        if measured.completed == 0 {
            let why = record.reasons.first().cloned().unwrap_or_else(|| "no request was answered".to_owned());
            return Err(PlanError::Trial(format!("{}: {why}", self.plan.url)).into());
        }
        self.plan.saturation_per_s = Some(measured.achieved());
        self.progress.event(&Event::Part("search"));
        let spec = SearchSpec { rate_start: measured.achieved() / 2.0, ..self.spec.search.clone() };
        let found: SearchResult = search(&spec, &self.spec.goals, system, self.progress)?;
        (self.plan.all, self.plan.each) = (found.all, found.each);
        self.plan.search_trials = vec![record];
        self.plan.search_trials.extend(found.trials);
        self.search_notes();
        if found.stopped { Err(Ended::Stopped) } else { Ok(()) }
    }

    fn search_notes(&mut self) {
        let all = &self.plan.all;
        let mut notes = Vec::new();
        if let Some(needed) = all.samples_short_of {
            notes.push(format!(
                "a trial at the highest rate has too few requests for the goals: they need {needed}; take a longer --final"
            ));
        }
        match &all.end {
            End::NothingMeets => notes.push(format!(
                "no rate down to {} requests/s meets all goals; see which one fails in the search's trials",
                self.spec.search.rate_min
            )),
            End::Generator(reasons) => notes.push(format!(
                "the generator is the limit, not the server: {}; the server may do more than is told here",
                reasons.join("; ")
            )),
            End::RateMax => notes.push("the highest rate to be tried still meets the goals".to_owned()),
            End::TrialsMax | End::TimeMax if !all.confirmed => {
                notes.push(
                    "the search ran out of trials or time: its bounds stand on short trials".to_owned(),
                );
            }
            End::Converged | End::TrialsMax | End::TimeMax | End::Stopped => {}
        }
        notes.into_iter().for_each(|note| self.note(note));
    }

    /// The curve of latency against load.
    fn steps(&mut self, system: &mut dyn Trial) -> Result<Vec<Measured>, Ended> {
        self.progress.event(&Event::Part("load steps"));
        let saturated = self.plan.saturation_per_s.unwrap_or(0.0);
        // Without a rate within the goals the curve is still wanted: up to what the closed loop showed.
        let top = self.plan.all.lower_per_s.unwrap_or(saturated / 1.4);
        let SearchSpec { connections, trial, .. } = self.spec.search;
        let mut steps = Vec::new();
        for share in STEPS {
            let (measured, record) =
                self.trial(system, "load step", Some(top * share), connections, trial)?;
            let spoiled = matches!(measured.evidence, Evidence::Invalid(_));
            self.plan.steps.push(record);
            if spoiled {
                // Higher rates would only spoil more.
                self.note(format!(
                    "the generator cannot offer {:.0} requests/s: no higher load step is run",
                    top * share
                ));
                break;
            }
            steps.push(measured);
        }
        Ok(steps)
    }

    fn queue(&mut self, steps: &[Measured]) {
        self.progress.event(&Event::Part("queue model"));
        let model = Model {
            shards: self.spec.shards,
            connections: self.spec.search.connections,
            placement: self.spec.placement,
        };
        let Some(low) = steps.first().map(|step| &step.service) else { return };
        let load_steps: Vec<LoadStep> = steps.iter().filter_map(load_step).collect();
        let effort = Effort { seed: self.spec.search.seed, ..self.spec.effort };
        match backtest(low, &load_steps, &model, effort) {
            Ok((backtest, service)) => {
                let rate = self.plan.all.lower_per_s.unwrap_or(backtest.capacity_per_s * 0.7);
                let at_lower = variants(&service, &model, rate, effort);
                self.plan.queue = Some(QueueReport { model, backtest, at_lower });
            }
            Err(error) => self.note(format!("no queue model: {error}")),
        }
    }

    fn scaling_over_connections(&mut self, system: &mut dyn Trial) -> Result<(), Ended> {
        let sizes = self.spec.connections.clone();
        if sizes.is_empty() {
            return Ok(());
        }
        self.progress.event(&Event::Part("scaling over connections"));
        let mut report = scaling("connections");
        for round in 0..ROUNDS {
            // There and back: a drift of the machine does not look like a bend.
            let order: Vec<u32> =
                if round % 2 == 0 { sizes.clone() } else { sizes.iter().rev().copied().collect() };
            for size in order {
                self.scaling_trial(system, size, size, &mut report)?;
            }
        }
        self.finish_scaling(report);
        Ok(())
    }

    fn scaling_over_shards(&mut self, rig: &mut dyn Rig) -> Result<(), Ended> {
        let runs: Vec<ShardRun> = self.spec.shard_runs.clone();
        if runs.is_empty() {
            return Ok(());
        }
        self.progress.event(&Event::Part("scaling over shards"));
        let mut report = scaling("shards");
        for run in &runs {
            let mut system = rig.system(Some(run))?;
            for _ in 0..ROUNDS {
                self.scaling_trial(system.as_mut(), run.shards, self.spec.search.connections, &mut report)?;
            }
        }
        self.finish_scaling(report);
        Ok(())
    }

    fn scaling_trial(
        &mut self,
        system: &mut dyn Trial,
        size: u32,
        connections: u32,
        report: &mut ScalingReport,
    ) -> Result<(), Ended> {
        let duration = self.spec.search.trial;
        let (measured, record) = self.trial(system, "scaling", None, connections, duration)?;
        if record.is_evidence() && !measured.generator_bound && measured.completed > 0 {
            report.points.push((f64::from(size), measured.achieved()));
        }
        report.trials.push(record);
        Ok(())
    }

    fn finish_scaling(&mut self, mut report: ScalingReport) {
        let spoiled = report.trials.len() - report.points.len();
        match Usl::fit(&report.points, self.spec.knees, self.spec.search.seed, DRAWS) {
            Ok(usl) => report.usl = Some(usl),
            Err(error) => report.refused = Some(error.to_string()),
        }
        if spoiled > 0 {
            self.note(format!(
                "scaling over {}: {spoiled} of {} trials do not count, the generator was their limit; give it more --threads",
                report.over,
                report.trials.len()
            ));
        }
        self.plan.scaling.push(report);
    }

    /// Trials at one rate, to be compared with those of another day.
    fn reference(&mut self, system: &mut dyn Trial) -> Result<(), Ended> {
        if !self.spec.keep && self.spec.baseline.is_none() {
            return Ok(());
        }
        self.progress.event(&Event::Part("reference trials"));
        let own = self.plan.all.lower_per_s.map(|lower| (lower * REFERENCE_SHARE).round().max(1.0));
        let Some(rate) = self.spec.baseline.as_ref().map(|then| then.subject.reference_rate_per_s).or(own)
        else {
            self.note(
                "no baseline: without a rate within the goals there is no rate to compare at".to_owned(),
            );
            return Ok(());
        };
        let SearchSpec { connections, trial, .. } = self.spec.search;
        let mut counted = Vec::new();
        for _ in 0..REFERENCE_TRIALS {
            let (_, record) = self.trial(system, "reference", Some(rate), connections, trial)?;
            if record.is_evidence() {
                counted.push(record.clone());
            }
            self.plan.reference_trials.push(record);
        }
        let now = self.record(rate, &counted);
        if let (Some(then), Some(now)) = (&self.spec.baseline, &now) {
            self.plan.comparison =
                Some(baseline::compare(then, now, self.spec.threshold).map_err(PlanError::from)?);
        } else if self.spec.baseline.is_some() {
            return Err(PlanError::Trial(
                "nothing to compare with the baseline: the generator spoiled every reference trial"
                    .to_owned(),
            )
            .into());
        }
        self.plan.record = now;
        Ok(())
    }

    fn record(&self, rate: f64, trials: &[TrialRecord]) -> Option<Baseline> {
        let trials = &trials[..trials.len().min(VALUES_MAX)];
        let metric = |name: &str, lower_is_better, of: &dyn Fn(&TrialRecord) -> Option<f64>| {
            let values: Vec<f64> = trials.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| Metric { name: name.to_owned(), lower_is_better, values })
        };
        let metrics = [
            metric("response_p50_ms", true, &|trial| trial.response?.p50_ms),
            metric("response_p99_ms", true, &|trial| trial.response?.p99_ms),
            metric("response_p999_ms", true, &|trial| trial.response?.p999_ms),
            metric("achieved_per_s", false, &|trial| Some(trial.achieved_per_s)),
            metric("server_cpu_us_per_request", true, &|trial| Some(trial.server?.cpu_us_per_request)),
        ];
        let host = &self.plan.host;
        (!trials.is_empty()).then(|| Baseline {
            version: baseline::VERSION,
            subject: subject(self.spec, rate),
            rate_bounds_per_s: [self.plan.all.lower_per_s, self.plan.all.upper_per_s],
            metrics: metrics.into_iter().flatten().collect(),
            note: format!("{}, {}, {} processors", host.kernel, host.cpu, host.processors),
        })
    }
}

fn scaling(over: &'static str) -> ScalingReport {
    ScalingReport { over, trials: Vec::new(), points: Vec::new(), usl: None, refused: None }
}

fn load_step(step: &Measured) -> Option<LoadStep> {
    let offered_per_s = step.due as f64 / step.elapsed.as_secs_f64().max(1e-9);
    let achieved_per_s = if step.keeps_up() { offered_per_s } else { step.achieved() };
    step.ask.rate.map(|_| LoadStep { offered_per_s, achieved_per_s, response: step.response.clone() })
}

/// The model at one rate: as the target is, otherwise placed, with other connections and other service times.
fn variants(service: &Service, model: &Model, rate: f64, effort: Effort) -> Vec<(String, Prediction)> {
    let effort = Effort { placements: effort.placements / 2, ..effort };
    let other = match model.placement {
        Placement::Random => Placement::LeastLoaded,
        Placement::LeastLoaded => Placement::Random,
    };
    let name = |placement| match placement {
        Placement::Random => "placed at random",
        Placement::LeastLoaded => "placed by least load",
    };
    let with = |connections: f64| Model {
        connections: (f64::from(model.connections) * connections) as u32,
        ..*model
    };
    // Ten connections for each shard is what few, fat connections look like.
    let few = Model { connections: model.shards.saturating_mul(10), placement: Placement::Random, ..*model };
    vec![
        (name(model.placement).to_owned(), predict(service, model, rate, effort)),
        (name(other).to_owned(), predict(service, &Model { placement: other, ..*model }, rate, effort)),
        ("a fifth more load".to_owned(), predict(service, model, rate * 1.2, effort)),
        ("a fifth less load".to_owned(), predict(service, model, rate * 0.8, effort)),
        ("four times the connections".to_owned(), predict(service, &with(4.0), rate, effort)),
        ("ten connections a shard, at random".to_owned(), predict(service, &few, rate, effort)),
    ]
}

/// The worst verdict of the trials that count.
fn verdict(plan: &Plan) -> Verdict {
    let scaling = plan.scaling.iter().flat_map(|report| &report.trials);
    let trials = plan.search_trials.iter().chain(&plan.steps).chain(scaling).chain(&plan.reference_trials);
    let mut counted = trials.filter(|trial| trial.is_evidence()).peekable();
    if counted.peek().is_none() {
        return Verdict::Invalid;
    }
    if counted.any(|trial| trial.verdict != Verdict::Valid.name()) {
        Verdict::Degraded
    } else {
        Verdict::Valid
    }
}
