//! What the same server on every runtime shares: arguments, where a request ends, the reply.
//!
//! A request without a body, in one read or in several, is answered with 13 bytes over a connection that stays. Nothing
//! is parsed but the end of the head. Never use it for anything but measuring.

use std::io;
use std::net::SocketAddr;

/// The whole reply.
pub(crate) const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";
/// Size of a connection's receive buffer, and longest request, bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 4096;

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

/// Whether what was read so far is a whole request.
pub(crate) fn is_whole(read: &[u8]) -> bool {
    read.ends_with(b"\r\n\r\n")
}
