//! Servers that are good or bad in one way each, to be measured by `erlmcp bench`: threads of this process.
//!
//! Owns a listener and a thread per connection. Reads a request as bytes up to an empty line; knows no more of HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Between the events of a stream.
pub(super) const EVENT_WAIT: Duration = Duration::from_millis(50);

/// What a server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Closes the connection instead of every fifth reply.
    Drops,
    /// Sends bytes that are no HTTP.
    Garbage,
    /// Sends an endless event stream, one event every [`EVENT_WAIT`].
    Events,
}

/// A running server. Dropping it ends its listener; connections end with their clients.
pub(super) struct BadServer {
    /// Where it listens.
    pub(super) addr: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BadServer {
    /// Starts one.
    pub(super) fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        let addr = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ends);
        let accept = move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                // Its end is its client's; there is nobody to tell.
                std::thread::spawn(move || drop(serve(stream, manner)));
            }
        };
        Ok(Self { addr, ends, thread: Some(std::thread::spawn(accept)) })
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // Wakes the accept; one that fails finds the listener gone already.
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut pending = Vec::new();
    let mut count = 0u32;
    loop {
        let Some(head) = request(&mut stream, &mut pending)? else { return Ok(()) };
        count += 1;
        match manner {
            Manner::Drops if count.is_multiple_of(5) => return Ok(()),
            Manner::Garbage => stream.write_all(b"\x00\x01 this is no HTTP\r\n\r\n")?,
            Manner::Events if head.contains("/events") => return events(&mut stream),
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?,
        }
    }
}

/// The next head; bodies are not sent to these servers. `None` at the end of the stream.
fn request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = pending.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        let count = stream.read(&mut piece)?;
        if count == 0 || pending.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
        pending.extend_from_slice(&piece[..count]);
    }
}

/// Until the client goes away.
fn events(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for number in 0u64.. {
        let event = format!("data: {number}\n\n");
        write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
        // The pace of the stream, not a wait for anything.
        std::thread::sleep(EVENT_WAIT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::http;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn each_is_bad_in_its_own_way() {
        let drops = BadServer::start(Manner::Drops).unwrap();
        let mut conn = http::Conn::connect(drops.addr, LIMIT).unwrap();
        for _ in 0..4 {
            conn.send("GET", "/", &[], b"").unwrap();
            assert_eq!(conn.read_reply(true).unwrap().status, 200);
        }
        conn.send("GET", "/", &[], b"").unwrap();
        assert!(conn.read_reply(true).is_err());
        let garbage = BadServer::start(Manner::Garbage).unwrap();
        assert!(http::get(garbage.addr, "/", LIMIT).is_err());
        let events = BadServer::start(Manner::Events).unwrap();
        let mut conn = http::Conn::connect(events.addr, LIMIT).unwrap();
        conn.send("GET", "/events", &[], b"").unwrap();
        assert_eq!(conn.read_head(true).unwrap().header("content-type"), Some("text/event-stream"));
        assert_eq!(conn.next_piece().unwrap().as_deref(), Some(&b"data: 0\n\n"[..]));
    }
}
