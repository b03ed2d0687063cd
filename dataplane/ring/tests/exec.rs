//! The executor on both drivers: wakes from other threads, panics, timers, bounds, teardown with work in flight.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use common::{both, both_configured, both_with, list, pair, pattern, recv_exact, run, turn_until};
use erlmcp_ring::{DriverKind, IoError, RecvMode, Shard, TaskRef, TasksFull, lane};

#[test]
fn lanes_wake_a_sleeping_shard_and_a_tokio_task() {
    both(|shard| {
        let handle = shard.handle();
        let (to_shard, mut shard_rx) = lane::channel::<u32>(4);
        let (to_tokio, mut tokio_rx) = lane::channel::<u32>(4);
        let echo = async move {
            while let Some(n) = shard_rx.recv().await {
                to_tokio.try_send(n + 1).expect("room: one at a time");
            }
        };
        handle.spawn(echo).expect("spawns");
        let stopper = handle.stopper();
        let other = std::thread::spawn(move || {
            let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tokio");
            let last = rt.block_on(async {
                let mut n = 0;
                for round in 0..2000 {
                    if round % 500 == 0 {
                        // Now and then the shard has gone to sleep.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    to_shard.try_send(n).expect("room: one at a time");
                    let answer = tokio::time::timeout(common::PATIENCE, tokio_rx.recv()).await;
                    n = answer.expect("no wake is lost").expect("open");
                }
                n
            });
            stopper.stop();
            last
        });
        shard.run();
        assert_eq!(other.join().expect("joins"), 2000);
        let stats = handle.stats();
        assert!(stats.wakes_sent.get() > 0, "a sleeping shard needs a system call");
    });
}

#[test]
fn wakes_of_a_shard_that_is_awake_cost_no_system_call() {
    both(|shard| {
        let handle = shard.handle();
        let (tx, mut rx) = lane::channel::<u32>(1000);
        let sum = Rc::new(Cell::new(0));
        let total = Rc::clone(&sum);
        let task = async move {
            while let Some(n) = rx.recv().await {
                total.set(total.get() + n);
            }
        };
        handle.spawn(task).expect("spawns");
        shard.turn(Some(Duration::ZERO));
        let sent = handle.stats().wakes_sent.get();
        for n in 0..1000 {
            tx.try_send(n).expect("room");
        }
        turn_until(shard, "all have come", || sum.get() == 499_500);
        assert_eq!(handle.stats().wakes_sent.get(), sent, "it never slept");
        assert!(handle.stats().wakes_skipped.get() > 0);
    });
}

#[test]
fn a_borrowed_waker_may_be_used_on_another_thread() {
    both(|shard| {
        let mut woken = 0;
        run(
            shard,
            poll_fn(|cx| {
                woken += 1;
                if woken == 3 {
                    return Poll::Ready(());
                }
                let waker = cx.waker();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        waker.wake_by_ref();
                        let owned = waker.clone();
                        owned.wake();
                    });
                });
                Poll::Pending
            }),
        );
    });
}

#[test]
fn a_panic_ends_its_task_and_connection_and_nothing_else() {
    both(|shard| {
        let handle = shard.handle();
        let (doomed, mut its_peer) = pair(&handle, RecvMode::Small);
        let (fine, mut other) = pair(&handle, RecvMode::Small);
        let task = async move {
            doomed.recv().await.expect("receives").expect("a byte");
            panic!("as meant by this test");
        };
        handle.spawn(task).expect("spawns");
        its_peer.write_all(b"x").expect("writes");
        turn_until(shard, "the panic is counted", || handle.stats().panics.get() == 1);
        let mut rest = Vec::new();
        turn_until(shard, "its connection is closed", || handle.stats().conns.get() == 1);
        let _ = its_peer.read_to_end(&mut rest);
        other.write_all(b"fine").expect("writes");
        assert_eq!(run(shard, recv_exact(&fine, 4)), b"fine");
        assert_eq!(handle.leases_out(), [0, 0]);
    });
}

#[test]
fn sleeps_end_in_order_and_never_early() {
    both(|shard| {
        let handle = shard.handle();
        let order = Rc::new(RefCell::new(Vec::new()));
        for ms in [40u64, 5, 120, 20, 0, 70] {
            let (handle, order) = (handle.clone(), Rc::clone(&order));
            let task = async move {
                let at = handle.now() + Duration::from_millis(ms);
                handle.sleep_until(at).await;
                assert!(handle.now() >= at, "early");
                order.borrow_mut().push(ms);
            };
            shard.handle().spawn(task).expect("spawns");
        }
        let start = Instant::now();
        turn_until(shard, "all have slept", || order.borrow().len() == 6);
        assert_eq!(*order.borrow(), [0, 5, 20, 40, 70, 120]);
        assert!(start.elapsed() >= Duration::from_millis(119));
        assert_eq!(handle.stats().panics.get(), 0);
    });
}

#[test]
fn a_blocking_turn_ends_at_the_next_alarm() {
    both(|shard| {
        let handle = shard.handle();
        let task = {
            let handle = handle.clone();
            async move { handle.sleep_until(handle.now() + Duration::from_millis(30)).await }
        };
        handle.spawn(task).expect("spawns");
        shard.turn(Some(Duration::ZERO));
        let start = Instant::now();
        while handle.stats().tasks.get() > 0 {
            assert!(start.elapsed() < common::PATIENCE);
            shard.turn(None);
        }
        // It blocked: a handful of turns, not a spin.
        assert!(handle.stats().turns.get() < 30, "{} turns", handle.stats().turns.get());
    });
}

#[test]
fn tasks_are_bounded_and_so_is_a_turn() {
    both_with(
        |cfg| (cfg.tasks_max, cfg.tasks_per_turn_max) = (10, 4),
        |shard| {
            let handle = shard.handle();
            let polls = Rc::new(Cell::new(0));
            for _ in 0..10 {
                let (handle, polls) = (handle.clone(), Rc::clone(&polls));
                let task = async move {
                    loop {
                        polls.set(polls.get() + 1);
                        handle.yield_now().await;
                    }
                };
                shard.handle().spawn(task).expect("spawns");
            }
            assert_eq!(handle.spawn(async {}), Err(TasksFull));
            for turn in 1..=5 {
                assert_eq!(shard.turn(None).tasks_run, 4);
                assert_eq!(polls.get(), 4 * turn);
            }
            assert!(handle.stats().work_bound_hits.get() >= 5);
        },
    );
}

#[test]
fn teardown_waits_for_the_kernel_and_what_outlives_it_is_closed() {
    both_configured(
        |_| (),
        |cfg, chosen| {
            let mut shard = Shard::new(cfg, chosen).expect("a shard");
            let handle = shard.handle();
            let (conn, mut peer) = pair(&handle, RecvMode::Large);
            peer.write_all(&pattern(5000, 2)).expect("writes");
            let lease = run(&mut shard, conn.recv()).expect("receives").expect("bytes");
            let mut out = handle.send_list();
            out.push_lease(lease.slice(..));
            out.push_owned(pattern(16 << 20, 3));
            conn.start_send(out);
            let (in_task, _its_peer) = pair(&handle, RecvMode::Small);
            let task = async move {
                let _ = in_task.recv().await;
            };
            handle.spawn(task).expect("spawns");
            shard.turn(Some(Duration::ZERO));
            drop(shard);
            assert_eq!(handle.stats().leaked_ops.get(), 0, "the kernel let go of everything");
            assert!(lease[..] == pattern(5000, 2)[..lease.len()], "the lease is still good");
            assert!(matches!(conn.poll_sent(), Poll::Ready(sent) if sent.result.is_err()));
            assert!(matches!(conn.poll_recv(), Poll::Ready(Err(_) | Ok(None))));
            conn.start_send(list(&handle, b"late"));
            assert!(matches!(conn.poll_sent(), Poll::Ready(sent) if sent.result == Err(IoError::Closed)));
            assert_eq!(handle.spawn(async {}), Err(TasksFull));
            drop(conn);
            let mut rest = Vec::new();
            let _ = peer.read_to_end(&mut rest);
        },
    );
}

#[test]
fn dropping_a_future_at_any_turn_leaves_nothing() {
    for turns in 0..6 {
        both(|shard| {
            let handle = shard.handle();
            let tcp = common::listener();
            let addr = tcp.local_addr().expect("address");
            let peer = std::net::TcpStream::connect(addr).expect("connects");
            let dropped = Rc::new(Cell::new(false));
            let (stop, flag) = (Rc::new(Cell::new(false)), Rc::clone(&dropped));
            let task = {
                let (handle, stop) = (handle.clone(), Rc::clone(&stop));
                async move {
                    let work = async {
                        let mut tcp = handle.listen(tcp.into()).expect("listens");
                        let accepted = tcp.accept().await.expect("accepts");
                        let conn = handle.adopt(accepted.socket, RecvMode::Small).expect("adopts");
                        let echo = handle.connect(&addr.into(), RecvMode::Large).await.expect("connects");
                        let mut out = handle.send_list();
                        out.push_owned(vec![1; 8 << 20]);
                        let _ = echo.send(out).await;
                        let _ = conn.recv().await;
                    };
                    let mut work = std::pin::pin!(work);
                    poll_fn(|cx| if stop.get() { Poll::Ready(()) } else { work.as_mut().poll(cx) }).await;
                    flag.set(true);
                }
            };
            handle.spawn(task).expect("spawns");
            for _ in 0..turns {
                shard.turn(Some(Duration::from_millis(1)));
            }
            stop.set(true);
            drop(peer);
            // Ends the task wherever it waits: teardown drops its future.
            handle.stop();
            shard.run();
            assert_eq!(handle.stats().leaked_ops.get(), 0, "after {turns} turns");
            assert_eq!(handle.leases_out(), [0, 0]);
        });
    }
}

#[test]
fn a_shard_that_may_not_wait_leaks_what_is_in_flight_and_ends() {
    both_configured(
        |cfg| cfg.teardown_wait = Duration::ZERO,
        |cfg, chosen| {
            let mut shard = Shard::new(cfg, chosen).expect("a shard");
            let handle = shard.handle();
            let (conn, mut peer) = pair(&handle, RecvMode::Large);
            let (dropped, mut other) = pair(&handle, RecvMode::Small);
            let tcp = handle.listen(common::listener().into()).expect("listens");
            let mut out = handle.send_list();
            out.push_owned(pattern(16 << 20, 3));
            conn.start_send(out);
            shard.turn(Some(Duration::ZERO));
            drop(dropped);
            drop(shard);
            let leaked = handle.stats().leaked_ops.get();
            match handle.driver() {
                // At least two receives, the send, the accept and the wake.
                DriverKind::IoUring => assert!(leaked >= 5, "{leaked}"),
                DriverKind::Epoll => assert_eq!(leaked, 0),
            }
            // Nobody waits for what will never be told, and all descriptors are closed.
            assert!(matches!(conn.poll_sent(), Poll::Ready(sent) if sent.result == Err(IoError::Closed)));
            assert!(matches!(conn.poll_recv(), Poll::Ready(Err(_) | Ok(None))));
            drop(conn);
            drop(tcp);
            for peer in [&mut peer, &mut other] {
                let mut rest = Vec::new();
                let _ = peer.read_to_end(&mut rest);
            }
        },
    );
}

#[test]
fn wakes_from_many_threads_reach_a_shard_that_sleeps() {
    const THREADS: usize = 4;
    const ROUNDS: u32 = 2000;
    both(|shard| {
        let handle = shard.handle();
        // Each thread and its task take turns: the thread raises the count and wakes, the task sees it and answers.
        let rooms: Vec<_> = (0..THREADS).map(|_| Arc::new(Room::default())).collect();
        for room in &rooms {
            let room = Arc::clone(room);
            let task = poll_fn(move |cx| {
                *room.waker.lock().expect("lock") = Some(cx.waker().clone());
                let asked = room.asked.load(Ordering::Acquire);
                room.answered.store(asked, Ordering::Release);
                if asked == ROUNDS { Poll::Ready(()) } else { Poll::Pending }
            });
            handle.spawn(task).expect("spawns");
        }
        let stopper = handle.stopper();
        let threads: Vec<_> =
            rooms.into_iter().map(|room| std::thread::spawn(move || room.ask(ROUNDS))).collect();
        let watch = std::thread::spawn(move || {
            let asked: Vec<bool> = threads.into_iter().map(|thread| thread.join().unwrap_or(false)).collect();
            stopper.stop();
            asked
        });
        shard.run();
        assert_eq!(watch.join().expect("joins"), [true; THREADS], "a wake was lost");
        assert!(handle.stats().wakes_sent.get() > 0, "the shard slept");
    });
}

#[derive(Default)]
struct Room {
    asked: AtomicU32,
    answered: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Room {
    /// Asks `rounds` times, each time after the answer; false if one does not come.
    fn ask(&self, rounds: u32) -> bool {
        for round in 1..=rounds {
            self.asked.store(round, Ordering::Release);
            if let Ok(waker) = self.waker.lock()
                && let Some(waker) = &*waker
            {
                waker.wake_by_ref();
            }
            let start = Instant::now();
            while self.answered.load(Ordering::Acquire) < round {
                if start.elapsed() > common::PATIENCE {
                    return false;
                }
                std::thread::yield_now();
            }
        }
        true
    }
}

#[test]
fn a_stopper_ends_a_shard_that_sleeps_and_one_that_has_not_begun() {
    both_configured(
        |_| (),
        |cfg, chosen| {
            for sleeps in [true, false] {
                let (cfg, chosen) = (cfg.clone(), chosen.clone());
                let (ready, stoppers) = std::sync::mpsc::channel();
                let (stopped, go) = std::sync::mpsc::channel::<()>();
                let (done, ended) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let mut shard = Shard::new(&cfg, &chosen).expect("a shard");
                    let handle = shard.handle();
                    let _ = ready.send((handle.stopper(), handle.stats_page()));
                    if !sleeps {
                        let _ = go.recv();
                    }
                    shard.run();
                    let _ = done.send(handle.stats().turns.get());
                });
                let (stopper, page) = stoppers.recv().expect("started");
                let start = Instant::now();
                while sleeps && page.turns.get() == 0 {
                    assert!(start.elapsed() < common::PATIENCE);
                    std::thread::yield_now();
                }
                stopper.clone().stop();
                let _ = stopped.send(());
                let turns = ended.recv_timeout(common::PATIENCE).expect("it does not stop");
                assert!(turns <= 3, "{turns} turns");
                // Harmless afterwards.
                stopper.stop();
            }
        },
    );
}

#[test]
fn a_connection_is_handed_to_a_task_that_has_not_polled_it() {
    for sent_before in [false, true] {
        both(|shard| {
            let handle = shard.handle();
            let (conn, mut theirs) = pair(&handle, RecvMode::Small);
            let (task, got) = (Rc::new(Cell::new(TaskRef::default())), Rc::new(Cell::new(0)));
            handle
                .spawn({
                    let (handle, task, got) = (handle.clone(), task.clone(), got.clone());
                    poll_fn(move |_| {
                        task.set(handle.current_task());
                        got.set(got.get() + 1);
                        Poll::Pending
                    })
                })
                .expect("spawns");
            turn_until(shard, "the task has begun", || got.get() == 1);
            if sent_before {
                theirs.write_all(b"x").expect("writes");
                turn_until(shard, "the byte is queued", || handle.leases_out()[0] == 1);
            }
            conn.wake_on_recv(task.get());
            if !sent_before {
                shard.turn(Some(Duration::ZERO));
                assert_eq!(got.get(), 1, "nothing has come yet");
                theirs.write_all(b"x").expect("writes");
            }
            turn_until(shard, "the task is woken", || got.get() == 2);
            assert_eq!(&*conn.try_recv().expect("a byte"), b"x");
        });
    }
}

#[test]
fn a_deadline_is_set_for_another_task() {
    both(|shard| {
        let handle = shard.handle();
        let (task, passed) = (Rc::new(Cell::new(TaskRef::default())), Rc::new(Cell::new(0)));
        handle
            .spawn({
                let (handle, task, passed) = (handle.clone(), task.clone(), passed.clone());
                poll_fn(move |_| {
                    task.set(handle.current_task());
                    if handle.deadline_passed() {
                        passed.set(passed.get() + 1);
                        // Far away: it is the other that sets one that passes.
                        handle.set_deadline(Some(handle.now() + Duration::from_secs(3600)));
                    }
                    Poll::Pending
                })
            })
            .expect("spawns");
        shard.turn(Some(Duration::ZERO));
        let start = handle.now();
        handle.set_deadline_of(task.get(), start + Duration::from_millis(20));
        turn_until(shard, "it passes", || passed.get() == 1);
        assert!(handle.now().since(start) >= Duration::from_millis(20), "early");
        handle.set_deadline_of(task.get(), start);
        turn_until(shard, "it has passed already", || passed.get() == 2);
        handle.set_deadline_of(TaskRef::default(), start);
        shard.turn(Some(Duration::ZERO));
        assert_eq!(passed.get(), 2);
    });
}
