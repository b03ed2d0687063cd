//! Listeners on both drivers: accepting, sharing, pausing, stopping without a loss, late connections.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use common::{both, both_configured, both_with, connect, listener, recv_exact, run, turn_until};
use erlmcp_ring::{DriverChoice, IoError, Listener, PeerAddr, RecvMode, Shard, ShardConfig, probe};

#[test]
fn accepts_tcp_and_unix_and_names_the_peers() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let path = std::env::temp_dir().join(format!("ring-l-{}-{}", std::process::id(), handle.rng()));
        let unix = UnixListener::bind(&path).expect("bind");
        run(shard, async {
            let mut tcp = handle.listen(tcp.into()).expect("listens");
            let peers: Vec<_> = (0..10).map(|_| connect(addr)).collect();
            for peer in &peers {
                let accepted = tcp.accept().await.expect("accepts");
                assert_eq!(accepted.peer, PeerAddr::Inet(peer.local_addr().expect("address")));
            }
            let mut unix = handle.listen(unix.into()).expect("listens");
            let mut peer = UnixStream::connect(&path).expect("connects");
            let accepted = unix.accept().await.expect("accepts");
            assert_eq!(accepted.peer, PeerAddr::Unix(None));
            let conn = handle.adopt(accepted.socket, RecvMode::Small).expect("adopts");
            peer.write_all(b"hi").expect("writes");
            assert_eq!(recv_exact(&conn, 2).await, b"hi");
            handle.set_deadline(Some(handle.now() + Duration::from_millis(20)));
            assert_eq!(tcp.accept().await.expect_err("nobody comes"), IoError::TimedOut);
        });
        std::fs::remove_file(&path).expect("removes");
    });
}

#[test]
fn two_shards_on_one_thread_share_a_socket_and_pass_connections_on() {
    both_configured(
        |_| (),
        |cfg, chosen| {
            let mut first = Shard::new(cfg, chosen).expect("a shard");
            let mut second = Shard::new(cfg, chosen).expect("a shard");
            let tcp = listener();
            let addr = tcp.local_addr().expect("address");
            let copy = tcp.try_clone().expect("clone");
            let mut a = first.handle().listen(tcp.into()).expect("listens");
            let b = second.handle().listen(copy.into()).expect("listens");
            let mut peer = connect(addr);
            peer.write_all(b"hi").expect("writes");
            let got = |shard: &Shard| shard.handle().stats().accepts.get();
            for _ in 0..100 {
                first.turn(Some(Duration::from_millis(2)));
                second.turn(Some(Duration::from_millis(2)));
            }
            assert_eq!(got(&first) + got(&second), 1, "one of them has it");
            let accepted = if got(&first) == 1 {
                run(&mut first, a.accept()).expect("accepts")
            } else {
                run(&mut second, b.stop()).pop().expect("accepted")
            };
            // The other shard reads from it: nothing was read before.
            let conn = second.handle().adopt(accepted.socket, RecvMode::Small).expect("adopts");
            assert_eq!(run(&mut second, recv_exact(&conn, 2)), b"hi");
        },
    );
}

#[test]
fn a_paused_listener_accepts_nothing_and_loses_nothing() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let mut tcp = handle.listen(tcp.into()).expect("listens");
        shard.turn(Some(Duration::ZERO));
        tcp.pause();
        for _ in 0..10 {
            shard.turn(Some(Duration::from_millis(1)));
        }
        let peers: Vec<_> = (0..3).map(|_| connect(addr)).collect();
        for _ in 0..20 {
            shard.turn(Some(Duration::from_millis(1)));
        }
        assert_eq!(handle.stats().accepts.get(), 0, "accepted while paused");
        tcp.resume();
        for _ in &peers {
            run(shard, tcp.accept()).expect("accepts");
        }
    });
}

#[test]
fn a_full_queue_pauses_the_listener_until_it_is_drained() {
    both_with(
        |cfg| cfg.accept_queue_max = 4,
        |shard| {
            let handle = shard.handle();
            let tcp = listener();
            let addr = tcp.local_addr().expect("address");
            let mut tcp = handle.listen(tcp.into()).expect("listens");
            let peers: Vec<_> = (0..60)
                .map(|_| {
                    let peer = connect(addr);
                    shard.turn(Some(Duration::from_millis(1)));
                    peer
                })
                .collect();
            let queued = handle.stats().accepts.get();
            assert!((4..30).contains(&queued), "{queued} accepted ahead");
            for _ in &peers {
                run(shard, tcp.accept()).expect("accepts");
            }
        },
    );
}

#[test]
fn stopping_serves_what_came_before_it() {
    for turns in 0..4 {
        both(|shard| {
            let handle = shard.handle();
            let tcp = listener();
            let addr = tcp.local_addr().expect("address");
            let kept = tcp.try_clone().expect("clone");
            let listener = handle.listen(tcp.into()).expect("listens");
            let mut peers: Vec<_> = (0..20).map(|_| connect(addr)).collect();
            for _ in 0..turns {
                shard.turn(Some(Duration::ZERO));
            }
            let late = run(shard, listener.stop());
            assert_eq!(late.len(), 20, "after {turns} turns");
            for accepted in late {
                TcpStream::from(accepted.socket).write_all(b"served").expect("writes");
            }
            for peer in &mut peers {
                let mut got = Vec::new();
                peer.read_to_end(&mut got).expect("reads");
                assert_eq!(got, b"served");
            }
            // What comes after it belongs to whoever else holds the socket.
            let _peer = connect(addr);
            for _ in 0..5 {
                shard.turn(Some(Duration::from_millis(1)));
            }
            kept.set_nonblocking(true).expect("nonblocking");
            kept.accept().expect("nobody took it from the backlog");
        });
    }
}

#[test]
fn stopping_a_paused_listener_serves_its_backlog() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let mut listener = handle.listen(tcp.into()).expect("listens");
        listener.pause();
        for _ in 0..5 {
            shard.turn(Some(Duration::from_millis(1)));
        }
        let _peers: Vec<_> = (0..20).map(|_| connect(addr)).collect();
        assert_eq!(run(shard, listener.stop()).len(), 20);
    });
}

#[test]
fn stopping_works_before_the_accept_is_submitted() {
    let configure = |cfg: &mut ShardConfig| (cfg.sq_entries, cfg.cq_entries) = (2, 4);
    both_with(configure, |shard| {
        let handle = shard.handle();
        let _busy: Vec<_> = (0..10).map(|_| common::pair(&handle, RecvMode::Small)).collect();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let listener = handle.listen(tcp.into()).expect("listens");
        let _peer = connect(addr);
        assert_eq!(run(shard, listener.stop()).len(), 1);
        let listener = handle.listen(common::listener().into()).expect("listens");
        assert!(run(shard, listener.stop()).is_empty());
    });
}

#[test]
fn a_dropped_listener_closes_what_comes_late_and_frees_its_port() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let listener = handle.listen(tcp.into()).expect("listens");
        shard.turn(Some(Duration::ZERO));
        let mut peer = connect(addr);
        drop(listener);
        turn_until(shard, "the port is free", || TcpListener::bind(addr).is_ok());
        let mut rest = Vec::new();
        // Ends, by FIN or reset; it does not hang.
        let _ = peer.read_to_end(&mut rest);
        assert!(rest.is_empty());
    });
}

#[test]
fn a_shard_that_ended_has_let_go_of_its_port() {
    both_configured(
        |_| (),
        |cfg, chosen| {
            let mut shard = Shard::new(cfg, chosen).expect("a shard");
            let handle = shard.handle();
            let tcp = listener();
            let addr = tcp.local_addr().expect("address");
            let task = {
                let handle = handle.clone();
                async move {
                    let mut tcp = handle.listen(tcp.into()).expect("listens");
                    loop {
                        let _ = tcp.accept().await;
                    }
                }
            };
            handle.spawn(task).expect("spawns");
            shard.turn(Some(Duration::ZERO));
            handle.stop();
            shard.run();
            TcpListener::bind(addr).expect("the port is free at once");
        },
    );
}

fn is_nonblocking(socket: &impl AsRawFd) -> bool {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK != 0
}

fn shard_of(choice: DriverChoice) -> Shard {
    let cfg = ShardConfig::default();
    let chosen = probe::choose(choice, &cfg).unwrap_or_else(|error| panic!("{choice:?}: {error}"));
    Shard::new(&cfg, &chosen).unwrap_or_else(|error| panic!("{choice:?}: {error}"))
}

#[test]
fn processes_of_different_drivers_may_share_a_socket() {
    use DriverChoice::{Epoll, IoUring};
    for order in [[Epoll, IoUring], [IoUring, Epoll]] {
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let mut shards = order.map(shard_of);
        let mut listeners: Vec<Listener> = Vec::new();
        for shard in &mut shards {
            let copy = tcp.try_clone().expect("duplicates");
            listeners.push(shard.handle().listen(copy.into()).expect("listens"));
            shard.turn(Some(Duration::ZERO));
        }
        // Whoever listens last, `accept4` of the other must not block.
        assert!(is_nonblocking(&tcp), "{order:?}");
        let accepts =
            |shards: &[Shard; 2]| shards.each_ref().map(|shard| shard.handle().stats().accepts.get());
        for n in 0..20 {
            let _peer = connect(addr);
            // Each in turn finds that the other was faster.
            let first = n % 2;
            let start = std::time::Instant::now();
            while accepts(&shards).iter().sum::<u64>() <= n as u64 {
                assert!(start.elapsed() < common::PATIENCE, "nobody accepts");
                shards[first].turn(Some(Duration::from_millis(1)));
                shards[1 - first].turn(Some(Duration::from_millis(1)));
            }
        }
        let errors = shards.each_ref().map(|shard| shard.handle().stats().accept_errors.get());
        assert_eq!(errors, [0, 0], "finding nothing is no error");
        // The one that is left serves on, without spinning.
        let [mut a, mut b] = shards;
        drop(listeners.remove(0));
        turn_until(&mut a, "it has let go", || true);
        drop(a);
        let before = b.handle().stats().accepts.get();
        let peers: Vec<_> = (0..3).map(|_| connect(addr)).collect();
        let handle = b.handle();
        turn_until(&mut b, "it accepts alone", || handle.stats().accepts.get() == before + 3);
        let turns = handle.stats().cqes.get();
        for _ in 0..20 {
            b.turn(Some(Duration::from_millis(1)));
        }
        assert!(handle.stats().cqes.get() - turns < 5, "it spins");
        let stopped = run(&mut b, listeners.remove(0).stop());
        assert!(stopped.len() >= 3, "{}", stopped.len());
        drop(peers);
    }
}

#[test]
fn a_socket_whose_flag_somebody_took_away_does_not_block_an_epoll_shard() {
    let tcp = listener();
    let addr = tcp.local_addr().expect("address");
    let copy = tcp.try_clone().expect("duplicates");
    let (done, finished) = std::sync::mpsc::channel();
    // On a thread of its own: a shard that blocks in `accept4` fails this test instead of hanging it.
    std::thread::spawn(move || {
        let mut shard = shard_of(DriverChoice::Epoll);
        let mut tcp = shard.handle().listen(tcp.into()).expect("listens");
        shard.turn(Some(Duration::ZERO));
        copy.set_nonblocking(false).expect("sets the flag");
        let _peer = connect(addr);
        let accepted = run(&mut shard, tcp.accept()).is_ok();
        copy.set_nonblocking(false).expect("sets the flag");
        let late = connect(addr);
        let stopped = run(&mut shard, tcp.stop()).len();
        drop(late);
        let _ = done.send((accepted, stopped));
    });
    assert_eq!(finished.recv_timeout(common::PATIENCE).expect("it blocks"), (true, 1));
}

#[test]
fn what_a_stop_takes_from_the_backlog_is_bounded_and_counted() {
    both_with(
        |cfg| cfg.accept_queue_max = 4,
        |shard| {
            let handle = shard.handle();
            let tcp = listener();
            let addr = tcp.local_addr().expect("address");
            // Somebody else who shares the socket: what is left is theirs.
            let other = tcp.try_clone().expect("duplicates");
            let mut tcp = handle.listen(tcp.into()).expect("listens");
            tcp.pause();
            shard.turn(Some(Duration::ZERO));
            let peers: Vec<_> = (0..12).map(|_| connect(addr)).collect();
            let taken = run(shard, tcp.stop()).len();
            assert!((4..=8).contains(&taken), "{taken} of 12");
            assert_eq!(handle.stats().backlogs_cut.get(), 1);
            other.set_nonblocking(true).expect("sets the flag");
            let left = std::iter::from_fn(|| other.accept().ok()).count();
            assert_eq!(taken + left, peers.len());
        },
    );
}
