//! Processes that suites start: this program again, as a server behind the gateway or as a wrapper that confines it.
//!
//! Owns their command line. Never called by people.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::peer;

/// What to be.
#[derive(Debug, clap::Subcommand)]
pub enum Helper {
    /// Serve as an upstream
    Peer {
        /// Where
        listen: SocketAddr,
        /// What it calls itself
        name: String,
    },
    /// Run a command whose `io_uring_setup` fails with EPERM, as container runtimes' profiles make it fail
    WithoutIoUring {
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Runs it until it ends.
///
/// # Errors
/// When it cannot begin.
pub fn run(helper: &Helper) -> Result<bool> {
    match helper {
        Helper::Peer { listen, name } => peer::serve(*listen, name),
        Helper::WithoutIoUring { command } => without_io_uring(command),
    }
}

/// The words that come before a command to run it without io_uring.
pub(super) fn without_io_uring_words() -> Result<Vec<OsString>> {
    let own = std::env::current_exe().context("find this program")?;
    Ok(vec![own.into(), "helper".into(), "without-io-uring".into()])
}

/// Installs the filter, then becomes the command: filters stay through `execve`.
fn without_io_uring(command: &[OsString]) -> Result<bool> {
    let denied = libc::EPERM.unsigned_abs();
    let filter = SeccompFilter::new(
        [(libc::SYS_io_uring_setup, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(denied),
        std::env::consts::ARCH.try_into().context("filter system calls on this processor")?,
    )
    .context("make the filter")?;
    let program: BpfProgram = filter.try_into().context("compile the filter")?;
    apply_filter(&program).context("install the filter")?;
    let Some((program, args)) = command.split_first() else { bail!("no command") };
    Err(Command::new(program).args(args).exec()).with_context(|| format!("run {}", program.display()))
}
