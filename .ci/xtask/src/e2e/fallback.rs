//! Where io_uring is denied: under a real seccomp filter, and with too little locked memory.
//!
//! Owns the ways to deny it. `auto` must serve on epoll and say why; `io_uring` must not start, with one line.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::admin::Metrics;
use super::gateway::GatewaySpec;
use super::helper::without_io_uring_words;
use super::mcp::{INITIALIZE, LIMIT, PATH};
use super::startup::ends_with_one_line;
use super::{Context, Outcome, http};

/// Without `CAP_IPC_LOCK`, which only root has, the kernel counts a ring's memory.
const NO_LOCK_RIGHT: [&str; 3] = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
/// None is allowed then.
const NO_LOCKED_MEMORY: [&str; 3] = ["prlimit", "--memlock=0:0", "--"];

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let right: &[&str] = if rustix::process::geteuid().is_root() { &NO_LOCK_RIGHT } else { &[] };
    let without_memory = right.iter().chain(&NO_LOCKED_MEMORY).map(OsString::from).collect();
    let ways = [
        ("seccomp", without_io_uring_words()?, "seccomp profile"),
        ("locked-memory", without_memory, "RLIMIT_MEMLOCK"),
    ];
    for (name, wrapper, remedy) in ways {
        outcome.case(format!("{name}, auto: serves on epoll"), serves(context, name, &wrapper, remedy));
        let args = ["--driver".into(), "io_uring".into()];
        let line = ends_with_one_line(context, &format!("{name}-io_uring"), &wrapper, &args);
        outcome.case(
            format!("{name}, io_uring: exit 1 and one line with the remedy"),
            (|| {
                let line = line?;
                ensure!(line.contains("io_uring") && line.contains(remedy), "the line is {line:?}");
                Ok(())
            })(),
        );
    }
    Ok(outcome)
}

fn serves(context: &Context, name: &str, wrapper: &[OsString], remedy: &str) -> Result<()> {
    let spec = GatewaySpec { wrapper: wrapper.to_vec(), ..GatewaySpec::default() };
    let mut gateway = spec.args(["--driver", "auto"]).start(context, &format!("{name}-auto"))?;
    let initialized = http::post_json(gateway.addr, PATH, INITIALIZE, LIMIT)?;
    ensure!(
        initialized.status == 200 && initialized.text().contains("\"serverInfo\""),
        "initialize: status {}: {}",
        initialized.status,
        initialized.text()
    );
    let session = initialized.header("mcp-session-id").unwrap_or_default();
    let mut conn = http::Conn::connect(gateway.addr, LIMIT)?;
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Mcp-Session-Id", session),
        ("MCP-Protocol-Version", "2025-11-25"),
    ];
    let note =
        conn.request("POST", PATH, &headers, br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
    ensure!(note.status == 202, "notifications/initialized: status {}", note.status);
    let listed =
        conn.request("POST", PATH, &headers, br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
    ensure!(
        listed.status == 200 && listed.text().contains("\"inputSchema\""),
        "tools/list: status {}: {}",
        listed.status,
        listed.text()
    );
    let log = gateway.server.output();
    let warned = log.lines().find(|line| line.contains("WARN") && line.contains("io_uring"));
    ensure!(
        warned.is_some_and(|line| line.contains(remedy) && line.contains("cannot")),
        "the log names no reason and remedy:\n{log}"
    );
    let metrics = Metrics::of(&gateway)?;
    let info = metrics.line_with("erlmcp_driver_info", "epoll").unwrap_or_default();
    ensure!(info.contains(remedy), "/metrics: {info:?} names no remedy");
    let status = gateway.server.terminate(Duration::from_secs(10))?;
    ensure!(status.success(), "on SIGTERM: {status}");
    Ok(())
}
