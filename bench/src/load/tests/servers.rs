//! Small servers on threads of their own: what a test needs of one, with real sockets. End when dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How a server answers request number n (over all connections) on a connection.
pub(super) type Answer = dyn Fn(u64, &mut TcpStream) -> Then + Send + Sync;

/// What becomes of the connection.
#[derive(PartialEq, Eq)]
pub(super) enum Then {
    Keep,
    Close,
}

/// A server; its threads end with it.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    pub(super) requests: Arc<AtomicU64>,
    pub(super) connections: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Writes a reply. A client that is gone is the client's business.
pub(super) fn reply(stream: &mut TcpStream, bytes: &[u8]) -> Then {
    if stream.write_all(bytes).is_ok() { Then::Keep } else { Then::Close }
}

impl Server {
    /// Answers each whole request head (bodies are not expected).
    pub(super) fn start(answer: impl Fn(u64, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            addr: listener.local_addr().expect("bound"),
            requests: Arc::default(),
            connections: Arc::default(),
            over: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let over = Arc::clone(&server.over);
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let (answer, requests, over) =
                    (Arc::clone(&answer), Arc::clone(&requests), Arc::clone(&over));
                std::thread::spawn(move || serve(stream, &*answer, &requests, &over));
            }
        });
        server
    }

    /// Always the same small reply.
    pub(super) fn hello() -> Self {
        Self::start(|_, stream| reply(stream, OK))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, requests: &AtomicU64, over: &AtomicBool) {
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => head.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if answer(requests.fetch_add(1, Ordering::Relaxed), &mut stream) == Then::Close {
                return;
            }
        }
    }
}
