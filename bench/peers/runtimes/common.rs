//! What the same server on every runtime shares: arguments; where a request ends and the reply are the null server's.
//!
//! A request without a body, in one read or in several, is answered with 13 bytes over a connection that stays. Nothing
//! is parsed but the end of the head. Never use it for anything but measuring.

use std::io;
use std::net::SocketAddr;

pub(crate) use erlmcp_bench::null::{REPLY, REQUEST_BYTES_MAX, is_whole};

/// The address from the command line, and whether the word `option` stands behind it.
///
/// # Errors
/// A line on how to call it.
pub(crate) fn args(option: Option<&str>) -> io::Result<(SocketAddr, bool)> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let usage = || {
        let option = option.map_or_else(String::new, |option| format!(" [{option}]"));
        io::Error::new(io::ErrorKind::InvalidInput, format!("usage: LISTEN{option}"))
    };
    match words.as_slice() {
        [addr] => Ok((addr.parse().map_err(|_| usage())?, false)),
        [addr, word] if Some(word.as_str()) == option => Ok((addr.parse().map_err(|_| usage())?, true)),
        _ => Err(usage()),
    }
}
