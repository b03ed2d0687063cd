//! The command line: names, flags and exit codes are an interface.
//!
//! Exit codes: 0 fine, 1 the thing asked about is bad (or could not be done), 2 usage. One file per command.

mod bench;
mod check;
mod completions;
mod config;
mod deploy;
mod drain;
mod explain;
mod interrupt;
mod man;
mod plan;
mod progress;
mod reload;
mod remote;
mod run;
mod status;
mod tune;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use erlmcp_config::Source;

/// The front of a cluster of MCP servers: a gateway on io_uring, and its control plane.
#[derive(Debug, Parser)]
#[command(name = "erlmcp", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  erlmcp run                                          serve the embedded MCP node on 127.0.0.1:8080\n  erlmcp run --upstream http://10.0.0.5:3000          serve before a server of yours\n  erlmcp check --config /etc/erlmcp                   everything wrong with a configuration\n  erlmcp status                                       look at a running gateway"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    Run(run::RunArgs),
    /// Check a configuration; print everything that is wrong with it.
    Check(check::CheckArgs),
    /// Describe, show or compare configurations.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Show what a running gateway does.
    Status(status::StatusArgs),
    /// Drain a node, or the whole gateway.
    Drain(drain::DrainArgs),
    /// Let a running gateway take its configuration anew.
    Reload(reload::ReloadArgs),
    /// Say which route and nodes a request would get, and why.
    Explain(explain::ExplainArgs),
    /// Look at this host.
    #[command(subcommand)]
    Tune(tune::TuneCommand),
    /// Put load on servers and report honestly what they did.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Find what a server can do within goals, and how many nodes a peak needs.
    Plan(Box<plan::PlanArgs>),
    /// Render what an operator installs.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page.
    Man(man::ManArgs),
}

/// Where a configuration is.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Folder with the configuration's files; without it, the embedded default.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Change one key, such as `load_balancer.nodes[0].port=8081`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse_override)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    fn source(&self) -> Source {
        Source { dir: self.config.clone(), overrides: self.set.clone(), ..Source::default() }
    }
}

fn parse_override(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("it must be PATH=VALUE")?;
    if path.is_empty() {
        Err("the path is empty".to_owned())
    } else {
        Ok((path.to_owned(), value.to_owned()))
    }
}

/// How a command ended.
type Outcome = anyhow::Result<bool>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Status(args) => status::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Tune(command) => tune::run(&command),
        Command::Bench(command) => bench::run(&command),
        Command::Plan(args) => plan::run(&args),
        Command::Deploy(command) => deploy::run(&command),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("erlmcp: {}", causes(&error));
            ExitCode::from(1)
        }
    }
}

/// An error with its causes, each text once: many errors already quote their cause.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// Prints what `write` writes.
fn printed(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<bool>) -> Outcome {
    let mut out = Vec::new();
    let is_good = write(&mut out)?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(is_good)
}

/// Prints to standard output; a reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints JSON, indented.
fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = anyhow::anyhow!("port 1 is taken");
        assert_eq!(
            causes(&cause.context("cannot listen: port 1 is taken")),
            "cannot listen: port 1 is taken"
        );
        assert_eq!(causes(&anyhow::anyhow!("no route").context("ask")), "ask: no route");
    }

    #[test]
    fn overrides_are_split_at_the_first_equals() {
        assert_eq!(parse_override("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(parse_override("a").is_err() && parse_override("=x").is_err());
    }
}
