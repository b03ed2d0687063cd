//! The fixed-reply upstream of the comparisons as a program of its own. Usage: `hello LISTEN`.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<SocketAddr>());
    match (args.next(), args.next()) {
        (Some(Ok(listen)), None) => erlmcp_bench::reference::hello(listen),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: hello LISTEN")),
    }
}
