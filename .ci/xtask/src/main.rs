//! `cargo xtask`: what people and CI run in this tree. Commands are listed by `cargo xtask --help`.
//!
//! Owns the command line only; each command lives in a module of its own. Never part of the shipped binary.
#![forbid(unsafe_code)]

use xtask::{e2e, rig, setup, test, tidy};

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, tests, tidy checks and measurements of erlmcp")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what tests need beside Rust, Node and Python
    Setup,
    /// Set up, then run everything that must hold
    Test,
    /// Check what holds for every file of the tree
    Tidy,
    /// Run end-to-end suites against the built `erlmcp` binary (all of them when none is named)
    E2e(e2e::Args),
    /// What end-to-end suites start as processes of their own
    #[command(hide = true, subcommand)]
    Helper(e2e::helper::Helper),
    /// Measure the gateway beside HAProxy, nginx, Envoy and the bare forwarder
    Rig(rig::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Test => test::run(),
        Command::Tidy => tidy::run(),
        Command::E2e(args) => e2e::run(&args),
        Command::Helper(helper) => e2e::helper::run(&helper),
        Command::Rig(args) => rig::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
