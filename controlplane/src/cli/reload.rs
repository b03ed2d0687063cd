//! `erlmcp reload`.

use clap::Args;
use serde_json::Value;

use super::remote::RemoteArgs;
use super::{Outcome, print, print_json};

/// Changed keys that are named; more are counted.
const KEYS_SHOWN_MAX: usize = 20;

/// Which gateway, and how to report.
#[derive(Debug, Args)]
#[command(
    after_help = "A configuration with errors is refused, every error is printed, and the one in use stays (exit code 1).\n\nExample:\n  erlmcp reload"
)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReloadArgs) -> Outcome {
    let (answer, is_taken) = args.remote.ask("POST", "/api/reload")?;
    if let Some(error) = answer["error"].as_str() {
        anyhow::bail!("{error}");
    }
    if args.json {
        print_json(&answer)?;
        return Ok(is_taken);
    }
    let texts = |key: &str| -> Vec<String> {
        let list = answer[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for line in texts("warnings").iter().chain(&texts("errors")) {
        print(line)?;
    }
    if is_taken {
        let changed = texts("changed");
        for key in changed.iter().take(KEYS_SHOWN_MAX) {
            print(&format!("{key}: in use now"))?;
        }
        if changed.len() > KEYS_SHOWN_MAX {
            print(&format!("and {} more keys: in use now", changed.len() - KEYS_SHOWN_MAX))?;
        }
        for key in texts("needs_restart") {
            print(&format!("{key}: needs a restart"))?;
        }
        print(if changed.is_empty() { "reloaded; nothing changed" } else { "reloaded" })?;
    } else {
        print("refused; the configuration in use stays")?;
    }
    Ok(is_taken)
}
