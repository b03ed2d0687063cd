//! Measures servers: an open-loop load generator, comparisons with peers, a capacity planner.
//!
//! Owns the load, the processes that it starts, and the arithmetic on their figures. Never asserts a speed: it reports,
//! people and targets judge. Where to start reading: [`load`] for a run, [`certificate`] for whether to believe it,
//! [`report`] for what is said of it, [`compare`] for peers, [`capacity`] for plans.
//!
//! # Decisions
//! - **Latency counts from the intended start.** In an open loop, time-outs and arrivals that nobody answered by the end
//!   go into `response` as lower bounds, so that a stall cannot hide; other errors go into no histogram.
//! - **Lag is the generator's own delay**: it counts from when a request could be sent. Waiting for a connection is the
//!   server's doing and told apart (`pacing.waited`). A server that cannot keep up is DEGRADED, a generator INVALID.
//! - **Pacing sleeps and spins**: the margin before a start is the 99th percentile of late wake-ups (20..200 µs), and an
//!   open loop spins 50 µs after a send, so that quick replies do not include the thread's wake-up. Closed loops never spin.
//! - **Connecting is part of the response time** of the request that needed it, not of its service time. Failed connects
//!   pause 5 ms, doubling to 640 ms.
//! - **Poisson arrivals are drawn per thread** at its share of the rate: their sum is Poisson again.
//! - **JSON-RPC ids have ten digits and start anywhere**: lengths are constant, replies for somebody else are found. A
//!   streamed MCP reply ends with its event, not with the stream; switching sessions counts in response, not in service.
//! - **Lag p99 is judged against the median service time**, within 100 µs..1 ms: the response time contains the lag.
//! - **Only the sample count decides whether a percentile is printed**; dependence in time widens its interval, so that a
//!   single stall cannot hide itself. Binomial ranks are summed here: `statrs` stops its incomplete beta after 140 terms.
//! - **`.hlog` lines are our own, with the crate's payload**: its writer borrows the output for the whole log and writes
//!   maxima in the histogram's unit, while the format's convention is milliseconds.
//! - **The search takes the majority of five full-length trials** (with 10 % spoiled ones three misjudge 2.8 % of loads,
//!   five 0.9 %). A trial counts unless the generator's own checks are INVALID.
//! - **Intervals of the scaling law** come from a parametric bootstrap of the unconstrained fit, cut at 0: a bootstrap of
//!   the constrained fit is inconsistent where a coefficient is 0 (Andrews, Econometrica 68, 2000).
//! - **Regressions** are found by an exact one-sided Mann-Whitney test with the Hodges-Lehmann ratio: five trials a side
//!   are too few for anything that assumes a distribution.
//! - **The floor and HAProxy face the same upstreams**: a second upstream process costs a proxy about 4 % at 64
//!   connections, in wake-ups alone.
#![forbid(unsafe_code)]

pub mod calibrate;
pub mod capacity;
pub mod certificate;
pub mod child;
pub mod compare;
pub mod idle;
pub mod load;
pub mod null;
pub mod peers;
pub mod ports;
pub mod procfs;
#[cfg(feature = "peers")]
pub mod reference;
pub mod report;
pub mod stats;
pub mod wrk;
