//! A process out of file descriptors: alone in its process, because the limit is the process's.

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{both, listener, run};
use erlmcp_ring::IoError;

fn set_limit(soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = soft;
    // SAFETY: `limit` is readable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    before
}

#[test]
fn a_listener_says_so_rests_and_goes_on() {
    both(|shard| {
        let handle = shard.handle();
        // Before the accept is armed: io_uring notes the limit then.
        let before = set_limit(100);
        let tcp = listener();
        let addr = tcp.local_addr().expect("address");
        let mut tcp = handle.listen(tcp.into()).expect("listens");
        shard.turn(Some(Duration::ZERO));
        let peer = TcpStream::connect(addr).expect("connects");
        let mut taken = Vec::new();
        while let Ok(copy) = peer.try_clone() {
            taken.push(copy);
        }
        assert_eq!(run(shard, tcp.accept()).expect_err("no descriptor"), IoError::NoDescriptors);
        let errors = handle.stats().accept_errors.get();
        let until = Instant::now() + Duration::from_millis(20);
        while Instant::now() < until {
            shard.turn(Some(Duration::from_millis(1)));
        }
        assert_eq!(handle.stats().accept_errors.get(), errors, "it does not rest");
        taken.clear();
        set_limit(before);
        run(shard, async { while tcp.accept().await.is_err() {} });
        let _late = TcpStream::connect(addr).expect("connects");
        tcp.pause();
        shard.turn(Some(Duration::ZERO));
        let _later = TcpStream::connect(addr).expect("connects");
        set_limit(100);
        while let Ok(copy) = peer.try_clone() {
            taken.push(copy);
        }
        let errors = handle.stats().accept_errors.get();
        let stopped = run(shard, tcp.stop());
        // io_uring looks at the limit that held when the accept was prepared, too.
        assert!(stopped.len() <= 1, "there was no descriptor");
        assert!(
            handle.stats().accept_errors.get() > errors,
            "nobody is told why the backlog was not emptied"
        );
        taken.clear();
        set_limit(before);
    });
}
