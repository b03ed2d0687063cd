//! Silent peers: every TCP connection of a shard, wherever it comes from, is probed by the kernel on both drivers.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use common::{both, both_with, listener, run};
use erlmcp_ring::{KeepAlive, RecvMode, ShardConfig};

fn option(fd: RawFd, level: i32, name: i32) -> i32 {
    let (mut value, mut len) = (0i32, 4);
    // SAFETY: `value` is a writable int of the length given.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(result, 0);
    value
}

/// On, idle, interval, count in seconds, and the user timeout in milliseconds.
fn probes(fd: RawFd) -> (bool, [i32; 4]) {
    let names = [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT, libc::TCP_USER_TIMEOUT];
    let on = option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE) != 0;
    (on, names.map(|name| option(fd, libc::IPPROTO_TCP, name)))
}

fn with_keepalive(keepalive: Option<KeepAlive>) -> impl Fn(&mut ShardConfig) {
    move |cfg| cfg.tcp_keepalive = keepalive
}

/// One from the backlog before `listen`, one from after it, one that came by itself, one that we made.
fn four(shard: &mut erlmcp_ring::Shard, check: impl Fn(&str, RawFd)) {
    let handle = shard.handle();
    let tcp = listener();
    let addr = tcp.local_addr().expect("address");
    let other: TcpListener = listener();
    let early = TcpStream::connect(addr).expect("connects");
    run(shard, async {
        let mut tcp = handle.listen(tcp.into()).expect("listens");
        let late = TcpStream::connect(addr).expect("connects");
        for name in ["early", "late"] {
            let accepted = tcp.accept().await.expect("accepts");
            let copy = accepted.socket.try_clone().expect("duplicates");
            if name == "late" {
                check("inherited", copy.as_raw_fd());
            }
            let _conn = handle.adopt(accepted.socket, RecvMode::Small).expect("adopts");
            check(name, copy.as_raw_fd());
        }
        let foreign = TcpStream::connect(other.local_addr().expect("address")).expect("connects");
        let copy = foreign.try_clone().expect("duplicates");
        let _conn = handle.adopt(foreign.into(), RecvMode::Small).expect("adopts");
        check("foreign", copy.as_raw_fd());
        let to = other.local_addr().expect("address").into();
        let conn = handle.connect(&to, RecvMode::Small).await.expect("connects");
        // The descriptors of a process are numbered from below: ours is the one whose peer is `other`.
        let local = conn.local_addr().expect("address").to_string();
        let fd = (0..1024).find(|fd| local_name(*fd).is_some_and(|name| name == local));
        check("connected", fd.expect("the descriptor"));
        drop((early, late));
    });
}

fn local_name(fd: RawFd) -> Option<String> {
    // SAFETY: no pointers; a duplicate that is ours, or an error.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return None;
    }
    // SAFETY: the duplicate was made just now and belongs to nobody else.
    let copy: TcpStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(copy) };
    copy.peer_addr().ok()?;
    Some(copy.local_addr().ok()?.to_string())
}

#[test]
fn silent_peers_are_probed_on_every_connection() {
    both(|shard| {
        four(shard, |name, fd| assert_eq!(probes(fd), (true, [60, 15, 4, 120_000]), "{name}"));
    });
}

#[test]
fn the_times_are_the_configured_ones() {
    let keepalive = KeepAlive { idle: Duration::from_secs(7), interval: Duration::from_secs(3), count: 2 };
    both_with(with_keepalive(Some(keepalive)), |shard| {
        four(shard, |name, fd| assert_eq!(probes(fd), (true, [7, 3, 2, 13_000]), "{name}"));
    });
}

#[test]
fn without_it_the_system_decides() {
    both_with(with_keepalive(None), |shard| four(shard, |name, fd| assert!(!probes(fd).0, "{name}")));
}

#[test]
fn times_that_the_kernel_would_refuse_are_named() {
    let seconds = Duration::from_secs;
    let fine = KeepAlive::default();
    let cases = [
        (KeepAlive { idle: seconds(0), ..fine }, "tcp_keepalive.idle"),
        (KeepAlive { interval: Duration::from_millis(1500), ..fine }, "tcp_keepalive.interval"),
        (KeepAlive { count: 128, ..fine }, "tcp_keepalive.count"),
    ];
    for (keepalive, field) in cases {
        let cfg = ShardConfig { tcp_keepalive: Some(keepalive), ..ShardConfig::default() };
        assert!(cfg.check().expect_err("out of range").contains(field), "{field}");
    }
}
