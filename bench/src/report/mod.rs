//! Reports of a run: terminal text, JSON, NDJSON, `HdrHistogram`'s two formats, and one page of HTML.
//!
//! [`Report`] is all that the reports say, as plain data; each format renders it. INVALID runs have no percentiles in it, so no
//! format can print one. Never measures, never judges.

mod collector;
mod files;
pub mod hgrm;
pub mod hlog;
mod host;
pub mod html;
pub mod human;
pub mod json;
mod model;
pub mod ndjson;
mod quantiles;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;

pub use collector::{Collector, Column, bucket_edges};
pub use files::{Files, HLOG, HTML, JSON, NDJSON, RESPONSE_HGRM, SERVICE_HGRM};
pub use host::Host;
pub use model::{
    ArrivalsReport, Counts, CurvePoint, Generator, Rates, Report, RequestReport, SCHEMA, SeriesPoint,
    StepReport, StreamReport, TargetReport, ThreadReport, VERSION, Workload,
};
pub use quantiles::{Latency, Quantile, Quantiles};
