//! `.hlog`: `HdrHistogram`'s interval log, version 1.3: every interval's histograms without loss, as they end.
//!
//! Tags tell response and service times and the generator's lag apart. Lines are written here rather than by the crate's
//! writer, which borrows its output for the log's whole life and states maxima in the histogram's unit: the format wants
//! them readable, so they are milliseconds, as the reference implementation has them. Payloads are the crate's.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::quantiles::MS;
use crate::load::Interval;

/// Tag of response times.
pub const RESPONSE: &str = "response";
/// Tag of service times.
pub const SERVICE: &str = "service";
/// Tag of the generator's lag; no line without one.
pub const LAG: &str = "lag";

/// An interval log under way.
pub struct HistogramLog<W> {
    out: W,
    serializer: V2DeflateSerializer,
    begun: bool,
}

impl<W: Write> HistogramLog<W> {
    /// Nothing is written before the first interval, whose end tells when measuring began.
    pub fn new(out: W) -> Self {
        Self { out, serializer: V2DeflateSerializer::new(), begun: false }
    }

    /// Writes an interval that ended at `now`.
    ///
    /// # Errors
    /// The writer's.
    pub fn interval(&mut self, interval: &Interval, now: SystemTime) -> io::Result<()> {
        if !self.begun {
            self.begin(now.checked_sub(interval.start + interval.length).unwrap_or(now))?;
        }
        self.line(RESPONSE, interval, &interval.latencies.response)?;
        self.line(SERVICE, interval, &interval.latencies.service)?;
        if !interval.lag.is_empty() {
            self.line(LAG, interval, &interval.lag)?;
        }
        self.out.flush()
    }

    /// Writes what is buffered; a run without an interval has a log without a line. Hands the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self, now: SystemTime) -> io::Result<W> {
        if !self.begun {
            self.begin(now)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin(&mut self, started: SystemTime) -> io::Result<()> {
        self.begun = true;
        let started = started.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
        writeln!(self.out, "#[Logged by erlmcp bench, values in nanoseconds, Interval_Max in milliseconds]")?;
        writeln!(self.out, "#[Histogram log format version 1.3]")?;
        writeln!(self.out, "#[StartTime: {started:.3} (seconds since epoch)]")?;
        writeln!(self.out, "#[BaseTime: {started:.3} (seconds since epoch)]")?;
        writeln!(
            self.out,
            r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#
        )
    }

    fn line(&mut self, tag: &str, interval: &Interval, histogram: &Histogram<u64>) -> io::Result<()> {
        let mut payload = Vec::new();
        self.serializer.serialize(histogram, &mut payload).map_err(io::Error::other)?;
        writeln!(
            self.out,
            "Tag={tag},{:.3},{:.3},{:.3},{}",
            interval.start.as_secs_f64(),
            interval.length.as_secs_f64(),
            histogram.max() as f64 / MS,
            STANDARD.encode(payload)
        )
    }
}
