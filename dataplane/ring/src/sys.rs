//! Every plain system call of the crate, each as one safe function. Holds no state.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::config::KeepAlive;

/// Turns a return value below zero into the error in `errno`.
pub(crate) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the kernel has just created this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn monotonic_nanos() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut ts) };
    (ts.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(ts.tv_nsec as u64)
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Adds one to an eventfd. A full counter means that the wake is already visible.
pub(crate) fn eventfd_signal(fd: RawFd) {
    let one = 1u64;
    // SAFETY: eight readable bytes.
    unsafe { libc::write(fd, (&raw const one).cast(), size_of::<u64>()) };
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: no pointers; the caller owns `fd`.
    unsafe { libc::close(fd) };
}

pub(crate) fn shutdown(fd: RawFd, how: c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

pub(crate) fn socket(family: c_int, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) })
}

pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    })?;
    Ok((owned(fds[0])?, owned(fds[1])?))
}

pub(crate) fn set_nonblocking(fd: RawFd, on: bool) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let wanted = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    if wanted != flags {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, wanted) })?;
    }
    Ok(())
}

fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` is a readable int of the length given.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) }).map(drop)
}

fn option(fd: RawFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` is a writable int of the length given.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

/// Fails on what is no TCP socket.
pub(crate) fn set_nodelay(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Makes the kernel probe a silent peer. Sockets that a listening one accepts afterwards inherit it. Fails on what is
/// no TCP socket, and changes nothing then.
pub(crate) fn set_keepalive(fd: RawFd, keepalive: &KeepAlive) -> io::Result<()> {
    let int = |n: u128| c_int::try_from(n).unwrap_or(c_int::MAX);
    let tcp = |name, value| set_option(fd, libc::IPPROTO_TCP, name, value);
    tcp(libc::TCP_KEEPIDLE, int(keepalive.idle.as_secs().into()))?;
    tcp(libc::TCP_KEEPINTVL, int(keepalive.interval.as_secs().into()))?;
    tcp(libc::TCP_KEEPCNT, int(keepalive.count.into()))?;
    // With it the kernel goes by time, not by the count; it ends what stays unacknowledged or unread as well.
    tcp(libc::TCP_USER_TIMEOUT, int(keepalive.patience().as_millis()))?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)
}

pub(crate) fn has_keepalive(fd: RawFd) -> bool {
    option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE).is_ok_and(|on| on != 0)
}

/// Lets `close` reset the connection instead of ending it in order (`SO_LINGER` of zero seconds).
pub(crate) fn set_linger_zero(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: `linger` is readable for the length given.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The pending error of a socket (`SO_ERROR`), 0 if none.
pub(crate) fn socket_error(fd: RawFd) -> c_int {
    option(fd, libc::SOL_SOCKET, libc::SO_ERROR)
        .unwrap_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// `tcpi_bytes_acked` of `TCP_INFO` (RFC 4898 tcpEStatsAppHCThruOctetsAcked); `None` where it does not apply.
pub(crate) fn tcp_bytes_acked(fd: RawFd) -> Option<u64> {
    /// Offset of `tcpi_bytes_acked` in the kernel's `struct tcp_info` (uapi/linux/tcp.h), fixed since Linux 4.1.
    const AT: usize = 120;
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: `info` is writable for `len` bytes.
    let result = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if result < 0 || (len as usize) < AT + 8 {
        return None;
    }
    info[AT..AT + 8].try_into().ok().map(u64::from_ne_bytes)
}

/// A socket address as the kernel takes it.
#[derive(Clone, Copy)]
pub(crate) struct RawAddr {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl RawAddr {
    pub(crate) fn zeroed() -> Self {
        // SAFETY: `sockaddr_storage` is plain integers; all zeroes is a value of it.
        let storage = unsafe { MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    /// The address's bytes, `len` of them at most.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = (self.len as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: the storage is initialized (zeroed at least) and `len` is inside it.
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), len) }
    }

    /// Fills the address with `bytes`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut raw = Self::zeroed();
        let len = bytes.len().min(size_of::<libc::sockaddr_storage>());
        // SAFETY: the source has `len` bytes, the zeroed storage at least as many; they are different objects.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut raw.storage).cast(), len) };
        raw.len = len as libc::socklen_t;
        raw
    }
}

pub(crate) fn connect(fd: RawFd, addr: &RawAddr) -> io::Result<()> {
    // SAFETY: `addr` is readable for its length.
    check(unsafe { libc::connect(fd, addr.as_ptr(), addr.len) }).map(drop)
}

pub(crate) fn peer_name(fd: RawFd) -> io::Result<RawAddr> {
    let mut raw = RawAddr::zeroed();
    // SAFETY: the storage is writable for `len` bytes.
    check(unsafe { libc::getpeername(fd, (&raw mut raw.storage).cast(), &raw mut raw.len) })?;
    Ok(raw)
}

pub(crate) fn local_name(fd: RawFd) -> io::Result<RawAddr> {
    let mut raw = RawAddr::zeroed();
    // SAFETY: the storage is writable for `len` bytes.
    check(unsafe { libc::getsockname(fd, (&raw mut raw.storage).cast(), &raw mut raw.len) })?;
    Ok(raw)
}

/// Accepts without waiting, although a process that shares the listening socket may have taken its O_NONBLOCK away.
pub(crate) fn accept_nonblocking(fd: RawFd) -> io::Result<OwnedFd> {
    set_nonblocking(fd, true)?;
    accept(fd)
}

/// Accepts without waiting, if the listening socket is non-blocking.
pub(crate) fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: null addresses are allowed: the peer is asked for later.
    owned(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) })
}

/// Receives into `len` bytes at `at` without waiting.
///
/// # Safety
/// `at` must be writable for `len` bytes.
pub(crate) unsafe fn recv(fd: RawFd, at: *mut u8, len: usize) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    let n = unsafe { libc::recv(fd, at.cast(), len, libc::MSG_DONTWAIT) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

/// Sends what `message` describes without waiting and without SIGPIPE.
///
/// # Safety
/// The vectors of `message` must be readable.
pub(crate) unsafe fn sendmsg(fd: RawFd, message: *const libc::msghdr) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    let n = unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

/// Sends `len` bytes at `at` without waiting and without SIGPIPE.
///
/// # Safety
/// `at` must be readable for `len` bytes.
pub(crate) unsafe fn send(fd: RawFd, at: *const u8, len: usize) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    let n = unsafe { libc::send(fd, at.cast(), len, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

pub(crate) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

pub(crate) fn epoll_ctl(epoll: RawFd, op: c_int, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` is one readable event.
    check(unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) }).map(drop)
}

/// Waits at most `timeout` (`None`: for ever) and fills `events` from its front; returns how many.
///
/// With `fine` it waits to the nanosecond (epoll_pwait2, Linux 5.11), and clears `fine` where that is not there or not
/// let through; without, in whole milliseconds, never shorter than asked.
pub(crate) fn epoll_wait(
    epoll: RawFd,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
    fine: &mut bool,
) -> io::Result<usize> {
    let max = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    let whole = timeout.is_none_or(|wait| wait.subsec_nanos() % 1_000_000 == 0);
    if *fine && !whole {
        match epoll_wait_fine(epoll, events, max, timeout.unwrap_or_default()) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => *fine = false,
            result => return result,
        }
    }
    let timeout_ms =
        timeout.map_or(-1, |wait| i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    // SAFETY: `events` is writable for `max` events.
    check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), max, timeout_ms) }).map(|n| n as usize)
}

fn epoll_wait_fine(
    epoll: RawFd,
    events: &mut [libc::epoll_event],
    max: c_int,
    timeout: Duration,
) -> io::Result<usize> {
    // The kernel's own layout (`__kernel_timespec`), whatever the C library's `time_t` is.
    let timeout = [i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX), i64::from(timeout.subsec_nanos())];
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: `events` is writable for `max` events, `timeout` readable; without a mask its size is not looked at.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            events.as_mut_ptr(),
            max,
            timeout.as_ptr(),
            no_mask,
            0usize,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Zeroed, page-aligned memory that may be shared with the kernel; unmapped on drop.
pub(crate) struct Mapping {
    at: std::ptr::NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at =
            std::ptr::NonNull::new(at.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { at, len: len.max(1) })
    }

    pub(crate) fn at(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    pub(crate) fn start(&self) -> std::ptr::NonNull<u8> {
        self.at
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; its owner is going away.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

pub(crate) fn raw(fd: &impl AsRawFd) -> RawFd {
    fd.as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// The shortest of several waits of `wait`: noise only makes them longer.
    fn shortest(wait: Duration, fine: &mut bool) -> Duration {
        let epoll = epoll_create().expect("an epoll");
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let mut once = || {
            let begun = Instant::now();
            assert_eq!(epoll_wait(raw(&epoll), &mut events, Some(wait), fine).expect("waits"), 0);
            begun.elapsed()
        };
        (0..50).map(|_| once()).min().unwrap_or_default()
    }

    #[test]
    fn waits_are_finer_than_a_millisecond_and_never_short() {
        let wait = Duration::from_micros(200);
        let mut fine = true;
        let took = shortest(wait, &mut fine);
        assert!(took >= wait, "{took:?}");
        assert!(!fine || took < Duration::from_millis(1), "{took:?}");
    }

    #[test]
    fn without_the_finer_call_waits_are_rounded_up() {
        let took = shortest(Duration::from_micros(200), &mut false);
        assert!(took >= Duration::from_millis(1) - Duration::from_micros(1), "{took:?}");
    }
}
