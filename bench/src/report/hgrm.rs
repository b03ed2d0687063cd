//! `.hgrm`: the percentile distribution as `HdrHistogram`'s `outputPercentileDistribution` prints it, in milliseconds.
//!
//! Plotters that read that format read these files. An INVALID run's file says so and has no row.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use super::quantiles::MS;
use crate::certificate::Certificate;

/// Rows per halving of the distance to 100 %: the default of the reference implementation.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Writes the distribution of a histogram in nanoseconds.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut impl Write, histogram: &Histogram<u64>, certificate: &Certificate) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    if !certificate.is_trusted() {
        for check in certificate.failed() {
            let reason = check.reason.as_deref().unwrap_or(&check.measured);
            writeln!(out, "#[{}: {}: {reason}]", certificate.verdict.name(), check.name)?;
        }
        return Ok(());
    }
    let mut count = 0_u64;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / MS, step.quantile_iterated_to());
        write!(out, "{value:12.3} {quantile:2.12} {count:10}")?;
        if quantile < 1.0 {
            writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out)?;
        }
    }
    let (mean, deviation) = (histogram.mean() / MS, histogram.stdev() / MS);
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        histogram.max() as f64 / MS,
        histogram.len()
    )?;
    writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        sub_buckets(histogram.sigfig())
    )
}

/// Linear steps of a bucket: the power of two that tells twice the significant digits apart, as `HdrHistogram` sizes them.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(digits))).next_power_of_two()
}
