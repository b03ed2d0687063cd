//! What the MCP suites share: the drivers they run on, the embedded node behind a gateway, and scripts of checks.
//!
//! Owns no suite. Never talks MCP itself beyond the one request that tells a node from other servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::gateway::{Gateway, GatewaySpec};
use super::process::{poll, procfs};
use super::{Context, Outcome, http};

/// Both drivers of the data plane; what holds on one must hold on the other.
pub(super) const DRIVERS: [&str; 2] = ["io_uring", "epoll"];
/// The MCP endpoint.
pub(super) const PATH: &str = "/mcp";
/// One exchange with a server on the loopback.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// What opens a session of the older era.
pub(super) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}"#;

/// A gateway on `driver` in front of its embedded node.
pub(super) fn gateway(context: &Context, driver: &str) -> Result<Gateway> {
    GatewaySpec::default().args(["--driver", driver]).start(context, &format!("gateway-{driver}"))
}

/// Where the embedded node behind `gateway` listens: the one listener of its process that answers as the node does.
///
/// Found by /proc, so that the suites depend on nothing that the gateway says about itself.
pub(super) fn embedded_node(gateway: &Gateway) -> Result<SocketAddr> {
    let mut node = None;
    poll("listener of an embedded node", LIMIT, || {
        let listeners: BTreeSet<_> =
            procfs::family(gateway.server.pid()).into_iter().flat_map(listeners).collect();
        node = listeners
            .into_iter()
            .filter(|addr| *addr != gateway.addr && *addr != gateway.admin)
            .find(|addr| is_node(*addr));
        node.is_some()
    })?;
    node.context("find the embedded node")
}

fn is_node(addr: SocketAddr) -> bool {
    http::post_json(addr, PATH, INITIALIZE, Duration::from_secs(1))
        .is_ok_and(|reply| reply.status == 200 && reply.text().contains("\"erlmcp-embedded\""))
}

/// The IPv4 addresses on which the process listens; none for a process that is gone.
fn listeners(pid: u32) -> Vec<SocketAddr> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let own: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    table
        .lines()
        .filter_map(listening)
        .filter(|(inode, _)| own.contains(*inode))
        .map(|(_, addr)| addr)
        .collect()
}

/// Inode and address of a line of /proc/net/tcp, when it is of a listener (state 0A).
fn listening(line: &str) -> Option<(&str, SocketAddr)> {
    let words: Vec<_> = line.split_whitespace().collect();
    if words.get(3) != Some(&"0A") {
        return None;
    }
    let (host, port) = words.get(1)?.split_once(':')?;
    // The kernel prints the address as the number that it is in memory.
    let host = Ipv4Addr::from(u32::from_str_radix(host, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((words.get(9)?, SocketAddr::from((host, port))))
}

/// Runs a script of checks (`.ci/xtask/e2e/SCRIPT URL`) and records each of its lines as a case.
///
/// # Errors
/// When it cannot be run, ends without its closing line, or its exit code does not agree with its lines.
pub(super) fn script(
    context: &Context,
    python: &Path,
    script: &str,
    url: &str,
    case_prefix: &str,
) -> Result<Outcome> {
    let log = context.log(&format!("{}-{case_prefix}", script.trim_end_matches(".py")));
    let file = context.root.join(".ci/xtask/e2e").join(script);
    let mut command = Command::new(python);
    command.arg(file).arg(url).env("PYTHONDONTWRITEBYTECODE", "1");
    let run = crate::run::logged(&mut command, Duration::from_secs(240), &log);
    let text = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    let outcome = cases(&text, case_prefix)?;
    match (run, outcome.failed()) {
        (Ok(()), 0) | (Err(_), 1..) => Ok(outcome),
        (Ok(()), failed) => bail!("{script} exits with 0 although {failed} of its checks failed"),
        (Err(error), 0) => Err(error.context(format!("{script} fails although no check of it did"))),
    }
}

/// The cases in what a script of checks printed.
fn cases(text: &str, prefix: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut closing = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            outcome.pass(format!("{prefix} {name}"));
        } else if let Some(rest) = line.strip_prefix("FAIL ") {
            let (name, why) = rest.split_once(": ").unwrap_or((rest, ""));
            outcome.fail(format!("{prefix} {name}"), why);
        } else if line.contains(" passed, ") {
            closing = Some(line.to_owned());
        }
    }
    let counted = format!("{} passed, {} failed", outcome.passed(), outcome.failed());
    let tail: Vec<_> = text.lines().rev().take(20).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    ensure!(
        closing.as_deref() == Some(counted.as_str()),
        "the checks did not run to their end ({counted} seen, closing line {closing:?}):\n{tail}"
    );
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_process_names_its_listeners() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(listeners(std::process::id()).contains(&addr));
        drop(listener);
        assert!(!listeners(std::process::id()).contains(&addr));
    }

    #[test]
    fn a_scripts_lines_become_cases_and_a_cut_off_one_is_an_error() {
        let outcome = cases("ok a b\nnoise\nFAIL c: d: e\n1 passed, 1 failed\n", "x").unwrap();
        assert_eq!((outcome.passed(), outcome.failed()), (1, 1));
        let cut = cases("ok a\nTraceback\n", "x").unwrap_err().to_string();
        assert!(cut.contains("Traceback"), "{cut}");
        assert!(cases("ok a\n2 passed, 0 failed\n", "x").is_err());
    }
}
