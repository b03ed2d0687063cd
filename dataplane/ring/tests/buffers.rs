//! Receive buffers on both drivers: windows, starvation, switching of groups, slow readers, steady state.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use common::{both, both_with, list, narrow_pair, pair, pattern, recv_exact, run, turn_until};
use erlmcp_ring::{DriverKind, GroupConfig, RecvMode};

/// Turns until nothing has happened for a while: what the kernel would still deliver is then refused to it.
fn settle(shard: &mut erlmcp_ring::Shard) {
    let mut quiet = 0;
    for _ in 0..2000 {
        let events = shard.turn(Some(Duration::from_millis(5))).events;
        quiet = if events == 0 { quiet + 1 } else { 0 };
        if quiet == 10 {
            return;
        }
    }
    panic!("events without end");
}

#[test]
fn an_unread_connection_takes_its_window_and_no_more() {
    for mode in [RecvMode::Small, RecvMode::Large] {
        both_with(
            |cfg| cfg.recv_window_bytes = 64 * 1024,
            |shard| {
                let handle = shard.handle();
                let (conn, mut theirs) = pair(&handle, mode);
                theirs.set_nonblocking(true).expect("nonblocking");
                let bytes = pattern(1 << 20, 1);
                let mut written = 0;
                for _ in 0..200 {
                    written += theirs.write(&bytes[written..]).unwrap_or(0);
                    shard.turn(Some(Duration::ZERO));
                }
                settle(shard);
                let [small, large] = handle.leases_out();
                let held = small * 4096 + large * 32768;
                let overshoots = handle.stats().recv_overshoots.get();
                assert!(held >= 32 * 1024, "it receives ahead: {held}");
                if overshoots == 0 {
                    assert!(held <= 64 * 1024 + 32768, "more than the window: {held} bytes");
                }
                // Even where the kernel has to be stopped by a cancellation there is a bound, and others live on.
                assert!(small <= 128 && large <= 48, "{small} small, {large} large");
                let (other, mut peer) = pair(&handle, mode);
                peer.write_all(b"alive").expect("writes");
                assert_eq!(run(shard, recv_exact(&other, 5)), b"alive");
                // Nothing is lost: the rest comes when it is read.
                assert!(run(shard, recv_exact(&conn, written)) == bytes[..written]);
            },
        );
    }
}

#[test]
fn one_byte_segments_do_not_take_all_buffers() {
    both(|shard| {
        let handle = shard.handle();
        let (conn, mut theirs) = pair(&handle, RecvMode::Small);
        for n in 0..500u32 {
            theirs.write_all(&[n as u8]).expect("writes");
            shard.turn(Some(Duration::ZERO));
        }
        settle(shard);
        let [small, _] = handle.leases_out();
        assert!(small <= 80, "{small} buffers for one connection of one-byte segments");
        let expected: Vec<u8> = (0..500u32).map(|n| n as u8).collect();
        assert_eq!(run(shard, recv_exact(&conn, 500)), expected);
    });
}

#[test]
fn idle_connections_hold_no_buffer() {
    both(|shard| {
        let handle = shard.handle();
        let mut pairs: Vec<_> = (0..100).map(|_| pair(&handle, RecvMode::Small)).collect();
        for (conn, theirs) in &mut pairs {
            theirs.write_all(b"ping").expect("writes");
            assert_eq!(run(shard, recv_exact(conn, 4)), b"ping");
            run(shard, conn.send(list(&handle, b"pong"))).result.expect("sends");
        }
        assert_eq!(handle.leases_out(), [0, 0]);
    });
}

#[test]
fn starved_connections_are_served_in_order_without_a_herd() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| cfg.small = GroupConfig { count: 8, size: 256 };
    both_with(configure, |shard| {
        let handle = shard.handle();
        let done = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..200 {
            let (conn, mut peer) = pair(&handle, RecvMode::Small);
            peer.write_all(&pattern(600, 2)).expect("writes");
            peers.push(peer);
            let done = Rc::clone(&done);
            let task = async move {
                for _ in 0..5 {
                    assert!(recv_exact(&conn, 600).await == pattern(600, 2));
                    conn.send(list(conn.handle(), b"next")).await.result.expect("sends");
                }
                done.set(done.get() + 1);
            };
            handle.spawn(task).expect("spawns");
        }
        for _ in 1..5 {
            for peer in &mut peers {
                peer.set_nonblocking(true).expect("nonblocking");
                let mut word = [0; 4];
                let mut got = 0;
                turn_until(shard, "each is answered", || {
                    got += peer.read(&mut word[got..]).unwrap_or(0);
                    got == 4
                });
                peer.write_all(&pattern(600, 2)).expect("writes");
            }
        }
        turn_until(shard, "all have had their five rounds", || done.get() == 200);
        // 200 connections, 5 rounds of 3 buffers: without the order the herd fails thousands of times.
        let enobufs = handle.stats().enobufs.get();
        assert!(enobufs <= 6000, "{enobufs} receives without a buffer");
        assert_eq!(handle.stats().panics.get(), 0);
    });
}

#[test]
fn switching_groups_loses_and_reorders_nothing() {
    const N: usize = 2 << 20;
    both(|shard| {
        let handle = shard.handle();
        let (conn, mut theirs) = pair(&handle, RecvMode::Small);
        let bytes = pattern(N, 11);
        let copy = bytes.clone();
        let write = std::thread::spawn(move || theirs.write_all(&copy).map(|()| theirs).expect("writes"));
        let got = run(shard, async {
            let mut got = Vec::new();
            let mut largest = [0, 0];
            let mut large = false;
            while got.len() < N {
                let lease = conn.recv().await.expect("receives").expect("more");
                largest[usize::from(large)] = largest[usize::from(large)].max(lease.len());
                got.extend_from_slice(&lease);
                drop(lease);
                if handle.rng().is_multiple_of(5) {
                    large = !large;
                    conn.set_recv_mode(if large { RecvMode::Large } else { RecvMode::Small });
                }
            }
            assert!(largest[1] > 4096, "the large group was never used");
            got
        });
        assert!(got == bytes, "bytes lost or reordered");
        drop(write.join().expect("writer"));
    });
}

#[test]
fn slow_readers_do_not_starve_the_shard() {
    both(|shard| {
        let handle = shard.handle();
        // Each slow reader is sent leases of large buffers, far more than there are.
        let mut slow = Vec::new();
        for _ in 0..40 {
            let (source, feed) = pair(&handle, RecvMode::Large);
            let (sink, never_reads) = narrow_pair(&handle, RecvMode::Small);
            feed.set_nonblocking(true).expect("nonblocking");
            slow.push((feed, never_reads));
            let relay = async move {
                while let Ok(Some(lease)) = source.recv().await {
                    let mut out = sink.handle().send_list();
                    out.push_lease(lease);
                    if sink.send(out).await.result.is_err() {
                        return;
                    }
                }
            };
            handle.spawn(relay).expect("spawns");
        }
        let bytes = pattern(256 * 1024, 6);
        for _ in 0..100 {
            for (feed, _) in &mut slow {
                let _ = feed.write(&bytes);
            }
            shard.turn(Some(Duration::ZERO));
        }
        settle(shard);
        assert!(handle.stats().spilled_bytes.get() > 0, "nobody had to give buffers back");
        let (fast, mut peer) = pair(&handle, RecvMode::Large);
        let write = std::thread::spawn(move || peer.write_all(&pattern(1 << 20, 8)).map(|()| peer));
        assert!(run(shard, recv_exact(&fast, 1 << 20)) == pattern(1 << 20, 8));
        drop(write.join().expect("writer").expect("writes"));
    });
}

#[test]
fn tasks_that_hold_on_to_what_they_received_do_not_starve_the_shard() {
    both_with(
        |cfg| cfg.small = GroupConfig { count: 16, size: 256 },
        |shard| {
            let handle = shard.handle();
            let mut peers = Vec::new();
            for _ in 0..100 {
                let (conn, mut peer) = pair(&handle, RecvMode::Small);
                peer.write_all(b"half of a head").expect("writes");
                peers.push(peer);
                let hold = async move {
                    let first = conn.recv().await;
                    let _ = conn.recv().await;
                    drop(first);
                };
                handle.spawn(hold).expect("spawns");
            }
            settle(shard);
            let (conn, mut peer) = pair(&handle, RecvMode::Small);
            peer.write_all(&pattern(5000, 1)).expect("writes");
            assert!(run(shard, recv_exact(&conn, 5000)) == pattern(5000, 1));
            drop(peers);
            turn_until(shard, "all have gone", || handle.stats().tasks.get() == 0);
            assert_eq!(handle.leases_out(), [0, 0]);
        },
    );
}

#[test]
fn a_turn_carries_what_all_connections_need() {
    const CONNS: usize = 64;
    both(|shard| {
        let handle = shard.handle();
        let answered = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..CONNS {
            let (conn, peer) = pair(&handle, RecvMode::Small);
            peers.push(peer);
            let answered = Rc::clone(&answered);
            let serve = async move {
                while let Ok(Some(lease)) = conn.recv().await {
                    drop(lease);
                    conn.send(list(conn.handle(), b"y")).await.result.expect("sends");
                    answered.set(answered.get() + 1);
                }
            };
            handle.spawn(serve).expect("spawns");
        }
        settle(shard);
        for peer in &mut peers {
            peer.write_all(b"x").expect("writes");
        }
        let before = (handle.stats().turns.get(), handle.stats().enters.get(), handle.stats().sends.get());
        turn_until(shard, "all are answered", || answered.get() == CONNS);
        let turns = handle.stats().turns.get() - before.0;
        let enters = handle.stats().enters.get() - before.1;
        assert_eq!(handle.stats().sends.get() - before.2, CONNS as u64);
        assert!(enters <= turns, "{enters} system calls in {turns} turns");
        // io_uring runs up to 40 completions in an enter (DEFER_TASKRUN), epoll takes all at once: a receive and a send
        // of each of the 64 are six and three turns at most, where one call for each operation would be 128.
        let most = if handle.driver() == DriverKind::IoUring { 8 } else { 3 };
        assert!(enters <= most, "{enters} system calls for {CONNS} requests");
    });
}
