//! `intervals.ndjson`: a JSON object a line, written as each interval ends, for whoever follows a run.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::model::{VERSION, errors_by_kind};
use super::quantiles::{Latency, Quantiles};
use crate::load::Interval;

/// Name of a line's form.
pub const SCHEMA: &str = "erlmcp.bench.interval";

/// A line. Percentiles that the interval's samples cannot carry are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the JSON forms.
    pub version: u32,
    /// Start since measuring began.
    pub at_seconds: f64,
    /// Its length.
    pub length_seconds: f64,
    /// Requests due.
    pub due: u64,
    /// Requests sent.
    pub sent: u64,
    /// Good replies.
    pub completed: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections made.
    pub connects: u64,
    /// Rate asked for; null in a closed loop.
    pub asked_per_second: Option<f64>,
    /// Good replies.
    pub achieved_per_second: f64,
    /// Due and not begun at its end.
    pub backlog: u64,
    /// Begun and not answered at its end.
    pub in_flight: u64,
    /// Response and service times.
    pub latency: Latency,
    /// The generator's own delay; null in a closed loop.
    pub lag: Option<Quantiles>,
}

impl Line {
    /// Of an interval.
    #[must_use]
    pub fn of(interval: &Interval) -> Self {
        let totals = &interval.totals;
        let seconds = interval.length.as_secs_f64();
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            at_seconds: interval.start.as_secs_f64(),
            length_seconds: seconds,
            due: totals.due,
            sent: totals.sent,
            completed: totals.completed,
            errors: errors_by_kind(&totals.errors),
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            connects: totals.connects,
            asked_per_second: interval.asked_rate,
            achieved_per_second: if seconds > 0.0 { totals.completed as f64 / seconds } else { 0.0 },
            backlog: interval.backlog,
            in_flight: interval.in_flight,
            latency: Latency::of(&interval.latencies),
            lag: (!interval.lag.is_empty()).then(|| Quantiles::of(&interval.lag)),
        }
    }
}

/// Writes an interval's line and flushes it.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut impl Write, interval: &Interval) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::of(interval))?;
    out.write_all(b"\n")?;
    out.flush()
}
