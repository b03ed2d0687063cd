//! `erlmcp bench run`: load on a server, and what came of it.
//!
//! Owns the way from flags to a run and from its outcome to files, terminal and exit code. The generator, its
//! certificate and the reports are [`erlmcp_bench`]'s.

mod args;
mod compare;
mod resolve;
mod run;
mod spec;
#[cfg(test)]
mod tests;

use clap::Subcommand;

use super::Outcome;
use args::RunArgs;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Put load on a server and report what it did.
    Run(Box<RunArgs>),
    /// Measure the gateway, HAProxy, nginx and Envoy side by side on this machine.
    Compare(compare::CompareArgs),
}

pub(super) fn run(command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Run(args) => run::run(args),
        BenchCommand::Compare(args) => compare::run(args),
    }
}
