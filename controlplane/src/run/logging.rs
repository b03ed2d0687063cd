//! The process's own log: lines for people on a terminal, JSON elsewhere; to standard error or to a file.
//!
//! Owns the subscriber and its level. Never the access log.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use erlmcp_config::Config;
use erlmcp_config::model::runtime::LogLevel;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use super::hints;
use crate::turned_file::TurnedFile;

/// Changes the level while the process runs.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log.
///
/// # Errors
/// When its file cannot be opened.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(config.runtime.log.level));
    let log = &config.runtime.log;
    let layer = match config.runtime.log_file() {
        Some(path) => {
            let file =
                TurnedFile::open(path.clone(), log.file_bytes_max, log.files_max).map_err(|error| {
                    hints::failed(
                        &format!("open the log {}", path.display()),
                        &error,
                        "log.path in runtime.yaml",
                    )
                })?;
            fmt::layer().json().flatten_event(true).with_writer(file).boxed()
        }
        None if std::io::stderr().is_terminal() => {
            fmt::layer().with_writer(std::io::stderr).with_target(false).boxed()
        }
        None => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    // A second start within one process keeps the first log.
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_ok() {
        let _ = LEVEL.set(handle);
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// A panic as one line of the log, with its stack when `RUST_BACKTRACE` asks for it.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message =
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let stack = std::backtrace::Backtrace::capture();
    match stack.status() {
        std::backtrace::BacktraceStatus::Captured => {
            tracing::error!(thread, at, panic = message, stack = %stack, "a thread panicked");
        }
        _ => tracing::error!(thread, at, panic = message, "a thread panicked"),
    }
}

/// Takes another level, unless `RUST_LOG` decides.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::warn!(%error, "cannot change the level of the log");
    }
}

/// `RUST_LOG` when it is set; else the configured level for our own code, and for libraries what matters.
fn filter(level: LogLevel) -> EnvFilter {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        return filter;
    }
    let word = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let libraries = if matches!(level, LogLevel::Error) { "error" } else { "warn" };
    EnvFilter::new(format!("{libraries},erlmcp_controlplane={word},erlmcp={word}"))
}
