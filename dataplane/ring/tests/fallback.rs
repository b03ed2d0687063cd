//! Where io_uring is denied: the probe says so with its remedy, and epoll carries the shard. The denial is a real one,
//! a seccomp filter on a thread of its own, as container runtimes install it.

mod common;

use common::{pair, recv_exact, run};
use erlmcp_ring::{DriverChoice, DriverKind, RecvMode, Shard, ShardConfig, probe};

const SYS_IO_URING_SETUP: u32 = 425;
const SYS_IO_URING_ENTER: u32 = 426;
const SYS_IO_URING_REGISTER: u32 = 427;

/// Makes system call `number` fail with `errno` on this thread, for good.
fn deny(number: u32, errno: u32) {
    const RET_ERRNO: u32 = 0x0005_0000;
    const RET_ALLOW: u32 = 0x7FFF_0000;
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut program = [
        statement(0x20, 0), // load the number of the system call
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: number },
        statement(0x06, RET_ERRNO | errno),
        statement(0x06, RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: a readable program of the length that it names.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(result, 0, "cannot install a seccomp filter");
}

fn on_denied_thread(number: u32, errno: i32, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        deny(number, errno as u32);
        test();
    });
    assert!(thread.join().is_ok());
}

#[test]
fn a_denied_ring_falls_back_with_a_reason_or_fails_on_demand() {
    let cases = [
        (SYS_IO_URING_SETUP, libc::EPERM, "seccomp"),
        (SYS_IO_URING_SETUP, libc::ENOSYS, "Linux 6.1"),
        (SYS_IO_URING_SETUP, libc::ENOMEM, "RLIMIT_MEMLOCK"),
        (SYS_IO_URING_REGISTER, libc::EPERM, "kernel.io_uring_disabled"),
    ];
    for (number, errno, remedy) in cases {
        on_denied_thread(number, errno, move || {
            let cfg = ShardConfig::default();
            let error = probe::choose(DriverChoice::IoUring, &cfg).expect_err("it is denied").to_string();
            let chosen = probe::choose(DriverChoice::Auto, &cfg).expect("falls back");
            assert_eq!(chosen.kind, DriverKind::Epoll);
            let reason = chosen.fallback.clone().expect("a reason");
            assert_eq!(reason.errno, errno);
            assert_eq!(reason.to_string(), error);
            assert!(error.contains(remedy), "{error}");
            let mut shard = Shard::new(&cfg, &chosen).expect("a shard");
            let (conn, mut peer) = pair(&shard.handle(), RecvMode::Small);
            std::io::Write::write_all(&mut peer, b"served").expect("writes");
            assert_eq!(run(&mut shard, recv_exact(&conn, 6)), b"served");
        });
    }
}

#[test]
fn unknown_flags_are_given_up_one_by_one() {
    // A kernel that knows none of the flags refuses all with EINVAL; one that refuses everything is no io_uring.
    on_denied_thread(SYS_IO_URING_SETUP, libc::EINVAL, || {
        let chosen = probe::choose(DriverChoice::Auto, &ShardConfig::default()).expect("falls back");
        assert_eq!(chosen.fallback.expect("a reason").errno, libc::EINVAL);
    });
}

#[test]
fn a_ring_that_cannot_be_entered_is_not_taken() {
    on_denied_thread(SYS_IO_URING_ENTER, libc::EPERM, || {
        let chosen = probe::choose(DriverChoice::Auto, &ShardConfig::default()).expect("falls back");
        assert_eq!(chosen.kind, DriverKind::Epoll);
        assert_eq!(chosen.fallback.expect("a reason").errno, libc::EPERM);
    });
}

#[test]
fn a_configuration_out_of_range_is_named() {
    let cfg = ShardConfig { sq_entries: 1000, ..ShardConfig::default() };
    let error = probe::choose(DriverChoice::Auto, &cfg).expect_err("not a power of two");
    assert!(error.to_string().contains("sq_entries is 1000"), "{error}");
}
