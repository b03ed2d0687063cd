//! What the suites share: every test body runs on both drivers, and waits by taking turns until a deadline.
#![expect(dead_code, reason = "each suite uses its part of it")]
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use erlmcp_ring::{
    Conn, DriverChoice, DriverKind, Handle, Lease, RecvMode, SendList, Shard, ShardConfig, probe,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Runs `test` on a fresh shard of each driver. A machine without io_uring fails the test, after epoll has passed.
pub(crate) fn both(test: impl Fn(&mut Shard)) {
    both_with(|_| (), test);
}

pub(crate) fn both_with(configure: impl Fn(&mut ShardConfig), test: impl Fn(&mut Shard)) {
    both_configured(configure, |cfg, chosen| test(&mut Shard::new(cfg, chosen).expect("a shard")));
}

pub(crate) fn both_configured(
    configure: impl Fn(&mut ShardConfig),
    test: impl Fn(&ShardConfig, &probe::Chosen),
) {
    for choice in [DriverChoice::Epoll, DriverChoice::IoUring] {
        let mut cfg = ShardConfig { name: format!("{choice:?}"), ..ShardConfig::default() };
        configure(&mut cfg);
        let chosen = probe::choose(choice, &cfg).unwrap_or_else(|error| {
            panic!("this suite needs io_uring, and this machine refuses it: {error}")
        });
        eprintln!("--- {}", chosen.kind);
        test(&cfg, &chosen);
        if chosen.kind == DriverKind::IoUring && chosen.recv_credit {
            // Kernels before 6.17 have no receive credit: the same must hold without it.
            eprintln!("--- {} without receive credit", chosen.kind);
            test(&cfg, &probe::Chosen { recv_credit: false, ..chosen });
        }
    }
}

/// Runs `future` on the shard; fails if it takes too long.
pub(crate) fn run<T>(shard: &mut Shard, future: impl Future<Output = T>) -> T {
    let handle = shard.handle();
    let start = Instant::now();
    shard.block_on(async move {
        let mut future = std::pin::pin!(future);
        // Looks at the patience now and then although nothing else happens.
        let mut tick = handle.sleep_until(handle.now());
        std::future::poll_fn(|cx| {
            assert!(start.elapsed() < PATIENCE, "no progress within {PATIENCE:?}");
            while std::pin::pin!(&mut tick).poll(cx).is_ready() {
                tick = handle.sleep_until(handle.now() + Duration::from_millis(100));
            }
            future.as_mut().poll(cx)
        })
        .await
    })
}

/// Takes turns until `done`.
pub(crate) fn turn_until(shard: &mut Shard, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        shard.turn(Some(Duration::from_millis(5)));
    }
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("bind")
}

/// A peer that gives up reading after a while.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

/// A TCP connection: the shard's end and the test's end.
pub(crate) fn pair(handle: &Handle, mode: RecvMode) -> (Conn, TcpStream) {
    let (ours, theirs) = sockets();
    (handle.adopt(ours.into(), mode).expect("adopt"), theirs)
}

/// As [`pair`], with room for a few kilobytes only on the way from the shard's end.
pub(crate) fn narrow_pair(handle: &Handle, mode: RecvMode) -> (Conn, TcpStream) {
    let (ours, theirs) = sockets();
    for (socket, option) in [(&ours, libc::SO_SNDBUF), (&theirs, libc::SO_RCVBUF)] {
        let size: i32 = 4096;
        // SAFETY: `size` is a readable int of the length given.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const size).cast(), 4)
        };
        assert_eq!(result, 0);
    }
    (handle.adopt(ours.into(), mode).expect("adopt"), theirs)
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = listener();
    let theirs = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    theirs.set_nodelay(true).expect("nodelay");
    theirs.set_read_timeout(Some(PATIENCE)).expect("timeout");
    theirs.set_write_timeout(Some(PATIENCE)).expect("timeout");
    (listener.accept().expect("accept").0, theirs)
}

pub(crate) fn list(handle: &Handle, bytes: &[u8]) -> SendList {
    let mut list = handle.send_list();
    list.push_bytes(bytes);
    list
}

/// Receives exactly `n` bytes, in whatever chunks they come.
pub(crate) async fn recv_exact(conn: &Conn, n: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < n {
        let lease: Lease = conn.recv().await.expect("receives").expect("not the end yet");
        all.extend_from_slice(&lease);
    }
    all
}

pub(crate) fn pattern(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
