//! From a target's host to the addresses that load goes to: all of them that accept connections.
//!
//! Owns the look-up and one probing connection per address. Sends nothing.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use erlmcp_config::model::scenario::TargetUrl;

/// An address that does not accept within this is left out.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Most addresses of one name: what a DNS reply over UDP carries.
const ADDRESSES_MAX: usize = 256;

/// Where load can go, and what was left out.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Resolved {
    /// At least one; all of them accept connections.
    pub(in crate::cli) addrs: Vec<SocketAddr>,
    /// A line for each address that does not.
    pub(in crate::cli) notes: Vec<String>,
}

/// Looks `url`'s host up and keeps the addresses that accept: `localhost` is often both `::1` and `127.0.0.1`, with a
/// server on one of them, and half of the connections would be refused.
///
/// # Errors
/// When the name has no address or none accepts; says for each what the system said.
pub(in crate::cli) fn resolve(url: &TargetUrl) -> anyhow::Result<Resolved> {
    let all = look_up(url)?;
    let mut resolved = Resolved { addrs: Vec::new(), notes: Vec::new() };
    for addr in all {
        match TcpStream::connect_timeout(&addr, PROBE_LIMIT) {
            Ok(_) => resolved.addrs.push(addr),
            Err(error) => resolved.notes.push(format!("{addr}: {error}")),
        }
    }
    if !resolved.addrs.is_empty() {
        return Ok(resolved);
    }
    let mut why = String::new();
    for note in &resolved.notes {
        // Writing to a String cannot fail.
        let _ = write!(why, "\n  {note}");
    }
    bail!("nothing accepts connections at {}: start the server, or correct the URL{why}", url.text)
}

/// All addresses of `url`'s host, each once.
///
/// # Errors
/// When the name has none.
pub(in crate::cli) fn look_up(url: &TargetUrl) -> anyhow::Result<Vec<SocketAddr>> {
    let found = (url.host.as_str(), url.port).to_socket_addrs();
    let found = found
        .with_context(|| format!("cannot resolve `{}`: check the name, or give an address", url.host))?;
    let mut all: Vec<SocketAddr> = Vec::new();
    for addr in found.take(ADDRESSES_MAX) {
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_refuses_is_left_out_or_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://localhost:{port}/").parse().unwrap();
        let resolved = resolve(&url).unwrap();
        assert_eq!(resolved.addrs, [SocketAddr::from(([127, 0, 0, 1], port))]);
        drop(listener);
        let error = resolve(&url).unwrap_err().to_string();
        assert!(error.contains("nothing accepts connections") && error.contains("127.0.0.1"), "{error}");
    }

    #[test]
    fn a_name_without_address_is_named() {
        let error = resolve(&"http://no-such-host.invalid/".parse().unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains("cannot resolve `no-such-host.invalid`"), "{error:#}");
    }
}
