//! A closed-loop load: threads with one keep-alive connection each, every reply counted by what it was.
//!
//! Owns its threads; dropping it ends them. A failure is whatever a client of a good gateway must not see: a status that
//! is not 200, a connection refused, reset, cut, or closed without having been told. Never measures latency.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::http::{Conn, Reply};

/// A reply that takes longer is a failure.
const REPLY_LIMIT: Duration = Duration::from_secs(15);
/// Failures kept with their time and text, per client; the rest is only counted.
const KEPT_MAX: usize = 100;

/// What each client does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// Its method; `POST` comes with a small JSON-RPC body.
    pub(super) method: &'static str,
    /// Its target.
    pub(super) target: &'static str,
    /// Clients that do it.
    pub(super) clients: usize,
}

/// One thing that went wrong.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// When.
    pub(super) at: Instant,
    /// Method of the request.
    pub(super) method: &'static str,
    /// Status and reason, or what became of the connection.
    pub(super) what: String,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Replies with status 200.
    pub(super) good: u64,
    /// Everything else.
    pub(super) failed: u64,
    /// The first failures of each client.
    pub(super) failures: Vec<Failure>,
    /// Connections that the gateway announced to close.
    pub(super) told_to_close: u64,
}

impl Tally {
    /// How often each kind of failure was seen.
    pub(super) fn by_kind(&self) -> String {
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for failure in &self.failures {
            *kinds.entry(format!("{} {}", failure.method, failure.what)).or_default() += 1;
        }
        format!("{} failed of {}: {kinds:?}", self.failed, self.good + self.failed)
    }

    /// # Errors
    /// When anything failed, or nothing was done.
    pub(super) fn expect_no_failure(&self) -> Result<()> {
        anyhow::ensure!(self.good > 0, "no request was made");
        anyhow::ensure!(self.failed == 0, "{}", self.by_kind());
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failed += other.failed;
        self.told_to_close += other.told_to_close;
        self.failures.extend(other.failures);
    }
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What a client does when the gateway announces that it will close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnClose {
    /// Connects anew.
    Reconnect,
    /// Ends: the gateway is going away.
    Stop,
}

impl Load {
    /// Starts the clients.
    pub(super) fn start(addr: SocketAddr, work: &[Work], on_close: OnClose) -> Self {
        let (stop, good, failed) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { stop, good, failed, clients: Vec::new() };
        for work in work {
            for _ in 0..work.clients {
                let client = Client {
                    addr,
                    work: *work,
                    on_close,
                    stop: Arc::clone(&load.stop),
                    good: Arc::clone(&load.good),
                    failed: Arc::clone(&load.failed),
                    tally: Tally::default(),
                };
                load.clients.push(std::thread::spawn(move || client.run()));
            }
        }
        load
    }

    /// Good replies so far.
    pub(super) fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Failures so far.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether every client has ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Waits until `count` more good replies have come.
    ///
    /// # Errors
    /// When they do not within `limit`.
    pub(super) fn wait_for_good(&self, count: u64, limit: Duration) -> Result<()> {
        let target = self.good() + count;
        super::process::poll(&format!("{count} more good replies"), limit, || self.good() >= target)
            .with_context(|| format!("{} good and {} failed so far", self.good(), self.failed()))
    }

    /// Ends the clients after the request that each is at.
    ///
    /// # Errors
    /// When a client panicked.
    pub(super) fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients.drain(..) {
            all.add(client.join().map_err(|_| anyhow!("a client of the load panicked"))?);
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    addr: SocketAddr,
    work: Work,
    on_close: OnClose,
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    tally: Tally,
}

impl Client {
    fn run(mut self) -> Tally {
        let mut conn = None;
        while !self.stop.load(Ordering::Relaxed) {
            match self.exchange(&mut conn) {
                Ok(reply) => {
                    if reply.status == 200 {
                        self.tally.good += 1;
                        self.good.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.fail(format!("{} {}", reply.status, reason(&reply)));
                    }
                    if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                        self.tally.told_to_close += 1;
                        conn = None;
                        if self.on_close == OnClose::Stop {
                            return self.tally;
                        }
                    }
                }
                Err(error) => {
                    conn = None;
                    self.fail(format!("{error:#}"));
                    if self.on_close == OnClose::Stop {
                        return self.tally;
                    }
                }
            }
        }
        self.tally
    }

    fn fail(&mut self, what: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.tally.failed += 1;
        if self.tally.failures.len() < KEPT_MAX {
            self.tally.failures.push(Failure { at: Instant::now(), method: self.work.method, what });
        }
    }

    fn exchange(&self, conn: &mut Option<Conn>) -> Result<Reply> {
        let conn = match conn {
            Some(conn) => conn,
            None => conn.insert(Conn::connect(self.addr, REPLY_LIMIT)?),
        };
        let body: &[u8] = match self.work.method {
            "POST" => br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            _ => b"",
        };
        conn.request(self.work.method, self.work.target, &[("Content-Type", "application/json")], body)
            .context("no whole reply")
    }
}

/// The reason in a refusal's body.
fn reason(reply: &Reply) -> String {
    let told: Option<serde_json::Value> = serde_json::from_slice(&reply.body).ok();
    let reason = told.and_then(|told| Some(told["error"].as_str()?.to_owned()));
    reason.unwrap_or_else(|| format!("without a reason: {:?}", reply.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Serves each connection in turn: one reply each, then the close.
    fn server(replies: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        addr
    }

    #[test]
    fn everything_that_is_not_a_good_reply_is_a_failure() {
        let addr = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"error\":\"why\"}\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut",
        ]);
        let work = Work { method: "POST", target: "/", clients: 1 };
        let load = Load::start(addr, &[work], OnClose::Reconnect);
        super::super::process::poll("a refused connection", Duration::from_secs(5), || load.failed() >= 3)
            .unwrap();
        let tally = load.finish().unwrap();
        assert_eq!((tally.good, tally.told_to_close), (1, 2));
        let kinds = tally.by_kind();
        assert!(kinds.contains("POST 502 why") && kinds.contains("ended within a body"), "{kinds}");
        assert!(kinds.contains("connect to"), "{kinds}");
        assert!(tally.expect_no_failure().is_err());
    }

    #[test]
    fn a_client_that_is_told_to_close_may_stop() {
        let addr = server(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let load = Load::start(addr, &[Work { method: "GET", target: "/", clients: 1 }], OnClose::Stop);
        super::super::process::poll("end", Duration::from_secs(5), || load.is_over()).unwrap();
        load.finish().unwrap().expect_no_failure().unwrap();
    }
}
