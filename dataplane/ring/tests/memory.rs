//! What connections and tasks cost, counted by the allocator: one test, so that nobody else allocates meanwhile.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{both, list, pair};
use erlmcp_ring::RecvMode;

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_idle_stream_is_cheap_and_a_steady_one_allocates_nothing() {
    both(|shard| {
        const STREAMS: usize = 400;
        let handle = shard.handle();
        let mut peers = Vec::with_capacity(2 * STREAMS);
        let mut start = 0;
        for n in 0..STREAMS + 64 {
            if n == 64 {
                // The first chunks and queues are there now: what follows is the marginal cost.
                shard.turn(Some(Duration::ZERO));
                start = BYTES.load(Ordering::Relaxed);
            }
            let (client, a) = pair(&handle, RecvMode::Small);
            let (upstream, b) = pair(&handle, RecvMode::Large);
            peers.extend([a, b]);
            let task = {
                let handle = handle.clone();
                async move {
                    let state = [0u8; 160];
                    handle.set_deadline(Some(handle.now() + Duration::from_secs(60)));
                    let _ = client.recv().await;
                    let _ = upstream.recv().await;
                    std::hint::black_box(&state);
                }
            };
            assert!(size_of_val(&task) <= 256, "{} bytes", size_of_val(&task));
            handle.spawn(task).expect("spawns");
            shard.turn(Some(Duration::ZERO));
        }
        let marginal = (BYTES.load(Ordering::Relaxed) - start) / STREAMS;
        assert!(marginal < 800, "{marginal} bytes per stream");
        eprintln!("{marginal} bytes per idle stream of two connections");

        let (conn, mut peer) = pair(&handle, RecvMode::Small);
        let serve = async move {
            while let Ok(Some(request)) = conn.recv().await {
                conn.handle().set_deadline(Some(conn.handle().now() + Duration::from_secs(60)));
                drop(request);
                if conn.send(list(conn.handle(), b"a reply")).await.result.is_err() {
                    return;
                }
            }
        };
        handle.spawn(serve).expect("spawns");
        let mut word = [0; 7];
        for n in 0..1100 {
            if n == 100 {
                start = CALLS.load(Ordering::Relaxed);
            }
            peer.write_all(b"a request").expect("writes");
            let sends = handle.stats().sends.get();
            while handle.stats().sends.get() == sends {
                shard.turn(Some(Duration::from_secs(5)));
            }
            shard.turn(Some(Duration::ZERO));
            peer.read_exact(&mut word).expect("reads");
        }
        assert_eq!(CALLS.load(Ordering::Relaxed) - start, 0, "allocations in 1000 requests");
    });
}
