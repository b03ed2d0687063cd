//! `erlmcp man`.

use anyhow::anyhow;
use clap::{Args, CommandFactory as _};

use super::{Cli, Outcome, print};

/// Which page.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  erlmcp man run | man -l -")]
pub(super) struct ManArgs {
    /// A command, such as `run`; the whole when absent.
    command: Vec<String>,
}

pub(super) fn run(args: &ManArgs) -> Outcome {
    let mut command = Cli::command();
    command.build();
    for name in &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| anyhow!("there is no command {}", args.command.join(" ")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&String::from_utf8(page)?).map(|()| true)
}
