//! What an operator installs, rendered from the configuration.
//!
//! Owns the shape of units and manifests. Never writes a file, never talks to systemd or a cluster, and never repeats a
//! value that the configuration has.
//!
//! # Decisions
//! - `Type=exec`: the gateway does not speak sd_notify, so `Type=notify` would wait for a message that never comes.
//! - No `seccompProfile` in the manifest: the usual default refuses io_uring, and the gateway then takes its epoll driver
//!   and says so. A profile that admits io_uring must be installed on the nodes first.
#![forbid(unsafe_code)]

pub mod kubernetes;
pub mod systemd;
mod yaml;

use std::net::SocketAddr;
use std::time::Duration;

use erlmcp_config::{Address, Config};

/// What the process may take beyond its own drain until whoever stopped it loses patience.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// How long a stop may take: what is announced before, the drain, and a margin.
fn stop_limit(config: &Config) -> Duration {
    let shutdown = &config.load_balancer.graceful_shutdown;
    let drain = if shutdown.drain_connections { shutdown.timeout } else { Duration::ZERO };
    config.runtime.drain.grace + drain + STOP_MARGIN
}

/// Every TCP address that the configuration listens on with its name; the admin API's is called `admin`. Ports that the
/// kernel chooses (0) are not among them.
fn addresses(config: &Config) -> Vec<(&str, SocketAddr)> {
    let listeners =
        config.listeners.listeners.iter().map(|listener| (listener.name.as_str(), &listener.address));
    let all = listeners.chain([("admin", &config.listeners.admin.address)]);
    let tcp = |(name, address)| match address {
        &Address::Tcp(address) if address.port() > 0 => Some((name, address)),
        _ => None,
    };
    all.filter_map(tcp).collect()
}
