//! Free addresses on the loopback.
//!
//! Owns the choice. Nothing is reserved: between the choice and the server's bind only an unlucky other program can take
//! the port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are taken from below the kernel's default range for outgoing connections (32768–60999), so that a client's
/// own socket never sits on a port that a server is about to bind.
const PORT_FIRST: u16 = 20_000;
const PORT_COUNT: u16 = 12_000;

/// A loopback address whose port is free now and was not handed out by this process in its last 12,000 calls.
///
/// # Errors
/// When every port of the range is in use.
pub fn free_addr() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs started side by side begin at different places.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(PORT_COUNT)).unwrap_or(0);
    for _ in 0..PORT_COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % PORT_COUNT;
        let port = PORT_FIRST + (start + step) % PORT_COUNT;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    let range =
        format!("no free port on the loopback between {PORT_FIRST} and {}", PORT_FIRST + PORT_COUNT - 1);
    Err(io::Error::new(io::ErrorKind::AddrInUse, range))
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
}
