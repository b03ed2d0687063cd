//! Reference programs: the fixed-reply upstream of the comparisons, and the bare forwarder that is their floor.
//!
//! Library functions, so that whoever compares can start them from its own binary; each serves until its process ends.
//! Never use them for anything but measuring.

mod floor;
mod hello;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

pub use floor::floor;
pub use hello::hello;

const BACKLOG: u32 = 4096;

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::free_addr;
    use erlmcp_proto::websocket::{DataKind, KEY_BYTES, encode_key, write_message, write_request};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    /// Connects as soon as somebody listens.
    fn connect(addr: SocketAddr) -> TcpStream {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpStream::connect(addr) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    return stream;
                }
                Err(error) if Instant::now() >= deadline => panic!("{addr}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Sends `request` and reads until the reply ends with `end`.
    fn ask(stream: &mut TcpStream, request: &[u8], end: &[u8]) -> Vec<u8> {
        stream.write_all(request).unwrap();
        let mut reply = Vec::new();
        let mut piece = vec![0; 64 << 10];
        while !reply.ends_with(end) {
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&piece[..count]);
        }
        reply
    }

    #[test]
    fn hello_answers_alone_and_behind_the_floor() {
        let (upstream, front) = (free_addr().unwrap(), free_addr().unwrap());
        // They serve until the test's process ends.
        std::thread::spawn(move || hello(upstream));
        std::thread::spawn(move || floor(front, &[upstream]));
        drop(connect(upstream));
        for addr in [upstream, front] {
            let mut stream = connect(addr);
            let small = ask(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"Hello, World!");
            assert!(small.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n"));
            let mut large = 0;
            let mut piece = vec![0; 64 << 10];
            stream.write_all(b"GET /64k HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            while large < 64 << 10 {
                large += stream.read(&mut piece).unwrap();
            }
            let sse = ask(&mut connect(addr), b"GET /sse HTTP/1.1\r\nHost: x\r\n\r\n", b": hi\n\n\r\n");
            assert!(sse.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }

    #[test]
    fn hello_sends_messages_back() {
        let addr = free_addr().unwrap();
        std::thread::spawn(move || hello(addr));
        let mut stream = connect(addr);
        let mut request = Vec::new();
        let key: [u8; KEY_BYTES] = encode_key([7; 16]);
        write_request(&mut request, "x", "/ws", &key, None, &[]);
        assert!(ask(&mut stream, &request, b"\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
        let mut message = Vec::new();
        write_message(&mut message, DataKind::Text, Some([1, 2, 3, 4]), b"there and back");
        assert_eq!(ask(&mut stream, &message, b"there and back"), b"\x81\x0ethere and back");
    }

    #[test]
    fn the_floor_needs_an_upstream() {
        assert!(floor(SocketAddr::from(([127, 0, 0, 1], 0)), &[]).is_err());
    }
}
