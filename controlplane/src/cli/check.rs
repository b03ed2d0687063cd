//! `erlmcp check`.

use clap::Args;
use erlmcp_config::print;

use super::{ConfigArgs, Outcome, printed};

/// Where the configuration is, and how to report.
#[derive(Debug, Args)]
#[command(
    after_help = "Every finding is one line: FILE:LINE:COLUMN: KEY: what, why, remedy.\nExit code 1 when there is an error; warnings alone are fine.\n\nExample:\n  erlmcp check --config /etc/erlmcp"
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Outcome {
    printed(|out| print::check(&args.config.source(), args.json, out))
}
