//! The process's own log: lines for people on a terminal, JSON elsewhere; to standard error or to a file.
//!
//! Owns the subscriber and its level. Never the access log.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use erlmcp_config::Config;
use erlmcp_config::model::runtime::LogLevel;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

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
    let layer = layer(config)?;
    // A second start within one process keeps the first log.
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_ok() {
        let _ = LEVEL.set(handle);
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// What writes the lines, and where to.
fn layer<S>(config: &Config) -> anyhow::Result<Box<dyn Layer<S> + Send + Sync>>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let log = &config.runtime.log;
    let Some(path) = config.runtime.log_file() else {
        let plain = fmt::layer().with_writer(std::io::stderr);
        return Ok(match std::io::stderr().is_terminal() {
            true => plain.with_target(false).boxed(),
            false => plain.json().flatten_event(true).boxed(),
        });
    };
    let file = TurnedFile::open(path.clone(), log.file_bytes_max, log.files_max).map_err(|error| {
        hints::failed(&format!("open the log {}", path.display()), &error, "log.path in runtime.yaml")
    })?;
    Ok(fmt::layer().json().flatten_event(true).with_writer(file).boxed())
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

/// `RUST_LOG` when it is set, else what is configured.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| configured(level))
}

/// The level for our own code, and for libraries what matters.
fn configured(level: LogLevel) -> EnvFilter {
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

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_config::{Source, load};

    #[test]
    fn lines_of_the_level_go_to_the_file_as_json() {
        let folder = std::env::temp_dir().join(format!("erlmcp-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("erlmcp.log");
        for (level, expected) in [("error", &["c"][..]), ("info", &["b", "c"]), ("debug", &["a", "b", "c"])] {
            let _ = std::fs::remove_file(&path);
            let source = Source::default().set("runtime.log.level", level);
            let source = source.set("runtime.log.path", path.display().to_string());
            let config = load(&source).unwrap_or_else(|report| panic!("{report}")).config;
            let subscriber = tracing_subscriber::registry()
                .with(configured(config.runtime.log.level))
                .with(layer(&config).unwrap());
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("a");
                tracing::info!("b");
                tracing::error!("c");
            });
            let text = std::fs::read_to_string(&path).unwrap();
            let message = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["message"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            assert_eq!(text.lines().map(message).collect::<Vec<_>>(), expected, "{level}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
