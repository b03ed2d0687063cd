//! What a shard is made of: sizes, bounds and the choice of driver. Checks them; never applies them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::buffers::GroupId;
use crate::time::Clock;

/// Which driver carries a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverKind {
    /// Completions over io_uring.
    IoUring,
    /// Readiness over edge-triggered epoll.
    Epoll,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// What the operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriverChoice {
    /// io_uring where its functional probe passes, else epoll.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// The text was none of `auto`, `io_uring`, `epoll`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown driver {0:?}: expected auto, io_uring or epoll")]
pub struct UnknownDriver(String);

impl FromStr for DriverChoice {
    type Err = UnknownDriver;
    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        match text {
            "auto" => Ok(Self::Auto),
            "io_uring" => Ok(Self::IoUring),
            "epoll" => Ok(Self::Epoll),
            other => Err(UnknownDriver(other.to_owned())),
        }
    }
}

/// Which group of buffers a connection receives into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvMode {
    /// Many small buffers: heads, idle clients.
    Small,
    /// Few large buffers: bodies, upstreams.
    Large,
}

impl RecvMode {
    pub(crate) const fn group(self) -> GroupId {
        match self {
            Self::Small => GroupId::Small,
            Self::Large => GroupId::Large,
        }
    }
}

/// One group of receive buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// Number of buffers, 1..=16384.
    pub count: u16,
    /// Bytes of one buffer, 64..=1 MiB.
    pub size: u32,
}

/// How the kernel finds out that a peer has gone without a word (RFC 9293 section 3.8.4): it lost power, or the path.
///
/// Unacknowledged data, and a peer that takes nothing, end a connection after the same time: idle, and all
/// intervals (TCP_USER_TIMEOUT, RFC 5482).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Silence before the first probe, whole seconds, 1..=32767.
    pub idle: Duration,
    /// Between two probes, whole seconds, 1..=32767.
    pub interval: Duration,
    /// Probes without an answer after which the connection is dead, 1..=127.
    pub count: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(15), count: 4 }
    }
}

impl KeepAlive {
    /// Silence after which a connection is dead.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.idle.saturating_add(self.interval.saturating_mul(self.count))
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in [("idle", self.idle), ("interval", self.interval)] {
            if !(1..=32767).contains(&value.as_secs()) || value.subsec_nanos() != 0 {
                return Err(format!("tcp_keepalive.{name} is {value:?}, must be whole seconds, 1..=32767"));
            }
        }
        if !(1..=127).contains(&self.count) {
            return Err(format!("tcp_keepalive.count is {}, must be 1..=127", self.count));
        }
        Ok(())
    }
}

/// Sizes and bounds of a shard.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Shown in errors and as the thread's name.
    pub name: String,
    /// Buffers for heads and idle clients.
    pub small: GroupConfig,
    /// Buffers for bodies and upstreams.
    pub large: GroupConfig,
    /// Submission queue entries, a power of two.
    pub sq_entries: u32,
    /// Completion queue entries, a power of two, at least `sq_entries`.
    pub cq_entries: u32,
    /// Bytes that a connection may have received and not yet taken.
    pub recv_window_bytes: u32,
    /// Buffers that one connection may hold in its queue; never more than a quarter of their group.
    pub recv_leases_max: u16,
    /// Tasks that may exist at once.
    pub tasks_max: u32,
    /// Tasks polled in one turn; the rest waits for the next.
    pub tasks_per_turn_max: u32,
    /// Completions taken in one turn.
    pub cqes_per_turn_max: u32,
    /// Accepted sockets that a listener queues before it pauses itself.
    pub accept_queue_max: u16,
    /// Of TCP connections, accepted and made; `None` leaves them as the system has them.
    pub tcp_keepalive: Option<KeepAlive>,
    /// How long teardown waits for the kernel to finish what is in flight. What it has not finished then is leaked,
    /// never freed.
    pub teardown_wait: Duration,
    /// Seed of [`Handle::rng`](crate::Handle::rng).
    pub seed: u64,
    /// Where time comes from.
    pub clock: Clock,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            name: "shard".to_owned(),
            small: GroupConfig { count: 256, size: 4096 },
            large: GroupConfig { count: 64, size: 32768 },
            sq_entries: 1024,
            cq_entries: 16384,
            recv_window_bytes: 512 * 1024,
            recv_leases_max: 32,
            tasks_max: 1 << 20,
            tasks_per_turn_max: 4096,
            cqes_per_turn_max: 4096,
            accept_queue_max: 1024,
            tcp_keepalive: Some(KeepAlive::default()),
            teardown_wait: Duration::from_secs(2),
            seed: 0x9E37_79B9_7F4A_7C15,
            clock: Clock::Monotonic,
        }
    }
}

impl ShardConfig {
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        for (name, group) in [("small", &self.small), ("large", &self.large)] {
            if !(1..=16384).contains(&group.count) {
                return Err(format!("{name}.count is {}, must be 1..=16384", group.count));
            }
            if !(64..=1 << 20).contains(&group.size) {
                return Err(format!("{name}.size is {} bytes, must be 64..=1048576", group.size));
            }
        }
        if !self.sq_entries.is_power_of_two() || self.sq_entries > 32768 {
            return Err(format!("sq_entries is {}, must be a power of two up to 32768", self.sq_entries));
        }
        if !self.cq_entries.is_power_of_two() || self.cq_entries > 65536 || self.cq_entries < self.sq_entries
        {
            return Err(format!(
                "cq_entries is {}, must be a power of two, sq_entries..=65536",
                self.cq_entries
            ));
        }
        if let Some(keepalive) = &self.tcp_keepalive {
            keepalive.check()?;
        }
        let bounds = [
            ("recv_window_bytes", self.recv_window_bytes),
            ("recv_leases_max", u32::from(self.recv_leases_max)),
            ("tasks_max", self.tasks_max),
            ("tasks_per_turn_max", self.tasks_per_turn_max),
            ("cqes_per_turn_max", self.cqes_per_turn_max),
            ("accept_queue_max", u32::from(self.accept_queue_max)),
        ];
        match bounds.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name} must not be 0")),
            None => Ok(()),
        }
    }
}
