//! `erlmcp bench run|compare|calibrate`: load on servers, and what came of it.
//!
//! Owns the way from flags to the library and from its answers to files, terminal and exit code. The generator, its
//! certificate and the reports are [`erlmcp_bench`]'s.

pub(super) mod args;
mod calibrate;
mod compare;
pub(super) mod resolve;
pub(super) mod run;
pub(super) mod spec;
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
    /// Say what the generator itself can do on this machine, against a built-in server that does nothing.
    Calibrate(calibrate::CalibrateArgs),
}

pub(super) fn run(command: &BenchCommand) -> Outcome {
    match command {
        BenchCommand::Run(args) => run::run(args),
        BenchCommand::Compare(args) => compare::run(args),
        BenchCommand::Calibrate(args) => calibrate::run(args),
    }
}
