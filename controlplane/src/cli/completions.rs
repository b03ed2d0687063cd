//! `erlmcp completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Outcome, print};

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  erlmcp completions bash > /etc/bash_completion.d/erlmcp")]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "erlmcp", &mut script);
    print(&String::from_utf8(script)?).map(|()| true)
}
