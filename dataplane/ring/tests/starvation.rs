//! Connections that nobody reads, and tasks that hold on to what they got, far more than there are buffers: whoever
//! does read goes on, on both drivers, within bounded memory.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

mod common;

use std::cell::Cell;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use common::{both, pattern, recv_exact, run, turn_until};
use erlmcp_ring::{Conn, DriverKind, Handle, RecvMode, Shard};

/// What a shard may hold on the heap, bytes.
const HEAP_BYTES_MAX: u64 = 64 << 20;

/// A connection over a Unix socket pair, whose ends need no ports and no backlog.
fn unix_pair(handle: &Handle, mode: RecvMode) -> (Conn, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    theirs.set_nonblocking(true).expect("nonblocking");
    (handle.adopt(OwnedFd::from(ours), mode).expect("adopts"), theirs)
}

/// As many descriptors as the system lets us have.
fn raise_descriptors(needed: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    assert!(limit.rlim_cur >= needed, "this test needs RLIMIT_NOFILE {needed}, not {}", limit.rlim_cur);
}

/// A connection that came before the others and one that comes now both receive a megabyte.
fn assert_readers_go_on(shard: &mut Shard, old: (Conn, UnixStream), mode: RecvMode) {
    let new = unix_pair(&shard.handle(), mode);
    for (conn, mut peer) in [old, new] {
        peer.set_nonblocking(false).expect("blocking");
        let write = std::thread::spawn(move || peer.write_all(&pattern(1 << 20, 8)).map(|()| peer));
        assert!(run(shard, recv_exact(&conn, 1 << 20)) == pattern(1 << 20, 8));
        drop(write.join().expect("writer").expect("writes"));
    }
    let heap = shard.handle().stats().heap_bytes.get();
    assert!(heap <= HEAP_BYTES_MAX, "{heap} bytes on the heap");
}

fn write_some(peer: &mut UnixStream, bytes: &[u8], written: &mut usize) {
    *written += peer.write(&bytes[*written..]).unwrap_or(0);
}

#[test]
fn a_thousand_connections_that_nobody_reads_starve_nobody() {
    raise_descriptors(2100);
    for (mode, at_once) in [(RecvMode::Large, true), (RecvMode::Large, false), (RecvMode::Small, true)] {
        both(|shard| {
            let handle = shard.handle();
            let old = unix_pair(&handle, mode);
            let bytes = pattern(400_000, 3);
            let mut unread: Vec<_> = (0..1000).map(|_| (unix_pair(&handle, mode), 0)).collect();
            shard.turn(Some(Duration::ZERO));
            for _ in 0..4 {
                for ((_, peer), written) in &mut unread {
                    write_some(peer, &bytes, written);
                    if !at_once {
                        // One after the other, so that each finds the shard as the one before left it.
                        shard.turn(Some(Duration::ZERO));
                    }
                }
                for _ in 0..100 {
                    shard.turn(Some(Duration::ZERO));
                }
            }
            assert_readers_go_on(shard, old, mode);
            // What they were sent is all there, in order, when somebody reads it after all.
            for ((conn, _), written) in unread.iter().step_by(97) {
                assert!(run(shard, recv_exact(conn, *written)) == bytes[..*written]);
            }
            drop(unread);
            turn_until(shard, "all are closed", || handle.stats().conns.get() == 0);
            assert_eq!((handle.leases_out(), handle.stats().heap_bytes.get()), ([0, 0], 0));
        });
    }
}

#[test]
fn five_thousand_leases_of_one_byte_starve_nobody() {
    raise_descriptors(10_100);
    both(|shard| {
        let handle = shard.handle();
        let old = unix_pair(&handle, RecvMode::Small);
        let held = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..5000 {
            let (conn, mut peer) = unix_pair(&handle, RecvMode::Small);
            peer.write_all(b"x").expect("writes");
            peers.push(peer);
            let held = Rc::clone(&held);
            let hold = async move {
                let first = conn.recv().await.expect("receives").expect("a byte");
                held.set(held.get() + 1);
                let _ = conn.recv().await;
                drop(first);
            };
            handle.spawn(hold).expect("spawns");
        }
        turn_until(shard, "each holds its byte", || held.get() == 5000);
        assert_readers_go_on(shard, old, RecvMode::Small);
        drop(peers);
        turn_until(shard, "all have gone", || handle.stats().tasks.get() == 0);
        turn_until(shard, "all are closed", || handle.stats().conns.get() == 0);
        assert_eq!((handle.leases_out(), handle.stats().heap_bytes.get()), ([0, 0], 0));
    });
}

#[test]
fn the_end_of_an_unread_connection_is_seen_once_buffers_are_back() {
    raise_descriptors(1500);
    both(|shard| {
        let handle = shard.handle();
        let last = Cell::new(0);
        let mut unread: Vec<_> = (0..600).map(|_| unix_pair(&handle, RecvMode::Large)).collect();
        for (_, peer) in &mut unread {
            assert!(peer.write(&pattern(150_000, 4)).expect("writes") > 0);
        }
        turn_until(shard, "buffers are scarce", || handle.leases_out()[1] >= 48);
        let (watched, mut peer) = unix_pair(&handle, RecvMode::Large);
        peer.write_all(b"x").expect("writes");
        // Until nothing happens any more: its byte has come, and it is held back like the others.
        let mut quiet = 0;
        turn_until(shard, "nothing more comes", || {
            let cqes = handle.stats().cqes.get();
            quiet = if cqes == last.replace(cqes) { quiet + 1 } else { 0 };
            quiet == 20
        });
        assert!(handle.stats().held_back.get() > 0);
        drop(peer);
        for _ in 0..50 {
            shard.turn(Some(Duration::ZERO));
        }
        // Under epoll it is seen already: to look for it needs no buffer.
        if handle.driver() == DriverKind::IoUring {
            assert!(!watched.recv_ended(), "nobody looks at it");
        }
        drop(unread);
        turn_until(shard, "its end is seen", || watched.recv_ended());
        assert_eq!(run(shard, recv_exact(&watched, 1)), b"x");
    });
}
