//! The bare forwarder as a program of its own. Usage: `floor LISTEN UPSTREAM...`.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;

fn main() -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "usage: floor LISTEN UPSTREAM...");
    let addrs = std::env::args().skip(1).map(|arg| arg.parse::<SocketAddr>());
    let addrs = addrs.collect::<Result<Vec<_>, _>>().map_err(|_| usage())?;
    match addrs.split_first() {
        Some((listen, upstreams)) if !upstreams.is_empty() => {
            erlmcp_bench::reference::floor(*listen, upstreams)
        }
        _ => Err(usage()),
    }
}
