//! `erlmcp drain`.

use clap::Args;

use super::remote::{RemoteArgs, encode};
use super::{Outcome, print, print_json};

/// What to drain.
#[derive(Debug, Args)]
#[command(
    after_help = "Without NODE the gateway itself drains and ends, as on SIGTERM.\n\nExamples:\n  erlmcp drain erlmcp-node-1            no new requests for the node\n  erlmcp drain erlmcp-node-1 --undo     requests again"
)]
pub(super) struct DrainArgs {
    /// The node; the whole gateway when absent.
    node: Option<String>,
    /// Let the node take requests again.
    #[arg(long, requires = "node")]
    undo: bool,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DrainArgs) -> Outcome {
    let action = if args.undo { "activate" } else { "drain" };
    let target = match &args.node {
        Some(node) => format!("/api/nodes/{}/{action}", encode(node)),
        None => "/api/drain".to_owned(),
    };
    let answer = args.remote.get_good("POST", &target)?;
    if args.json {
        print_json(&answer)?;
    } else {
        match &args.node {
            Some(node) => print(&format!("{node}: {}", answer["status"].as_str().unwrap_or("?")))?,
            None => print("the gateway drains and ends")?,
        }
    }
    Ok(true)
}
