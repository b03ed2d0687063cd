//! `erlmcp check`.

use clap::Args;
use erlmcp_config::{Severity, load};

use super::{ConfigArgs, Outcome, print, print_json};

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
    let (report, is_good) = match load(&args.config.source()) {
        Ok(loaded) => (loaded.report, true),
        Err(report) => (report, false),
    };
    if args.json {
        print_json(&report.to_json())?;
    } else {
        let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
        print(&format!("{report}{errors} errors, {warnings} warnings"))?;
    }
    Ok(is_good)
}
