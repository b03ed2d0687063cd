//! How commands reach a running gateway: its Unix socket, found by its port, or its address with a token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use erlmcp_ring::SockAddr;
use serde_json::Value;

use crate::admin::candidates;
use crate::fetch::{Ask, Reply, fetch};
use crate::run::sockets::is_listening;

/// For a whole answer; a reload reads files.
const LIMIT: Duration = Duration::from_secs(30);
/// Of an answer.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which gateway.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// Its admin socket; found by itself when only one gateway runs here.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Its admin address, to find its socket by the port, or to go there when there is none.
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Token for changes over --admin.
    #[arg(long, env = "ERLMCP_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl RemoteArgs {
    /// Asks; the answer's JSON and whether its status was good.
    pub(super) fn ask(&self, method: &str, target: &str) -> Result<(Value, bool)> {
        let address = self.address()?;
        let reply = request(&address, method, target, self.token.as_deref())
            .with_context(|| format!("cannot reach a gateway at {address}; does it run?"))?;
        let value = serde_json::from_slice(&reply.body).with_context(|| {
            format!("read the answer of {address} (status {}); is that an admin API?", reply.status)
        })?;
        Ok((value, (200..300).contains(&reply.status)))
    }

    /// The same, with the answer's own words as the error when its status is bad.
    pub(super) fn get_good(&self, method: &str, target: &str) -> Result<Value> {
        match self.ask(method, target)? {
            (value, true) => Ok(value),
            (value, false) => Err(anyhow!("{}", value["error"].as_str().unwrap_or("the gateway refused"))),
        }
    }

    fn address(&self) -> Result<SockAddr> {
        if let Some(path) = &self.socket {
            return Ok(SockAddr::Unix(path.clone()));
        }
        let folders = candidates();
        if let Some(admin) = self.admin {
            let name = format!("admin-{}.sock", admin.port());
            let found = folders.iter().map(|folder| folder.join(&name)).find(|path| is_listening(path));
            return Ok(found.map_or(SockAddr::Inet(admin), SockAddr::Unix));
        }
        let mut live: Vec<PathBuf> =
            folders.iter().flat_map(|folder| sockets_in(folder)).filter(|path| is_listening(path)).collect();
        match live.len() {
            0 => bail!("no gateway of this user runs on this host; name it with --socket or --admin"),
            1 => Ok(SockAddr::Unix(live.remove(0))),
            _ => {
                let names: Vec<_> = live.iter().map(|path| path.display().to_string()).collect();
                bail!("several gateways run here; name one with --socket: {}", names.join(" "))
            }
        }
    }
}

fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("admin-") && name.ends_with(".sock"))
    };
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect();
    found.sort();
    found
}

fn request(address: &SockAddr, method: &str, target: &str, token: Option<&str>) -> Result<Reply> {
    if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        bail!("the token has characters that a header cannot carry");
    }
    let host = match address {
        SockAddr::Inet(address) => address.to_string(),
        SockAddr::Unix(_) => "localhost".to_owned(),
    };
    let headers = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let ask = Ask { method, target, host: &host, headers: &headers, body_bytes_max: BODY_BYTES_MAX };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reply = runtime.block_on(async { tokio::time::timeout(LIMIT, fetch(address, &ask)).await });
    Ok(reply.map_err(|_| anyhow!("no answer within {LIMIT:?}"))??)
}

/// A text as one segment of a path, or one value of a query (RFC 3986 section 2.3).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_unusual_is_encoded() {
        assert_eq!(encode("a-1.b:8080/ü x"), "a-1.b%3A8080%2F%C3%BC%20x");
    }
}
