//! A real data plane between a real client socket and scripted nodes, on either driver.
//!
//! Nothing here sleeps for a condition: reads have deadlines, counters are polled with one.

pub(crate) mod snapshot;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use erlmcp_dataplane::link::{ListenerId, Reason, Snapshot};
use erlmcp_dataplane::{AccessFeed, DataPlane, Setup};
use erlmcp_ring::{DriverChoice, ShardConfig, SockAddr, probe};

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test on both drivers.
pub(crate) fn on_both_drivers(test: impl Fn(DriverChoice)) {
    for choice in [DriverChoice::IoUring, DriverChoice::Epoll] {
        println!("driver {choice:?}");
        test(choice);
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) plane: DataPlane,
    pub(crate) address: SocketAddr,
    pub(crate) feeds: Vec<AccessFeed>,
}

impl Gateway {
    pub(crate) fn start(choice: DriverChoice, snapshot: Snapshot) -> Self {
        Self::start_shards(choice, snapshot, 1)
    }

    pub(crate) fn start_shards(choice: DriverChoice, snapshot: Snapshot, shards: usize) -> Self {
        let ring = ShardConfig::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut plane = DataPlane::start(Setup {
            cpus: vec![None; shards],
            chosen: probe::choose(choice, &ring).expect("this driver has to work where tests run"),
            ring,
            listeners: vec![(ListenerId(0), listener.into())],
            snapshot: Arc::new(snapshot),
        })
        .unwrap();
        let feeds = plane.take_access();
        Self { plane, address, feeds }
    }

    /// In front of these nodes, with everything else as tests start from.
    pub(crate) fn before(choice: DriverChoice, nodes: &[&Node]) -> Self {
        Self::start(choice, to(nodes))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.reply()
    }

    /// How often this reason was counted, over all shards.
    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.plane.pages().iter().map(|page| page.reasons[reason.index()].get()).sum()
    }

    pub(crate) fn streams(&self) -> u64 {
        self.plane.pages().iter().map(|page| page.streams.get()).sum()
    }

    /// Drains and proves that all shards end and nothing is left open.
    pub(crate) fn end(self) {
        // A shard that has ended takes no command.
        self.plane.drain(Duration::ZERO, Duration::from_secs(2));
        eventually("the shards end", || self.plane.is_finished());
        for page in self.plane.pages() {
            assert_eq!(page.load.get(), 0, "connections are still counted");
            assert!(page.endpoints.iter().all(|one| one.active.get() == 0), "exchanges are still counted");
            assert!(
                page.endpoints.iter().all(|one| one.connections.get() == 0),
                "node connections are still counted"
            );
            assert!(page.endpoints.iter().all(|one| one.waiting.get() == 0), "waiters are still counted");
        }
        assert!(self.plane.ring_stats().iter().all(|stats| stats.panics.get() == 0));
        assert_eq!(self.plane.join(), 0);
    }
}

/// A snapshot with one route to these nodes.
pub(crate) fn to(nodes: &[&Node]) -> Snapshot {
    let addresses: Vec<_> = nodes.iter().map(|node| SockAddr::Inet(node.address)).collect();
    snapshot::of_nodes(&addresses)
}

/// Polls until `done`, or fails.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// A client's socket.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    ahead: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, ahead: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Reads until `wanted` stands in what came, and returns everything up to and with it.
    pub(crate) fn read_until(&mut self, wanted: &[u8]) -> Vec<u8> {
        read_until(&mut self.socket, &mut self.ahead, wanted)
            .expect("the peer closed before the wanted bytes")
    }

    /// Reads one reply, interim ones apart.
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    pub(crate) fn reply_to(&mut self, method: &str) -> Reply {
        let head = String::from_utf8(self.read_until(b"\r\n\r\n")).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return reply;
        }
        reply.body = if reply.header("transfer-encoding").as_deref() == Some("chunked") {
            read_chunks(&mut self.socket, &mut self.ahead).expect("a whole chunked body")
        } else if let Some(length) = reply.header("content-length") {
            read_exact(&mut self.socket, &mut self.ahead, length.parse().unwrap()).expect("a whole body")
        } else {
            self.read_to_end()
        };
        reply
    }

    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.ahead);
        self.socket.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Whether the gateway has closed the connection, without a further byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.ahead.is_empty() && matches!(self.socket.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What a node got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which request of its connection, from 0.
    pub(crate) turn: usize,
    /// Which connection of the node, from 0.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }
}

/// What a node does after a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
}

/// A scripted node: one thread for each connection.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Node {
    /// Answers each request by `answer`, which writes to the socket.
    pub(crate) fn start(answer: impl Fn(&Asked, &mut TcpStream) -> After + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (asked, connections, answer) = (node.asked.clone(), node.connections.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (asked, answer, mut socket) = (asked.clone(), answer.clone(), socket.unwrap());
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    socket.set_nodelay(true).unwrap();
                    let mut ahead = Vec::new();
                    for turn in 0.. {
                        let Some(mut one) = read_request(&mut socket, &mut ahead) else { break };
                        (one.turn, one.connection) = (turn, connection);
                        asked.lock().unwrap().push(one.clone());
                        if answer(&one, &mut socket) == After::Close {
                            break;
                        }
                    }
                });
            }
        });
        node
    }

    /// Answers 200 with `hello`.
    pub(crate) fn hello() -> Self {
        Self::start(|_, socket| say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
    }

    /// Answers with what it was sent.
    pub(crate) fn echo() -> Self {
        Self::start(|asked, socket| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", asked.body.len());
            let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&asked.body));
            After::Keep
        })
    }

    pub(crate) fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().expect("the node was asked").clone()
    }
}

/// Writes a reply and keeps the connection.
pub(crate) fn say(socket: &mut TcpStream, text: &str) -> After {
    match socket.write_all(text.as_bytes()) {
        Ok(()) => After::Keep,
        Err(_) => After::Close,
    }
}

/// An address on which nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn read_request(socket: &mut TcpStream, ahead: &mut Vec<u8>) -> Option<Asked> {
    let head = String::from_utf8(read_until(socket, ahead, b"\r\n\r\n")?).unwrap();
    let body = if header(&head, "transfer-encoding").is_some() {
        read_chunks(socket, ahead)?
    } else {
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        read_exact(socket, ahead, length)?
    };
    Some(Asked { head, body, turn: 0, connection: 0 })
}

fn read_more(socket: &mut TcpStream, ahead: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 64 * 1024];
    match socket.read(&mut buffer) {
        Ok(n) if n > 0 => {
            ahead.extend_from_slice(&buffer[..n]);
            Some(())
        }
        _ => None,
    }
}

fn read_until(socket: &mut TcpStream, ahead: &mut Vec<u8>, wanted: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = ahead.windows(wanted.len()).position(|window| window == wanted) {
            return Some(ahead.drain(..at + wanted.len()).collect());
        }
        read_more(socket, ahead)?;
    }
}

fn read_exact(socket: &mut TcpStream, ahead: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while ahead.len() < length {
        read_more(socket, ahead)?;
    }
    Some(ahead.drain(..length).collect())
}

fn read_chunks(socket: &mut TcpStream, ahead: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_until(socket, ahead, b"\r\n")?;
        let size = std::str::from_utf8(&line).unwrap().trim().split(';').next().unwrap().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap();
        if size == 0 {
            while read_until(socket, ahead, b"\r\n")? != b"\r\n" {}
            return Some(body);
        }
        body.extend(read_exact(socket, ahead, size)?);
        read_exact(socket, ahead, 2)?;
    }
}
