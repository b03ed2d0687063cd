//! The null server as a program of its own: what calibration measures against, and the ring among the runtimes. Usage:
//! `null LISTEN [epoll]`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;

use erlmcp_bench::null;
use erlmcp_ring::DriverChoice;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (addr, driver) = match words.as_slice() {
        [addr] => (addr, DriverChoice::IoUring),
        [addr, word] if word == "epoll" => (addr, DriverChoice::Epoll),
        _ => return Err("usage: null LISTEN [epoll]".into()),
    };
    Ok(null::serve(addr.parse::<SocketAddr>()?, driver)?)
}
