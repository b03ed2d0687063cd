//! A server on threads of its own, one for each connection. What it finds wrong with its clients is kept for the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use erlmcp_proto::http1::{Framing, HeadLimits, HeaderSlots, parse_request};

/// What connections share with the test.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) connections: AtomicU64,
    problems: Mutex<Vec<String>>,
}

impl Ledger {
    /// Keeps what is wrong.
    pub(crate) fn require(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.problems.lock().expect("no panic").push(what());
        }
    }
}

/// A server; its threads end with it.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// `serve` returns when its connection is over; `None` from a read says so.
    pub(crate) fn start(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        let (over, ledger) = (Arc::<AtomicBool>::default(), Arc::<Ledger>::default());
        let (serve, ending, kept) = (Arc::new(serve), Arc::clone(&over), Arc::clone(&ledger));
        let accepting = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if ending.load(Ordering::Relaxed) {
                    break;
                }
                let stream = stream.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
                kept.connections.fetch_add(1, Ordering::Relaxed);
                let (serve, over, ledger) = (Arc::clone(&serve), Arc::clone(&ending), Arc::clone(&kept));
                serving.push(std::thread::spawn(move || {
                    serve(&mut Peer { stream, unread: Vec::new(), over, ledger });
                }));
            }
            for thread in serving {
                thread.join().expect("a connection's thread does not panic");
            }
        });
        Self { addr, ledger, over, accepting: Some(accepting) }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.ledger.connections.load(Ordering::Relaxed)
    }

    /// Ends it, and fails the test if a client broke a rule.
    pub(crate) fn end(mut self) {
        self.stop();
        let problems = self.ledger.problems.lock().expect("no panic");
        assert!(problems.is_empty(), "the server found: {:#?}", &problems[..problems.len().min(5)]);
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.accepting.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.stop();
        }
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    pub(crate) unread: Vec<u8>,
    over: Arc<AtomicBool>,
    pub(crate) ledger: Arc<Ledger>,
}

/// A request, owned.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }
}

impl Peer {
    /// More bytes into `unread`; `None` at the end of the connection or of the server.
    pub(crate) fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(len) => {
                    self.unread.extend_from_slice(&piece[..len]);
                    return Some(());
                }
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                    if self.over.load(Ordering::Relaxed) {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// Writes; a client that is gone is the client's business.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Waits until the client closes.
    pub(crate) fn wait_for_end(&mut self) {
        while self.more().is_some() {}
    }

    /// The next request.
    pub(crate) fn request(&mut self) -> Option<Asked> {
        loop {
            if let Some(asked) = self.take_request() {
                return Some(asked);
            }
            self.more()?;
        }
    }

    fn take_request(&mut self) -> Option<Asked> {
        let mut slots = HeaderSlots::new();
        let request = parse_request(&self.unread, &mut slots, &HeadLimits::default()).expect("good HTTP")?;
        let len = match request.framing {
            Framing::Length(len) => usize::try_from(len).expect("a length"),
            Framing::None => 0,
            other => panic!("the generator frames no body as {other:?}"),
        };
        let end = request.head_len + len;
        let body = self.unread.get(request.head_len..end)?.to_vec();
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let (method, path) = (request.method_text.to_owned(), request.target.text.to_owned());
        self.unread.drain(..end);
        Some(Asked { method, path, headers, body })
    }

    /// Writes a whole response.
    pub(crate) fn respond(&mut self, status: &str, fields: &str, body: &str) {
        self.write(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Writes the head of an event stream, and then chunks of it.
    pub(crate) fn begin_stream(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
    }

    pub(crate) fn chunk(&mut self, text: &str) {
        self.write(format!("{:x}\r\n{text}\r\n", text.len()));
    }

    pub(crate) fn end_stream(&mut self) {
        self.write("0\r\n\r\n");
    }
}
