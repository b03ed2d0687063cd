//! io_uring and epoll drivers behind one interface, with the executor of a shard.
//!
//! Start at [`Shard`] and [`Handle`]; a connection is a [`Conn`]. It never interprets a byte that it carries, never
//! logs and never resolves a name.
//!
//! # Decisions
//!
//! - **Copy when buffers run short.** The last quarter of a group is a reserve: what is received from it is copied to
//!   the heap at once and the buffer goes back. Spilling blocked sends alone is not enough: 16 slow relays whose
//!   queues hold 128 KiB each take all 64 large buffers (`tests/buffers.rs`).
//! - **The heap is shared by fractions.** 64 MiB per shard, and while a group is down to its reserve each connection may
//!   queue a quarter of its part of what is still free there: buffers offer no more, receives are armed for no more,
//!   and one that has its share waits until it has been read. So no number of connections that nobody reads, and of
//!   leases that nobody gives back, uses the heap up (`tests/starvation.rs`: 1000 and 5000). A strict rule, one
//!   buffer and only with an empty queue, cost 64 relays of 1 MiB replies 10 % (io_uring) to 40 % (epoll) of CPU;
//!   with shares the difference to no rule at all is not established.
//! - **A credit is also a quarter of what is left** of its group, so that the first few connections that nobody reads
//!   do not take everything before the copying begins.
//! - **A silent peer is probed** by the kernel (`ShardConfig::tcp_keepalive`). With it goes TCP_USER_TIMEOUT, so that
//!   data which nobody acknowledges, and a window that stays shut, end a connection after the same 120 s.
//! - **Plain descriptors, plain ring descriptor, EXT_ARG timeout.** The prototype's figures show nothing for the
//!   alternatives, and in a profile of this crate timers are 0.02 % of the CPU.
//! - **An operation registers the running task**, not the waker of its `Context`: a wake is an index push. Hence the
//!   rule on [`Conn`] that operations are polled by the task itself.
//! - **The eventfd is never read.** Both drivers take its writes as edges.
//! - **TCP_NODELAY is set at `adopt`**, not inherited, and keep-alive is looked at: a connection that was in the backlog
//!   before `listen` had neither.
//! - **O_NONBLOCK of a listening socket** belongs to every process that shares it. An epoll driver sets it and looks at it
//!   before each burst of accepts; an io_uring driver leaves it alone, and waits where an accept says EAGAIN.
//! - **A panic inside the tables aborts**, also when a task's call led there; one of a task's own code ends the task.
//! - **Emptying a backlog at stop** under io_uring is an accept and its cancellation in one submission, until the
//!   cancellation wins: the socket is blocking, shared, and must stay so for the other rings.
//!
//! - **A turn's sends go in two groups**: to those who came to us, then to where we connected. In turns, each wakes a
//!   peer that stops the one before where they share a processor: with 1000 clients, 32 connections to each of two nodes
//!   and all peers on one processor the gateway carried 54,800 requests/s in turns and 77,000 in groups.
//! - **The next task's future is fetched ahead** (`prefetch`): with 1000 connections its first touches were a third of the
//!   user space. In a profile of the gateway user space fell from 18 % to 12 % of the CPU.
//!
//! Measured with `hello_ring` (Linux 6.18, 2 cores, wrk on the other one, loopback; CPU of the server per request,
//! median), user space of the process about 0.19 us of it under io_uring; since then 27 % fewer instructions there:
//!
//! | | io_uring | epoll | tokio, 1 thread |
//! |---|---|---|---|
//! | 64 connections | 6.39 | 6.13 | 6.25 |
//! | 1000 connections | 5.98 | 6.18 | 6.47 |
//!
//! Instructions of the process per request, all of user space with the example's own code (callgrind, 32 connections,
//! 10,240 requests): 2033 → 1500 under io_uring, 1825 → 1567 under epoll.

mod addr;
mod buffers;
mod config;
mod conn;
mod epoll;
mod error;
mod exec;
mod handle;
mod heap;
mod io;
pub mod lane;
mod lease;
mod listener;
mod pin;
mod prefetch;
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
pub use config::{DriverChoice, DriverKind, GroupConfig, KeepAlive, RecvMode, ShardConfig, UnknownDriver};
pub use conn::{Conn, Recv};
pub use error::{IoError, StartError, TasksFull};
pub use handle::{Handle, Sleep, Stopper, TaskRef};
pub use lease::Lease;
pub use listener::{Accepted, Listener};
pub use pin::spawn_shard;
pub use send::{SendList, Sent};
pub use shard::{Shard, TurnReport};
pub use stats::{RingStats, Stat};
pub use time::{Clock, Time};
