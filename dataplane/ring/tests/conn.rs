//! Connections on both drivers: data in order, ends and errors, deadlines, closing with operations in flight.

mod common;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use common::{both, both_with, list, listener, pair, pattern, recv_exact, run, turn_until};
use erlmcp_ring::{IoError, PeerAddr, RecvMode, SockAddr};

/// Closing with unread data, or with a linger of zero, resets the connection.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` is a readable value of the length given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
    drop(stream);
}

#[test]
fn bytes_arrive_in_order_both_ways_past_every_buffer() {
    const N: usize = 3 << 20;
    for mode in [RecvMode::Small, RecvMode::Large] {
        both(|shard| {
            let (conn, theirs) = pair(&shard.handle(), mode);
            let sent = pattern(N, 7);
            let mut writer = theirs.try_clone().expect("clone");
            let mut reader = theirs;
            let copy = sent.clone();
            let write = std::thread::spawn(move || writer.write_all(&copy).expect("writes"));
            let read = std::thread::spawn(move || {
                let mut all = vec![0; N];
                reader.read_exact(&mut all).expect("reads");
                all
            });
            run(shard, async {
                let mut echoed = 0;
                while echoed < N {
                    let mut out = conn.handle().send_list();
                    let lease = conn.recv().await.expect("receives").expect("more");
                    echoed += lease.len();
                    out.push_lease(lease);
                    while let Some(lease) = conn.try_recv() {
                        echoed += lease.len();
                        out.push_lease(lease);
                    }
                    let sent = conn.send(out).await;
                    sent.result.expect("sends");
                }
            });
            write.join().expect("writer");
            assert!(read.join().expect("reader") == sent, "echo differs");
            assert_eq!(conn.bytes_sent(), N as u64);
        });
    }
}

#[test]
fn partial_sends_are_continued_and_the_list_comes_back_whole() {
    both(|shard| {
        let (conn, mut theirs) = pair(&shard.handle(), RecvMode::Small);
        let (a, b, c) = (pattern(100, 1), pattern(24 << 20, 2), pattern(5000, 3));
        let mut out = shard.handle().send_list();
        out.push_bytes(&a);
        out.push_owned(b.clone());
        out.head_mut().extend_from_slice(&c);
        let all = [a, b, c].concat();
        assert_eq!(out.len(), all.len());
        conn.start_send(out);
        // Nobody reads yet, and no socket buffers hold so much.
        turn_until(shard, "the kernel takes a part", || conn.handle().stats().partial_sends.get() > 0);
        let n = all.len();
        let read = std::thread::spawn(move || {
            let mut got = vec![0; n];
            theirs.read_exact(&mut got).expect("reads");
            got
        });
        let mut sent = run(shard, poll_fn(|_| conn.poll_sent()));
        sent.result.expect("sends");
        assert!(sent.list.to_vec() == all, "the list must come back as it was");
        assert!(read.join().expect("reader") == all);
    });
}

#[test]
fn data_before_the_end_is_delivered_before_it() {
    both(|shard| {
        let (conn, mut theirs) = pair(&shard.handle(), RecvMode::Small);
        theirs.write_all(b"last words").expect("writes");
        drop(theirs);
        run(shard, async {
            assert_eq!(recv_exact(&conn, 10).await, b"last words");
            assert!(conn.recv().await.expect("ends well").is_none());
            assert!(conn.recv().await.expect("stays ended").is_none());
            assert!(conn.closed_by_peer());
        });
    });
}

#[test]
fn an_idle_connection_tells_when_its_peer_goes() {
    both(|shard| {
        for resets in [false, true] {
            let (conn, theirs) = pair(&shard.handle(), RecvMode::Small);
            let mut theirs = Some(theirs);
            run(
                shard,
                poll_fn(|_| {
                    if conn.poll_ended().is_ready() {
                        assert!(conn.closed_by_peer());
                        return Poll::Ready(());
                    }
                    match theirs.take() {
                        Some(stream) if resets => reset(stream),
                        stream => drop(stream),
                    }
                    Poll::Pending
                }),
            );
            if resets {
                assert_eq!(run(shard, conn.recv()).expect_err("broken"), IoError::Reset);
            }
        }
    });
}

#[test]
fn data_that_waits_is_not_a_close() {
    both(|shard| {
        let (conn, mut theirs) = pair(&shard.handle(), RecvMode::Small);
        theirs.write_all(b"x").expect("writes");
        drop(theirs);
        turn_until(shard, "the byte is queued", || conn.handle().leases_out()[0] == 1);
        shard.turn(Some(Duration::from_millis(5)));
        assert!(!conn.closed_by_peer(), "there is a byte to read first");
        assert_eq!(&*conn.try_recv().expect("a byte"), b"x");
        turn_until(shard, "the end is seen", || conn.closed_by_peer());
    });
}

#[test]
fn deadlines_end_receives_and_can_be_moved() {
    both(|shard| {
        let (conn, mut theirs) = pair(&shard.handle(), RecvMode::Small);
        let handle = shard.handle();
        run(shard, async {
            let start = handle.now();
            handle.set_deadline(Some(start + Duration::from_secs(60)));
            handle.set_deadline(Some(start + Duration::from_millis(30)));
            assert_eq!(conn.recv().await.expect_err("nothing comes"), IoError::TimedOut);
            assert!(handle.now().since(start) >= Duration::from_millis(30), "early");
            assert_eq!(conn.recv().await.expect_err("still past it"), IoError::TimedOut);
            // Later again: what was late is forgotten, the connection goes on.
            let start = handle.now();
            handle.set_deadline(Some(start + Duration::from_millis(20)));
            handle.set_deadline(Some(start + Duration::from_millis(80)));
            assert_eq!(conn.recv().await.expect_err("nothing comes"), IoError::TimedOut);
            assert!(handle.now().since(start) >= Duration::from_millis(80), "the first deadline fired");
            handle.set_deadline(None);
            theirs.write_all(b"ok").expect("writes");
            assert_eq!(recv_exact(&conn, 2).await, b"ok");
        });
    });
}

#[test]
fn a_deadline_ends_a_blocked_send_and_gives_the_list_back() {
    both(|shard| {
        let (conn, theirs) = pair(&shard.handle(), RecvMode::Small);
        let handle = shard.handle();
        let bytes = pattern(16 << 20, 5);
        let mut out = handle.send_list();
        out.push_owned(bytes.clone());
        let mut sent = run(shard, async {
            handle.set_deadline(Some(handle.now() + Duration::from_millis(50)));
            conn.send(out).await
        });
        assert_eq!(sent.result.expect_err("nobody reads"), IoError::TimedOut);
        assert!(sent.list.to_vec() == bytes);
        assert!(sent.list.bytes_done() < bytes.len());
        assert_eq!(conn.bytes_sent(), sent.list.bytes_done() as u64);
        drop(theirs);
    });
}

#[test]
fn connects_over_tcp_and_unix_or_says_why_not() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let dir = std::env::temp_dir().join(format!("ring-{}-{}", std::process::id(), handle.rng()));
        std::fs::create_dir(&dir).expect("directory");
        let path = dir.join("s");
        let unix = UnixListener::bind(&path).expect("bind");
        run(shard, async {
            let addr: SockAddr = tcp.local_addr().expect("address").into();
            let conn = handle.connect(&addr, RecvMode::Large).await.expect("connects");
            let (mut theirs, _) = tcp.accept().expect("accepts");
            theirs.write_all(b"hi").expect("writes");
            assert_eq!(recv_exact(&conn, 2).await, b"hi");
            assert_eq!(conn.peer_addr().expect("peer").to_string(), addr.to_string());
            conn.send(list(&handle, b"abc")).await.result.expect("sends");
            conn.shutdown_write();
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).expect("reads to the half-close");
            assert_eq!(got, b"abc");

            let conn =
                handle.connect(&SockAddr::Unix(path.clone()), RecvMode::Small).await.expect("connects");
            let (mut theirs, _) = unix.accept().expect("accepts");
            theirs.write_all(b"hi").expect("writes");
            assert_eq!(recv_exact(&conn, 2).await, b"hi");
            assert_eq!(conn.peer_addr().expect("peer"), PeerAddr::Unix(Some(path.clone())));
            assert_eq!(conn.bytes_acked(), None);

            drop(tcp);
            let refused = handle.connect(&addr, RecvMode::Small).await.err();
            assert_eq!(refused, Some(IoError::Refused));
            let none = handle.connect(&SockAddr::Unix(dir.join("none")), RecvMode::Small).await.err();
            assert_eq!(none, Some(IoError::Refused));
        });
        drop(unix);
        std::fs::remove_dir_all(&dir).expect("removes");
        turn_until(shard, "failed connects leave nothing", || {
            shard_conns(&handle) == 0 && handle.leases_out() == [0, 0]
        });
    });
}

fn shard_conns(handle: &erlmcp_ring::Handle) -> u64 {
    handle.stats().conns.get()
}

/// A listening socket whose backlog is full: it drops further SYNs, so that a connect hangs.
fn full_listener() -> (std::net::TcpListener, std::net::SocketAddr, Vec<TcpStream>) {
    let full = listener();
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::listen(full.as_raw_fd(), 0) }, 0);
    let addr = full.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
    let fill = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
    let fillers = (0..4).filter_map(fill).collect();
    (full, addr, fillers)
}

#[test]
fn a_deadline_ends_a_connect() {
    both(|shard| {
        let handle = shard.handle();
        let (_full, addr, _fillers) = full_listener();
        let error = run(shard, async {
            handle.set_deadline(Some(handle.now() + Duration::from_millis(50)));
            handle.connect(&addr.into(), RecvMode::Small).await.err()
        });
        assert_eq!(error, Some(IoError::TimedOut));
        turn_until(shard, "the connect is reaped", || shard_conns(&handle) == 0);
    });
}

#[test]
fn acknowledged_bytes_are_counted_even_after_a_reset() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        run(shard, async {
            let addr: SockAddr = tcp.local_addr().expect("address").into();
            let active = handle.connect(&addr, RecvMode::Small).await.expect("connects");
            let (passive, _) = tcp.accept().expect("accepts");
            assert_eq!(active.bytes_acked(), Some(0), "the SYN does not count");
            active.send(list(&handle, b"12345")).await.result.expect("sends");
            while active.bytes_acked() != Some(5) {
                handle.yield_now().await;
            }
            let mut five = [0; 5];
            (&passive).read_exact(&mut five).expect("reads");
            reset(passive);
            assert_eq!(active.recv().await.expect_err("reset"), IoError::Reset);
            assert_eq!(active.bytes_acked(), Some(5));
            let sent = active.send(list(&handle, b"678")).await;
            assert_eq!(sent.result.expect_err("gone"), IoError::BrokenPipe);
            assert_eq!((active.bytes_acked(), active.bytes_sent()), (Some(5), 5));
        });
    });
}

#[test]
fn a_connection_dropped_with_everything_in_flight_leaves_nothing() {
    both(|shard| {
        let handle = shard.handle();
        let (conn, mut theirs) = pair(&handle, RecvMode::Large);
        theirs.write_all(&pattern(40_000, 3)).expect("writes");
        turn_until(shard, "leases are queued", || handle.leases_out()[1] >= 1);
        let lease = conn.try_recv().expect("a lease");
        let mut out = handle.send_list();
        out.push_lease(lease.slice(..));
        out.push_owned(pattern(32 << 20, 4));
        conn.start_send(out);
        shard.turn(Some(Duration::ZERO));
        drop(conn);
        turn_until(shard, "the slot is freed", || shard_conns(&handle) == 0);
        assert_eq!(handle.leases_out(), [0, 1], "only the lease that we hold");
        assert!(lease[..] == pattern(40_000, 3)[..lease.len()], "a lease survives its connection");
        drop(lease);
        let mut rest = Vec::new();
        // Ends, by FIN or reset: the descriptor is closed.
        let _ = theirs.read_to_end(&mut rest);
        assert_eq!(handle.leases_out(), [0, 0]);
    });
}

#[test]
fn a_queue_of_two_submissions_loses_no_cancellation() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| (cfg.sq_entries, cfg.cq_entries) = (2, 4);
    both_with(configure, |shard| {
        let handle = shard.handle();
        let pairs: Vec<_> = (0..100).map(|_| pair(&handle, RecvMode::Small)).collect();
        for (n, (conn, _)) in pairs.iter().enumerate() {
            if n % 2 == 0 {
                let mut out = handle.send_list();
                out.push_owned(vec![b'x'; 8 << 20]);
                conn.start_send(out);
            }
            if n % 10 == 0 {
                shard.turn(Some(Duration::ZERO));
            }
        }
        let (conns, mut peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        drop(conns);
        turn_until(shard, "all hundred are closed", || shard_conns(&handle) == 0);
        for peer in &mut peers {
            // Each peer sees its end: none waits for ever.
            let mut rest = Vec::new();
            let _ = peer.read_to_end(&mut rest);
        }
    });
}

#[test]
fn a_completion_queue_that_overflows_loses_nothing() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| (cfg.sq_entries, cfg.cq_entries) = (2, 4);
    both_with(configure, |shard| {
        let handle = shard.handle();
        let mut pairs: Vec<_> = (0..50).map(|_| pair(&handle, RecvMode::Small)).collect();
        for round in 0..5u8 {
            for (_, peer) in &mut pairs {
                peer.write_all(&[round; 10]).expect("writes");
            }
            for (conn, _) in &pairs {
                assert_eq!(run(shard, recv_exact(conn, 10)), [round; 10]);
            }
        }
    });
}

#[test]
fn sockets_block_under_io_uring_and_do_not_under_epoll() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let _peer = TcpStream::connect(addr).expect("connects");
        let accepted = run(shard, async {
            handle.listen(tcp.into()).expect("listens").accept().await.expect("accepts")
        });
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(accepted.socket.as_raw_fd(), libc::F_GETFL) };
        let nonblocking = flags & libc::O_NONBLOCK != 0;
        assert_eq!(nonblocking, handle.driver() == erlmcp_ring::DriverKind::Epoll);
        let copy = accepted.socket.try_clone().expect("duplicates");
        // One that comes from elsewhere in the other state is put right.
        let copy = TcpStream::from(copy);
        copy.set_nonblocking(!nonblocking).expect("sets the flag");
        let _conn = handle.adopt(accepted.socket, RecvMode::Small).expect("adopts");
        assert!(copy.nodelay().expect("reads the option"));
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK != 0, nonblocking);
    });
}

#[test]
fn buffers_that_come_for_a_closed_connection_go_back() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| (cfg.small.count, cfg.small.size) = (4, 256);
    both_with(configure, |shard| {
        let handle = shard.handle();
        for n in 0..20 {
            let (conn, mut theirs) = pair(&handle, RecvMode::Small);
            shard.turn(Some(Duration::ZERO));
            theirs.write_all(&pattern(300, 5)).expect("writes");
            // What was received is on its way to a connection whose owner is gone.
            drop(conn);
            turn_until(shard, "it is closed", || shard_conns(&handle) == 0);
            assert_eq!(handle.leases_out(), [0, 0], "round {n}");
        }
        let (conn, mut theirs) = pair(&handle, RecvMode::Small);
        theirs.write_all(&pattern(2000, 5)).expect("writes");
        assert!(run(shard, recv_exact(&conn, 2000)) == pattern(2000, 5), "buffers were lost");
    });
}

#[test]
fn connects_that_are_given_up_before_they_are_submitted_end() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| (cfg.sq_entries, cfg.cq_entries) = (2, 4);
    both_with(configure, |shard| {
        let handle = shard.handle();
        let (full, addr, _fillers) = full_listener();
        run(
            shard,
            poll_fn(|cx| {
                for _ in 0..20 {
                    let to = addr.into();
                    let mut connect = std::pin::pin!(handle.connect(&to, RecvMode::Small));
                    assert!(connect.as_mut().poll(cx).is_pending());
                }
                Poll::Ready(())
            }),
        );
        // Far earlier than the kernel's own timeout of a connect.
        turn_until(shard, "all are closed", || shard_conns(&handle) == 0);
        drop(full);
    });
}

#[test]
fn what_a_peer_has_not_read_is_acknowledged_to_the_byte() {
    both(|shard| {
        let handle = shard.handle();
        let tcp = listener();
        run(shard, async {
            let addr: SockAddr = tcp.local_addr().expect("address").into();
            let conn = handle.connect(&addr, RecvMode::Small).await.expect("connects");
            let (theirs, _) = tcp.accept().expect("accepts");
            let mut out = handle.send_list();
            out.push_owned(vec![1; 32 << 20]);
            handle.set_deadline(Some(handle.now() + Duration::from_millis(100)));
            assert!(conn.send(out).await.result.is_err(), "nobody reads");
            let waiting = || {
                let mut n: i32 = 0;
                // SAFETY: `n` is a writable int.
                assert_eq!(unsafe { libc::ioctl(theirs.as_raw_fd(), libc::FIONREAD, &raw mut n) }, 0);
                n as u64
            };
            assert!(conn.bytes_sent() > waiting(), "the send buffer holds some");
            while conn.bytes_acked() != Some(waiting()) {
                handle.yield_now().await;
            }
        });
    });
}

#[test]
fn the_end_is_known_although_data_waits_before_it() {
    both(|shard| {
        let (conn, mut theirs) = pair(&shard.handle(), RecvMode::Small);
        theirs.write_all(b"x").expect("writes");
        turn_until(shard, "the byte is queued", || conn.handle().leases_out()[0] == 1);
        assert!(!conn.recv_ended());
        drop(theirs);
        run(shard, poll_fn(|_| if conn.recv_ended() { Poll::Ready(()) } else { Poll::Pending }));
        assert!(!conn.closed_by_peer());
        assert_eq!(&*conn.try_recv().expect("a byte"), b"x");
    });
}

#[test]
fn whoever_asks_about_a_connection_is_not_woken_for_it() {
    both(|shard| {
        let handle = shard.handle();
        let (conn, theirs) = pair(&handle, RecvMode::Small);
        let conn = Rc::new(conn);
        let (asked, woken) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let waits = {
            let (conn, woken) = (Rc::clone(&conn), Rc::clone(&woken));
            async move {
                poll_fn(|_| conn.poll_ended()).await;
                woken.set(true);
            }
        };
        let asks = {
            let (conn, asked) = (Rc::clone(&conn), Rc::clone(&asked));
            poll_fn(move |_| {
                asked.set(asked.get() + 1);
                assert!(!conn.has_ended() && !conn.closed_by_peer());
                Poll::Pending
            })
        };
        handle.spawn(waits).expect("spawns");
        handle.spawn(asks).expect("spawns");
        turn_until(shard, "it has asked", || asked.get() == 1);
        drop(theirs);
        turn_until(shard, "the one that waits is woken", || woken.get());
        assert!(conn.has_ended() && conn.closed_by_peer());
        assert_eq!(asked.get(), 1, "the one that asked is left alone");
    });
}

#[test]
fn a_released_send_ends_by_itself_and_tells_a_failure_to_the_next_receive() {
    both(|shard| {
        let handle = shard.handle();
        let (conn, mut theirs) = pair(&handle, RecvMode::Small);
        run(shard, async {
            for _ in 0..3 {
                poll_fn(|_| conn.poll_send_free()).await;
                conn.start_send(list(&handle, b"some"));
                conn.release_sent();
            }
            poll_fn(|_| conn.poll_send_free()).await;
            // Released after its end.
            conn.start_send(list(&handle, b"some"));
            handle.yield_now().await;
            conn.release_sent();
        });
        let mut got = [0; 16];
        turn_until(shard, "all is sent", || conn.bytes_sent() == 16);
        theirs.read_exact(&mut got).expect("reads");
        assert_eq!(&got, b"somesomesomesome");
        // Nobody reads: the deadline ends what is in flight.
        let mut out = handle.send_list();
        out.push_owned(pattern(16 << 20, 5));
        let error = run(shard, async {
            conn.start_send(out);
            conn.release_sent();
            handle.set_deadline(Some(handle.now() + Duration::from_millis(30)));
            poll_fn(|_| conn.poll_send_free()).await;
            handle.set_deadline(None);
            conn.recv().await.expect_err("half of a message was sent")
        });
        assert_eq!(error, IoError::BrokenPipe);
    });
}

#[test]
fn tiny_buffers_are_used_up_and_everything_still_arrives() {
    let configure = |cfg: &mut erlmcp_ring::ShardConfig| {
        (cfg.small.count, cfg.small.size) = (1, 64);
    };
    both_with(configure, |shard| {
        let handle = shard.handle();
        let mut pairs: Vec<_> = (0..20).map(|_| pair(&handle, RecvMode::Small)).collect();
        for (_, peer) in &mut pairs {
            peer.write_all(&pattern(1000, 9)).expect("writes");
        }
        let done = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for (conn, peer) in pairs {
            peers.push(peer);
            let done = Rc::clone(&done);
            let task = async move {
                assert!(recv_exact(&conn, 1000).await == pattern(1000, 9));
                done.set(done.get() + 1);
            };
            handle.spawn(task).expect("spawns");
        }
        turn_until(shard, "all twenty have read all", || done.get() == 20);
        assert_eq!(handle.stats().panics.get(), 0);
    });
}
