//! The public surface, ahead of its bodies.
#![expect(missing_docs, clippy::unused_async, reason = "replaced by the real modules in the next commits")]

use std::future::{Future, Ready, ready};
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{
    IoError, PeerAddr, RecvMode, RingStats, ShardConfig, SockAddr, StartError, TasksFull, Time, probe::Chosen,
};

#[derive(Clone, Copy, Debug, Default)]
pub struct TurnReport {
    pub events: usize,
    pub tasks_run: usize,
}

pub struct Shard(Handle);

impl Shard {
    pub fn new(_cfg: &ShardConfig, _chosen: &Chosen) -> Result<Self, StartError> {
        Err(StartError::Config("the drivers are not built in".to_owned()))
    }
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }
    pub fn run(&mut self) {}
    pub fn turn(&mut self, _max_wait: Option<Duration>) -> TurnReport {
        TurnReport::default()
    }
    pub fn block_on<F: Future>(&mut self, _future: F) -> F::Output {
        std::process::abort()
    }
}

pub fn spawn_shard<R: Send + 'static>(
    name: &str,
    _cpu: Option<usize>,
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<JoinHandle<R>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(f)
}

#[derive(Clone)]
pub struct Handle(Rc<RingStats>);

impl Handle {
    pub fn now(&self) -> Time {
        Time::ZERO
    }
    pub fn spawn(&self, _future: impl Future<Output = ()> + 'static) -> Result<(), TasksFull> {
        Err(TasksFull)
    }
    pub fn set_deadline(&self, _at: Option<Time>) {}
    pub fn sleep_until(&self, _at: Time) -> Ready<()> {
        ready(())
    }
    pub fn yield_now(&self) -> Ready<()> {
        ready(())
    }
    pub fn listen(&self, _socket: OwnedFd) -> Result<Listener, IoError> {
        Err(IoError::Closed)
    }
    pub async fn connect(&self, _addr: &SockAddr, _mode: RecvMode) -> Result<Conn, IoError> {
        Err(IoError::Closed)
    }
    pub fn adopt(&self, _socket: OwnedFd, _mode: RecvMode) -> Result<Conn, IoError> {
        Err(IoError::Closed)
    }
    pub fn send_list(&self) -> SendList {
        SendList(Vec::new())
    }
    pub fn stats(&self) -> &RingStats {
        &self.0
    }
    pub fn rng(&self) -> u64 {
        0
    }
    pub fn stop(&self) {}
}

pub struct Listener(());

impl Listener {
    pub async fn accept(&mut self) -> Result<Accepted, IoError> {
        Err(IoError::Closed)
    }
    pub fn pause(&mut self) {}
    pub fn resume(&mut self) {}
    pub async fn stop(self) -> Vec<Accepted> {
        Vec::new()
    }
}

#[derive(Debug)]
pub struct Accepted {
    pub socket: OwnedFd,
    pub peer: PeerAddr,
}

pub struct Conn(Handle);

impl Conn {
    pub fn poll_recv(&self) -> Poll<Result<Option<Lease>, IoError>> {
        Poll::Pending
    }
    pub async fn recv(&self) -> Result<Option<Lease>, IoError> {
        Err(IoError::Closed)
    }
    pub fn try_recv(&self) -> Option<Lease> {
        None
    }
    pub fn closed_by_peer(&self) -> bool {
        false
    }
    pub fn start_send(&self, _list: SendList) {}
    pub fn poll_sent(&self) -> Poll<Sent> {
        Poll::Pending
    }
    pub async fn send(&self, list: SendList) -> Sent {
        Sent { list, result: Err(IoError::Closed) }
    }
    pub fn set_recv_mode(&self, _mode: RecvMode) {}
    pub fn shutdown_write(&self) {}
    pub fn bytes_acked(&self) -> Option<u64> {
        None
    }
    pub fn bytes_sent(&self) -> u64 {
        0
    }
    pub fn peer_addr(&self) -> io::Result<PeerAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }
    pub fn local_addr(&self) -> io::Result<PeerAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }
    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

pub struct Sent {
    pub list: SendList,
    pub result: Result<(), IoError>,
}

pub struct Lease(Vec<u8>);

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Lease {
    pub fn advance(&mut self, n: usize) {
        self.0.drain(..n);
    }
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0[range].to_vec())
    }
}

pub struct SendList(Vec<u8>);

impl SendList {
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    pub fn push_lease(&mut self, lease: Lease) {
        self.0.extend_from_slice(&lease);
    }
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        self.0.extend_from_slice(&bytes);
    }
    pub fn head_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
