//! Futures that are dropped before they are done, at every point where they wait, on both drivers: no descriptor, no
//! slot, no buffer and no task is left, and what comes late is thrown away. Descriptors are counted, hence one test
//! at a time.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

mod common;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use common::{both, list, listener, pair, pattern, run, turn_until};
use erlmcp_ring::{Handle, RecvMode, Shard, SockAddr};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("lists").count()
}

/// Polls `future` at most `k` times, then drops it; whether it was done before.
async fn drop_after(k: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == k {
            return Poll::Ready(false);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => {
                // Comes again by itself, whether anything happened or not.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs `make` on a shard with its future dropped after 0, 1, 2… polls, until it is done; nothing may be left each time.
fn at_every_await<F: Future>(shard: &mut Shard, most: usize, make: impl Fn() -> F) {
    let handle = shard.handle();
    for k in 0.. {
        assert!(k < most, "not done within {most} polls");
        let before = descriptors();
        let done = run(shard, drop_after(k, make()));
        turn_until(shard, "every slot is retired", || handle.stats().conns.get() == 0);
        turn_until(shard, "every descriptor is closed", || descriptors() == before);
        assert_eq!(handle.leases_out(), [0, 0], "after {k} polls");
        if done {
            return;
        }
    }
}

fn connected(addr: SocketAddr) -> (TcpListener, SocketAddr) {
    let tcp = TcpListener::bind(addr).expect("bind");
    let addr = tcp.local_addr().expect("address");
    (tcp, addr)
}

#[test]
fn connects_are_dropped_at_every_await() {
    let _alone = alone();
    both(|shard| {
        let handle = shard.handle();
        let (_tcp, addr) = connected(SocketAddr::from(([127, 0, 0, 1], 0)));
        let to: SockAddr = addr.into();
        // The first drops orphan a connect that then succeeds: nobody may be left with its descriptor.
        at_every_await(shard, 1000, || async {
            let conn = handle.connect(&to, RecvMode::Small).await.expect("connects");
            drop(conn);
        });
    });
}

#[test]
fn a_connect_that_hangs_is_closed_when_it_is_dropped() {
    let _alone = alone();
    both(|shard| {
        let handle = shard.handle();
        let full = listener();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&full), 0) }, 0);
        let addr = full.local_addr().expect("address");
        let fill = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
        let fillers: Vec<_> = (0..4).filter_map(fill).collect();
        let to: SockAddr = addr.into();
        let before = descriptors();
        // In flight for many turns, and still not decided.
        let done = run(shard, drop_after(50, handle.connect(&to, RecvMode::Small)));
        assert!(!done, "the backlog is full");
        turn_until(shard, "the slot is retired", || handle.stats().conns.get() == 0);
        assert_eq!(descriptors(), before);
        drop(fillers);
    });
}

#[test]
fn receives_are_dropped_at_every_await_and_lose_nothing() {
    let _alone = alone();
    both(|shard| {
        let handle = shard.handle();
        for k in 0..12 {
            let (conn, mut peer) = pair(&handle, RecvMode::Small);
            let wrote = Cell::new(false);
            let done = run(
                shard,
                drop_after(k, async {
                    let first = conn.recv();
                    if !wrote.replace(true) {
                        peer.write_all(b"all of it").expect("writes");
                    }
                    let lease = first.await;
                    handle.yield_now().await;
                    drop(lease);
                }),
            );
            if !wrote.get() {
                peer.write_all(b"all of it").expect("writes");
            }
            if !done {
                // Dropped while it waited, or with the lease in its hands: then that went back.
                peer.write_all(b" and the rest").expect("writes");
                let rest = run(shard, async {
                    let mut got = Vec::new();
                    while !got.ends_with(b"rest") {
                        got.extend_from_slice(&conn.recv().await.expect("receives").expect("more"));
                    }
                    got
                });
                assert!(rest == b"all of it and the rest" || rest == b" and the rest", "{rest:?}");
            }
            drop(conn);
            turn_until(shard, "the slot is retired", || handle.stats().conns.get() == 0);
            assert_eq!(handle.leases_out(), [0, 0]);
        }
    });
}

#[test]
fn sends_are_dropped_at_every_await() {
    let _alone = alone();
    both(|shard| {
        let handle = shard.handle();
        for k in 0..20 {
            let before = descriptors();
            let (conn, mut peer) = pair(&handle, RecvMode::Small);
            let bytes = pattern(8 << 20, 7);
            let read = std::thread::spawn(move || {
                let mut all = Vec::new();
                // A reset is an end as well: the connection goes while bytes are on their way.
                let _ = peer.read_to_end(&mut all);
                all
            });
            let send = async {
                let mut out = list(&handle, b"");
                out.push_owned(bytes.clone());
                conn.send(out).await.result.expect("sends");
            };
            let done = run(shard, drop_after(k, send));
            // The list belongs to the operation now, which goes on: the bytes must stay what they are.
            let whole = k % 2 == 1 && !done;
            if whole {
                let mut sent = run(shard, poll_fn(|_| conn.poll_sent()));
                sent.result.expect("sends");
                assert!(sent.list.to_vec() == bytes);
            }
            drop(conn);
            turn_until(shard, "the slot is retired", || handle.stats().conns.get() == 0);
            let got = read.join().expect("reader");
            assert!(got == bytes[..got.len()], "memory was used again while the kernel read it");
            assert!(!whole || got.len() == bytes.len(), "after {k} polls");
            turn_until(shard, "every descriptor is closed", || descriptors() == before);
        }
    });
}

#[test]
fn a_whole_exchange_is_dropped_at_every_await() {
    let _alone = alone();
    both(|shard| {
        let handle = shard.handle();
        let (tcp, addr) = connected(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut server = handle.listen(tcp.into()).expect("listens");
        let tasks = Rc::new(Cell::new(0));
        let echo = {
            let (handle, tasks) = (handle.clone(), Rc::clone(&tasks));
            async move {
                while let Ok(accepted) = server.accept().await {
                    let Ok(conn) = handle.adopt(accepted.socket, RecvMode::Large) else { continue };
                    let tasks = Rc::clone(&tasks);
                    tasks.set(tasks.get() + 1);
                    let serve = async move {
                        while let Ok(Some(lease)) = conn.recv().await {
                            let mut out = conn.handle().send_list();
                            out.push_lease(lease);
                            if conn.send(out).await.result.is_err() {
                                break;
                            }
                        }
                        tasks.set(tasks.get() - 1);
                    };
                    handle.spawn(serve).expect("spawns");
                }
            }
        };
        handle.spawn(echo).expect("spawns");
        shard.turn(Some(Duration::ZERO));
        let to: SockAddr = addr.into();
        at_every_await(shard, 2000, || exchange(&handle, &to));
        turn_until(shard, "every server task has ended", || tasks.get() == 0);
        assert_eq!(handle.stats().panics.get(), 0);
    });
}

async fn exchange(handle: &Handle, to: &SockAddr) {
    let conn = handle.connect(to, RecvMode::Small).await.expect("connects");
    let bytes = pattern(6000, 3);
    for _ in 0..2 {
        conn.send(list(handle, &bytes)).await.result.expect("sends");
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            got.extend_from_slice(&conn.recv().await.expect("receives").expect("more"));
        }
        assert!(got == bytes);
    }
}
