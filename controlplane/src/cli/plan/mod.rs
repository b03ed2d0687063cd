//! `erlmcp plan`: what a server can do within its goals, and how many such nodes a peak needs.
//!
//! Owns the way from flags to the planner and from its answer to files, terminal and exit code. All measuring and
//! arithmetic is [`erlmcp_bench::capacity`]'s.

mod args;
mod spec;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context as _, bail};
use erlmcp_bench::capacity::{self, Event, TrialRecord, report};
use erlmcp_bench::report::human;

use super::bench::run::bad;
use super::interrupt::stop_on_signals;
use super::progress::Progress;
use super::{Outcome, print};
pub(super) use args::PlanArgs;
use spec::Order;

pub(super) fn run(args: &PlanArgs) -> Outcome {
    let Order { spec, notes } = Order::new(args).map_err(bad)?;
    for note in &notes {
        eprintln!("erlmcp: {note}");
    }
    let stop = stop_on_signals()?;
    let mut watch = Watch { progress: Progress::start(), share: 0.0, what: String::new() };
    let plan = capacity::plan(&spec, &mut watch, &stop);
    drop(watch);
    let plan = plan.context("plan")?;
    if args.json {
        print(&report::json(&plan).context("write the plan as JSON")?)?;
    } else {
        print(&report::text(&plan))?;
    }
    // The answer is out before anything about files can fail.
    if let Some(path) = &args.html {
        write(path, &report::html(&plan))?;
    }
    if let Some(path) = &args.save {
        let Some(record) = &plan.record else {
            bail!("nothing to keep in {}: no reference trial counts; the notes say why", path.display());
        };
        record.write(path)?;
        eprintln!("erlmcp: written {}", path.display());
    }
    Ok(!plan.regressed() && !plan.stopped)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("erlmcp: written {}", path.display());
    Ok(())
}

/// What listens while a plan is made.
struct Watch {
    progress: Progress,
    /// Of the part under way, 0..=1.
    share: f64,
    what: String,
}

impl capacity::Progress for Watch {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Part(part) => {
                self.share = 0.0;
                self.progress.line(&format!("{part}:"));
            }
            Event::TrialBegan { ask, purpose, number, took, time_max } => {
                self.share = took.as_secs_f64() / time_max.as_secs_f64().max(f64::EPSILON);
                let rate = ask.rate.map_or_else(|| "closed loop".to_owned(), human::rate);
                self.what = format!("trial {number}, {purpose}: {rate}, {} connections", ask.connections);
                self.progress.at(self.share, || self.what.clone());
            }
            Event::Live(live) => self.progress.at(self.share, || {
                format!(
                    "{}: {} replies, {} errors",
                    self.what,
                    human::count(live.completed),
                    human::count(live.errors)
                )
            }),
            Event::TrialEnded(trial) => self.progress.line(&format!("  {}", told(trial))),
            Event::Note(note) => self.progress.line(&format!("  note: {note}")),
            // Events of a later planner are told by none, rather than by guesses.
            _ => {}
        }
    }
}

/// A trial in one line.
fn told(trial: &TrialRecord) -> String {
    let asked = trial.asked_per_s.map_or_else(|| "closed loop".to_owned(), human::rate);
    let judged = match (trial.verdict, trial.met.as_slice()) {
        ("INVALID", _) => format!("INVALID, does not count: {}", trial.reasons.join("; ")),
        (_, []) => trial.verdict.to_owned(),
        (verdict, met) if met.iter().all(|met| *met) => format!("within the goals, {verdict}"),
        (verdict, _) => format!("beyond a goal, {verdict}"),
    };
    format!("{}: asked {asked}, got {}, {judged}", trial.purpose, human::rate(trial.achieved_per_s))
}
