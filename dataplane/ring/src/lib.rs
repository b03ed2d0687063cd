//! io_uring and epoll drivers behind one interface, with the executor of a shard.
//!
//! Start at [`Shard`] and [`Handle`]; a connection is a [`Conn`].
#![expect(dead_code, reason = "the drivers arrive in the next commits")]

mod addr;
mod config;
mod error;
pub mod lane;
pub mod probe;
mod skeleton;
mod stats;
mod sys;
mod time;

pub use addr::{BadSockAddr, PeerAddr, SockAddr};
pub use config::{DriverChoice, DriverKind, GroupConfig, RecvMode, ShardConfig, UnknownDriver};
pub use error::{IoError, StartError, TasksFull};
pub use skeleton::{Accepted, Conn, Handle, Lease, Listener, SendList, Sent, Shard, TurnReport, spawn_shard};
pub use stats::{RingStats, Stat};
pub use time::{Clock, Time};
