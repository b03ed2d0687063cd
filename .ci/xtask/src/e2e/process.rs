//! Processes of a suite: started with captured logs, polled with deadlines, ended for certain, and read through /proc.
//!
//! Owns the choice of free ports. The processes themselves and the readers are the benchmarks' own
//! ([`erlmcp_bench::child`], [`erlmcp_bench::procfs`]), so that tests and measurements see the same.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use erlmcp_bench::child::{Server, ServerSpec};
pub use erlmcp_bench::procfs;

/// Ports are taken from below the kernel's default range for outgoing connections (32768–60999), so that a client's
/// own socket never sits on a port that a server is about to bind.
const PORT_FIRST: u16 = 20_000;
const PORT_LAST: u16 = 31_999;

/// A loopback address whose port is free now and is not handed out again by this process.
///
/// # Errors
/// When every port of the range is in use.
pub fn free_addr() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORT_LAST - PORT_FIRST + 1;
    // Runs started side by side begin at different places.
    let start = u16::try_from(std::process::id() * 97 % u32::from(count)).unwrap_or(0);
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORT_FIRST + (start + step % count) % count;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no free port on the loopback between {PORT_FIRST} and {PORT_LAST}")
}

/// Polls until `condition` holds; use it where no process is the one that is waited for.
///
/// # Errors
/// When it does not hold within `limit`; the error names `what`.
pub fn poll(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("no {what} within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_can_be_bound() {
        let (one, two) = (free_addr().unwrap(), free_addr().unwrap());
        assert_ne!(one, two);
        let _held = TcpListener::bind(one).unwrap();
        TcpListener::bind(two).unwrap();
    }

    #[test]
    fn poll_ends_at_its_deadline() {
        let mut looks = 0;
        poll("third look", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        })
        .unwrap();
        let late = poll("moon", Duration::from_millis(20), || false).unwrap_err().to_string();
        assert!(late.contains("moon"), "{late}");
    }
}
