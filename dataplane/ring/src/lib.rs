//! io_uring and epoll drivers behind one interface, with the executor of a shard.
//!
//! Start at [`Shard`] and [`Handle`]; a connection is a [`Conn`].

mod addr;
mod buffers;
mod config;
mod conn;
mod epoll;
mod error;
mod exec;
mod io;
pub mod lane;
mod listener;
mod pin;
pub mod probe;
mod send;
mod shard;
mod slab;
mod stats;
mod sys;
mod table;
mod time;
mod uring;
mod waker;
mod wheel;

pub use addr::{BadSockAddr, PeerAddr, SockAddr};
pub use buffers::Lease;
pub use config::{DriverChoice, DriverKind, GroupConfig, RecvMode, ShardConfig, UnknownDriver};
pub use conn::{Conn, Recv};
pub use error::{IoError, StartError, TasksFull};
pub use listener::{Accepted, Listener};
pub use pin::spawn_shard;
pub use send::{SendList, Sent};
pub use shard::{Handle, Shard, Sleep, Stopper, TaskRef, TurnReport};
pub use stats::{RingStats, Stat};
pub use time::{Clock, Time};
