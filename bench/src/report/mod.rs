//! Reports of a run: terminal text, JSON, NDJSON, `HdrHistogram`'s two formats, and one page of HTML.
//!
//! [`Report`] is all that the reports say, as plain data; each format renders it. INVALID runs have no percentiles in it, so no
//! format can print one. Never measures, never judges.

mod collector;
mod host;
pub mod human;
mod model;
mod quantiles;

pub use collector::{Collector, Column, bucket_edges};
pub use host::Host;
pub use model::{
    ArrivalsReport, Counts, CurvePoint, Generator, Rates, Report, RequestReport, SCHEMA, SeriesPoint,
    StepReport, StreamReport, TargetReport, ThreadReport, VERSION, Workload,
};
pub use quantiles::{Latency, Quantile, Quantiles};
