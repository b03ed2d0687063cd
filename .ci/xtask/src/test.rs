//! `cargo xtask test`: everything that must hold, in the order in which it is cheapest to fail.
//!
//! Owns the list of steps, their time limits and the summary. A step that fails does not stop the others, except that
//! nothing runs on a binary that was not built. The last line says how many cases passed and failed.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser as _;

use crate::e2e::{self, Outcome};
use crate::{rig, run, setup, workspace};

/// What a run from an empty target folder may take on two cores. Longer is reported, not stopped.
const BUDGET: Duration = Duration::from_secs(30 * 60);
/// A step never takes longer than this, whatever the machine.
const STEP_LIMIT: Duration = Duration::from_secs(25 * 60);

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    /// Not run, since what it needs failed.
    Blocked,
}

/// The summary's rows.
#[derive(Debug, Default)]
struct Summary {
    rows: Vec<(&'static str, State, Duration)>,
}

impl Summary {
    /// Runs a step; an error is printed and counts as failed.
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<bool>) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let passed = step().unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            false
        });
        self.rows.push((name, if passed { State::Passed } else { State::Failed }, start.elapsed()));
        passed
    }

    fn blocked(&mut self, name: &'static str) {
        self.rows.push((name, State::Blocked, Duration::ZERO));
    }

    fn failed(&self) -> usize {
        self.rows.iter().filter(|(_, state, _)| *state != State::Passed).count()
    }

    fn print(&self, total: Duration) {
        println!("\n{:<12} {:<8} {:>8}", "step", "result", "seconds");
        for (name, state, time) in &self.rows {
            let state = match state {
                State::Passed => "passed",
                State::Failed => "FAILED",
                State::Blocked => "NOT RUN",
            };
            println!("{name:<12} {state:<8} {:>8.1}", time.as_secs_f64());
        }
        println!("{:<12} {:<8} {:>8.1}", "total", "", total.as_secs_f64());
        if total > BUDGET {
            println!("over the budget of {} minutes", BUDGET.as_secs() / 60);
        }
    }
}

/// Runs every step. `Ok(false)` when one failed.
///
/// # Errors
/// None of its own: what goes wrong is a failed step.
pub fn run() -> Result<bool> {
    let start = Instant::now();
    let mut summary = Summary::default();
    let ready = summary.step("setup", setup::run);
    summary.step("fmt", || cargo(&["fmt", "--all", "--check"]));
    summary.step("clippy", || {
        let all = ["clippy", "--workspace", "--all-targets", "--features", "erlmcp-bench/runtimes"];
        cargo(&[&all[..], &["--locked", "--quiet", "--", "-D", "warnings"]].concat())
    });
    // The checks of `cargo xtask tidy` are among these tests.
    summary.step("test", || cargo(&["test", "--workspace", "--locked", "--quiet", "--no-fail-fast"]));
    let built = summary.step("build", || {
        cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "erlmcp-controlplane",
            "--package",
            "erlmcp-bench",
        ])
    });
    let mut cases = Outcome::default();
    if ready && built {
        summary.step("e2e", || {
            cases = e2e::run_suites(&[], None)?;
            Ok(cases.failed() == 0 && cases.passed() > 0)
        });
        summary.step("rig", || rig::run(&quick_rig()));
    } else {
        summary.blocked("e2e");
        summary.blocked("rig");
    }
    summary.print(start.elapsed());
    let steps_passed = summary.rows.len() - summary.failed();
    println!("{} passed, {} failed", cases.passed() + steps_passed, cases.failed() + summary.failed());
    Ok(summary.failed() == 0)
}

fn cargo(args: &[&str]) -> Result<bool> {
    run::shown(&mut workspace::cargo(args), STEP_LIMIT)
}

/// The rig as `cargo xtask rig --quick` runs it.
fn quick_rig() -> rig::Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        rig: rig::Args,
    }
    Line::parse_from(["rig", "--quick"]).rig
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_and_a_blocked_step_count_as_failed() {
        let mut summary = Summary::default();
        assert!(summary.step("good", || Ok(true)));
        assert!(!summary.step("bad", || Ok(false)));
        assert!(!summary.step("broken", || anyhow::bail!("an error that the test wants")));
        summary.blocked("later");
        assert_eq!((summary.rows.len(), summary.failed()), (4, 3));
    }

    #[test]
    fn the_quick_rig_is_one_that_the_command_line_accepts() {
        let _args = quick_rig();
    }
}
