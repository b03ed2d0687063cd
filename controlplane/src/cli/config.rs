//! `erlmcp config schema|show|diff`.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use erlmcp_config::{Config, Source, diff, load, schema, show, show_json};
use serde_json::json;

use super::{ConfigArgs, Outcome, print, print_json};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of all files.
    Schema,
    /// Print the configuration with every default filled in and secrets masked.
    Show(ShowArgs),
    /// Print what changes from one configuration to another.
    Diff(DiffArgs),
}

/// What to show.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  erlmcp config show --config /etc/erlmcp --set runtime.cpus=1-3")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// As JSON instead of YAML.
    #[arg(long)]
    json: bool,
}

/// What to compare.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1 when they differ.\n\nExample:\n  erlmcp config diff /etc/erlmcp /tmp/new"
)]
pub(super) struct DiffArgs {
    /// Folder of the one in use.
    from: PathBuf,
    /// Folder of the other one.
    to: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Schema => print_json(&schema()).map(|()| true),
        ConfigCommand::Show(args) => {
            let config = loaded(&args.config.source())?;
            if args.json {
                print_json(&show_json(&config))?
            } else {
                print(&show(&config))?
            }
            Ok(true)
        }
        ConfigCommand::Diff(args) => run_diff(args),
    }
}

fn loaded(source: &Source) -> anyhow::Result<Config> {
    load(source)
        .map(|loaded| loaded.config)
        .map_err(|report| anyhow!("the configuration is refused\n{report}"))
}

fn run_diff(args: &DiffArgs) -> Outcome {
    let changes = diff(&loaded(&Source::dir(&args.from))?, &loaded(&Source::dir(&args.to))?);
    if args.json {
        let all = changes.iter().map(|change| {
            json!({ "key": change.key, "from": change.from, "to": change.to, "needs_restart": change.needs_restart })
        });
        print_json(&all.collect())?;
    } else {
        for change in &changes {
            let (from, to) = (change.from.as_deref().unwrap_or("-"), change.to.as_deref().unwrap_or("-"));
            let when = if change.needs_restart { "  (needs a restart)" } else { "" };
            print(&format!("{}: {from} -> {to}{when}", change.key))?;
        }
    }
    Ok(changes.is_empty())
}
