//! What carries the operations, and the plain socket calls that go with them.
//!
//! Everything that a shard asks of the system about a connection or a listener goes through here or through the drivers
//! themselves, so that a simulated one has a single place to stand beside them. It decides nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::addr::{PeerAddr, SockAddr};
use crate::config::KeepAlive;
use crate::epoll::Epoll;
use crate::slab::Key;
use crate::sys;
use crate::uring::Uring;

pub(crate) enum Driver {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
    /// Torn down: nothing is carried any more.
    Down,
}

impl Driver {
    /// Work waits in the driver: the turn must not block.
    pub(super) fn has_work(&self) -> bool {
        match self {
            Self::Uring(uring) => uring.has_work(),
            Self::Epoll(epoll) => epoll.has_work(),
            Self::Down => false,
        }
    }

    /// Operations that the kernel has not finished.
    pub(super) fn in_flight(&self) -> u32 {
        match self {
            Self::Uring(uring) => uring.in_flight(),
            Self::Epoll(_) | Self::Down => 0,
        }
    }

    /// The ring's descriptor, for tests of what the kernel still holds.
    pub(super) fn ring_fd(&self) -> Option<RawFd> {
        match self {
            Self::Uring(uring) => Some(uring.ring_fd()),
            Self::Epoll(_) | Self::Down => None,
        }
    }

    /// Makes a socket that was accepted somewhere fit for this driver.
    pub(super) fn prepare(&self, socket: &OwnedFd, keepalive: Option<&KeepAlive>) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        // io_uring waits by itself on blocking descriptors; O_NONBLOCK would make it give up with EAGAIN.
        sys::set_nonblocking(fd, matches!(self, Self::Epoll(_)))?;
        // A connection from before our `listen` has inherited nothing. A Unix socket has no such options.
        match keepalive {
            _ if sys::set_nodelay(fd).is_err() => Ok(()),
            Some(keepalive) if !sys::has_keepalive(fd) => sys::set_keepalive(fd, keepalive),
            _ => Ok(()),
        }
    }

    /// Makes a listening socket fit for this driver. Its O_NONBLOCK belongs to everybody who shares the socket, other
    /// processes too: nobody takes it away, because `accept4` of an epoll driver would block without it.
    pub(super) fn prepare_listener(
        &mut self,
        key: Key,
        socket: &OwnedFd,
        keepalive: Option<&KeepAlive>,
    ) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        if let Some(keepalive) = keepalive {
            // What it accepts inherits this. A Unix socket has no such option.
            let _ = sys::set_keepalive(fd, keepalive);
        }
        match self {
            Self::Epoll(epoll) => {
                sys::set_nonblocking(fd, true)?;
                epoll.register_listener(key, fd)
            }
            Self::Uring(_) | Self::Down => Ok(()),
        }
    }

    /// A socket that is to connect to `addr`.
    pub(super) fn socket_to(&self, addr: &SockAddr, keepalive: Option<&KeepAlive>) -> io::Result<OwnedFd> {
        let nonblock = if matches!(self, Self::Epoll(_)) { libc::SOCK_NONBLOCK } else { 0 };
        let socket = sys::socket(addr.family(), nonblock)?;
        if addr.family() != libc::AF_UNIX {
            sys::set_nodelay(socket.as_raw_fd())?;
            if let Some(keepalive) = keepalive {
                sys::set_keepalive(socket.as_raw_fd(), keepalive)?;
            }
        }
        Ok(socket)
    }

    /// Announces a connected socket to a driver that wants to know it.
    pub(super) fn register(&mut self, key: Key, fd: RawFd) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => epoll.register(key, fd),
            Self::Uring(_) | Self::Down => Ok(()),
        }
    }

    /// Ends both sides, so that whatever waits on the socket ends.
    pub(super) fn shutdown(&self, fd: RawFd) {
        // One that is not connected yet cannot be shut down, and need not.
        let _ = sys::shutdown(fd, libc::SHUT_RDWR);
    }

    /// Ends our side.
    pub(super) fn shutdown_write(&self, fd: RawFd) {
        // A connection that is gone already needs no half-close.
        let _ = sys::shutdown(fd, libc::SHUT_WR);
    }

    pub(super) fn close(&self, fd: RawFd) {
        sys::close(fd);
    }

    pub(super) fn peer_of(&self, socket: &OwnedFd) -> io::Result<PeerAddr> {
        sys::peer_name(socket.as_raw_fd()).and_then(|raw| PeerAddr::from_raw(&raw))
    }
}
