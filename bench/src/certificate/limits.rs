//! Every threshold of the certificate, with its reason. Never compares: that is `checks`.
//!
//! Where others publish one it is named: Nighthawk wants a send rate of 0.99, Fortio warns when 5 % of its sleeps end late,
//! `BrowserStack` calls a load engine unhealthy at 80 % CPU, AWS's Graviton runbook never lets one reach 100 %.

/// Own lag at p99 that is always accepted, nanoseconds: a sleeping thread's wake-up on a busy kernel, and the project's
/// target at 5,000 requests/s.
pub const LAG_P99_FLOOR: f64 = 100_000.0;
/// Own lag at p99 that is never accepted, nanoseconds: the tick of `wrk2`, which made 0.09 ms of latency look like 0.79.
pub const LAG_P99_CEILING: f64 = 1_000_000.0;
/// Between the two: as a share of the median service time. A tenth moves no percentile by more than its own noise.
pub const LAG_P99_SHARE: f64 = 0.10;
/// As [`LAG_P99_FLOOR`], for INVALID: a lag as long as what is measured.
pub const LAG_P99_INVALID_FLOOR: f64 = 1_000_000.0;
/// As [`LAG_P99_CEILING`], for INVALID: several scheduler slices.
pub const LAG_P99_INVALID_CEILING: f64 = 10_000_000.0;
/// As [`LAG_P99_SHARE`], for INVALID.
pub const LAG_P99_INVALID_SHARE: f64 = 1.0;

/// A single lag up to here is accepted whatever the response times are, nanoseconds: a few scheduler slices, once.
pub const LAG_MAX_FLOOR: f64 = 10_000_000.0;
/// Beyond it the largest lag may be up to this share of the largest response, or the maximum is the generator's own.
pub const LAG_MAX_SHARE: f64 = 0.5;
/// A lag as long as this is not pacing but a generator that stood still, nanoseconds.
pub const LAG_MAX_INVALID: f64 = 1_000_000_000.0;

/// Share of due requests that were sent (Nighthawk's `send-rate`).
pub const RATE_VALID: f64 = 0.99;
/// Below this the asked rate was not tested at all.
pub const RATE_DEGRADED: f64 = 0.95;
/// Share of sent requests that may be unanswered when measuring ends: they are known as lower bounds only, which makes
/// one of every percentile beyond.
pub const UNANSWERED_VALID: f64 = 0.01;

/// Busy share of the busiest thread (`BrowserStack`: 80 %): from here on queueing inside the generator shows.
pub const BUSY_DEGRADED: f64 = 0.80;
/// From here on the generator is the bottleneck.
pub const BUSY_INVALID: f64 = 0.95;
/// Share of the time that a thread was runnable and had no processor (Fortio: 5 % of sleeps late).
pub const RUN_DELAY_DEGRADED: f64 = 0.05;
/// From here on every fifth reply waits for the generator.
pub const RUN_DELAY_INVALID: f64 = 0.20;
/// Involuntary switches of a thread a second: one in every millisecond. What they cost is the run delay's to tell.
pub const SWITCHES_DEGRADED: f64 = 1_000.0;

/// Steal: a hypervisor that takes 1 % defines p99.
pub const STEAL_DEGRADED: f64 = 0.01;
/// A tenth of the machine was somebody else's.
pub const STEAL_INVALID: f64 = 0.10;
/// Length of a control group's period, seconds (the kernel's default, `cpu.max`).
pub const THROTTLE_PERIOD: f64 = 0.1;
/// Share of measuring in throttled periods. A single one stops all threads for up to 100 ms and degrades.
pub const THROTTLED_INVALID: f64 = 0.10;

/// Share of local ports in use: connections in TIME_WAIT make the last fifth unreliable.
pub const PORTS_DEGRADED: f64 = 0.80;
/// Share of requests that found no port or descriptor.
pub const EXHAUSTED_INVALID: f64 = 0.01;
/// Retransmitted segments per request: each costs 200 ms and more, so that 0.1 % defines p99.9.
pub const RETRANSMITS_DEGRADED: f64 = 0.001;

/// Significance level of the test of Poisson arrivals.
pub const ARRIVALS_LEVEL: f64 = 0.01;
/// An arrival moved by less than this is not counted, nanoseconds: the schedule's lag is judged apart, and what that check
/// accepts this one must not refuse.
pub const ARRIVALS_TOLERANCE: u64 = LAG_P99_FLOOR as u64;
/// As a share of a constant gap; the larger of the two holds.
pub const ARRIVALS_TOLERANCE_SHARE: f64 = 0.10;
/// Share of gaps out of place.
pub const ARRIVALS_DEGRADED: f64 = 0.05;
/// From here on it is another process: a Poisson process against evenly spaced arrivals has 0.63.
pub const ARRIVALS_INVALID: f64 = 0.20;
/// Share of arrivals that waited for a connection, beyond which the server shapes the arrivals and they are not tested.
pub const ARRIVALS_WAITED_MAX: f64 = 0.01;

/// Deviation from Little's law.
pub const LITTLE_VALID: f64 = 0.02;
/// From here on requests are missing from the books.
pub const LITTLE_INVALID: f64 = 0.10;

/// Share of answers that failed. Percentiles are of good replies: more failures than this and p99.9 is of survivors.
pub const ERRORS_DEGRADED: f64 = 0.001;
/// Most failed: percentiles describe the exceptions.
pub const ERRORS_INVALID: f64 = 0.5;
/// Share of errors beyond which Little's law is not checked: failures have no service time.
pub const LITTLE_ERRORS_MAX: f64 = 0.01;

/// Shortest measuring, seconds: in less, one scheduler slice of 10 ms is p99.
pub const SECONDS_MIN: f64 = 1.0;
