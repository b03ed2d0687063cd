//! What can go wrong with an operation of the ring, as small `Copy` values. Never allocates, never logs.

use std::io;

/// Why an operation on a connection or a listener failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IoError {
    /// The task's deadline passed first.
    #[error("timed out")]
    TimedOut,
    /// The peer reset the connection (ECONNRESET, ECONNABORTED).
    #[error("reset by the peer")]
    Reset,
    /// Nobody listens there (ECONNREFUSED; ENOENT of a Unix path).
    #[error("connection refused")]
    Refused,
    /// No route to the host or network.
    #[error("unreachable")]
    Unreachable,
    /// The shard is being torn down, or the handle's connection is gone.
    #[error("closed")]
    Closed,
    /// The other side no longer reads (EPIPE).
    #[error("broken pipe")]
    BrokenPipe,
    /// The process or the system is out of file descriptors.
    #[error("out of file descriptors: raise RLIMIT_NOFILE or fs.file-max")]
    NoDescriptors,
    /// Canceled by its owner.
    #[error("canceled")]
    Canceled,
    /// Another error number of the operating system.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
}

impl IoError {
    /// From a positive `errno`.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        match errno {
            libc::ETIMEDOUT | libc::ETIME => Self::TimedOut,
            libc::ECONNRESET | libc::ECONNABORTED => Self::Reset,
            libc::ECONNREFUSED | libc::ENOENT => Self::Refused,
            libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => Self::Unreachable,
            libc::EPIPE | libc::ENOTCONN | libc::ESHUTDOWN => Self::BrokenPipe,
            libc::EMFILE | libc::ENFILE => Self::NoDescriptors,
            libc::ECANCELED => Self::Canceled,
            other => Self::Os(other),
        }
    }

    /// From the operating system's error, as `std` wraps it.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::Closed, Self::from_errno)
    }

    /// The task's deadline passed.
    #[must_use]
    pub const fn is_timed_out(self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// The peer is gone: it reset, or no longer reads.
    #[must_use]
    pub const fn is_peer_gone(self) -> bool {
        matches!(self, Self::Reset | Self::BrokenPipe)
    }

    /// Nothing reached the peer: trying another one is safe.
    #[must_use]
    pub const fn is_connect_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable)
    }
}

impl From<io::Error> for IoError {
    fn from(error: io::Error) -> Self {
        Self::from_io(&error)
    }
}

/// The shard already runs as many tasks as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the shard's bound of tasks is reached")]
pub struct TasksFull;

/// A shard could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A size is out of its range.
    #[error("shard configuration: {0}")]
    Config(String),
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Os {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    pub(crate) fn os(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Os { what, source }
    }
}
