//! The load generator: virtual clients on the project's own ring, and what they measured.
//!
//! [`Spec`] says what to do, [`run()`] does it, [`Outcome`] is what came of it. Latency is taken from the
//! *intended* start of a request (Gil Tene, "How NOT to measure latency"): a stall of the server counts for every request
//! that should have started meanwhile. Never judges an outcome: that is the certificate's.

mod arrivals;
mod client;
mod collect;
mod draw;
mod machine;
mod outcome;
mod pace;
mod record;
mod run;
mod seat;
mod spec;
mod state;
mod stop;
#[cfg(test)]
mod tests;
mod worker;

pub use outcome::{
    ErrorKind, Errors, Interval, Latencies, Machine, Outcome, Pacing, Point, RequestOutcome, StreamOutcome,
    ThreadUse, Totals, new_histogram,
};
pub use run::{Observer, Phase, Progress, RunError, run};
pub use spec::{Arrivals, Era, Http, Mcp, McpCall, Protocol, Request, Spec, Step, Target, Think};
pub use stop::Stop;
