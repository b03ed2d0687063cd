//! Figures of a comparison and their arithmetic: spreads over rounds, ratios within a round.
//!
//! Owns no process and reads nothing: samples in, rows out.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::certificate::Check;

/// Order statistics of one figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Lowest.
    pub min: f64,
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// Highest.
    pub max: f64,
}

impl Spread {
    /// Of values in any order; `None` without any. Quartiles are interpolated linearly (type 7 of Hyndman and Fan, 1996).
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let low = place.floor() as usize;
            let high = (low + 1).min(last);
            sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
        };
        Some(Self { min: sorted[0], q1: at(0.25), median: at(0.5), q3: at(0.75), max: sorted[last] })
    }
}

/// One candidate in one round, closed loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// CPU time of the server (user and system, all threads and children) per reply, microseconds.
    pub cpu_us: f64,
    /// Good replies per second.
    pub rate: f64,
    /// Good replies.
    pub requests: u64,
    /// Proportional set size with all connections open, bytes.
    pub pss: u64,
    /// 99th percentile of service time, milliseconds: how a saturated server shares its time, nothing about an open loop.
    pub closed_p99_ms: f64,
    /// Errors that the generator counted.
    pub errors: u64,
}

/// One candidate in one round at a fixed rate.
#[derive(Debug, Clone)]
pub(super) struct Paced {
    /// Response times from the intended start, nanoseconds.
    pub(super) response: Histogram<u64>,
    /// Actual less intended start, nanoseconds.
    pub(super) lag: Histogram<u64>,
    /// Good replies per second.
    pub(super) rate: f64,
    /// Errors.
    pub(super) errors: u64,
    /// Checks of the generator's certificate that failed, the worst first.
    pub(super) doubts: Vec<Check>,
    /// The certificate lets the figures be shown.
    pub(super) trusted: bool,
}

/// Quantiles of response time, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |value: u64| value as f64 / 1e6;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: ms(histogram.max()) }
    }
}

/// Response time at a fixed rate, from the intended start (open loop).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Of all rounds: histograms are merged, percentiles never averaged.
    pub all: Quantiles,
    /// Requests that these stand on.
    pub requests: u64,
    /// Each round's own.
    pub rounds: Vec<Quantiles>,
    /// Median rate of good replies, per second.
    pub rate: f64,
    /// 99th percentile of the generator's own lag, microseconds: what is below it is the generator's.
    pub lag_p99_us: f64,
    /// Errors of all rounds.
    pub errors: u64,
    /// Checks of the generator's certificate that failed in any round, each once and at its worst.
    pub doubts: Vec<Check>,
    /// The certificate of every round lets them be shown; else the table withholds them.
    pub trusted: bool,
}

impl Latency {
    pub(super) fn of(rounds: &[Paced]) -> Option<Self> {
        let (first, rest) = rounds.split_first()?;
        let (mut response, mut lag) = (first.response.clone(), first.lag.clone());
        for round in rest {
            // All histograms of a run have the same bounds.
            response.add(&round.response).ok()?;
            lag.add(&round.lag).ok()?;
        }
        let mut doubts: Vec<Check> = rounds.iter().flat_map(|round| round.doubts.clone()).collect();
        // Of each name the worst comes first and is the one that stays.
        doubts.sort_by(|a, b| a.name.cmp(&b.name).then(b.verdict.cmp(&a.verdict)));
        doubts.dedup_by(|later, first| later.name == first.name);
        doubts.sort_by_key(|check| std::cmp::Reverse(check.verdict));
        Some(Self {
            all: Quantiles::of(&response),
            requests: response.len(),
            rounds: rounds.iter().map(|round| Quantiles::of(&round.response)).collect(),
            rate: Spread::of(rounds.iter().map(|round| round.rate))?.median,
            lag_p99_us: lag.value_at_quantile(0.99) as f64 / 1e3,
            errors: rounds.iter().map(|round| round.errors).sum(),
            doubts,
            trusted: rounds.iter().all(|round| round.trusted),
        })
    }
}

/// A candidate's CPU time per request divided by another's, taken within each round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The other.
    pub to: String,
    /// Over the rounds.
    pub spread: Spread,
}

/// One candidate over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// CPU time per request, microseconds.
    pub cpu_us: Spread,
    /// Good replies per second, closed loop.
    pub rate: Spread,
    /// Proportional set size, bytes.
    pub pss: Spread,
    /// Median of the closed loop's 99th percentiles, milliseconds.
    pub closed_p99_ms: f64,
    /// Errors of all rounds.
    pub errors: u64,
    /// Against every other candidate of the table, in their order.
    pub ratios: Vec<Ratio>,
    /// At a fixed rate, where that was measured.
    pub latency: Option<Latency>,
    /// The rounds, in their order.
    pub samples: Vec<Sample>,
}

impl Row {
    /// The median ratio to `other`, if that took part.
    #[must_use]
    pub fn ratio_to(&self, other: &str) -> Option<&Spread> {
        self.ratios.iter().find(|ratio| ratio.to == other).map(|ratio| &ratio.spread)
    }
}

/// One row per candidate that has a sample; only rounds that all of two finished make up their ratio.
pub(super) fn rows(names: &[String], samples: &[Vec<Sample>]) -> Vec<Row> {
    let all = || names.iter().zip(samples);
    let row = |(name, own): (&String, &Vec<Sample>)| {
        let spread = |of: fn(&Sample) -> f64| Spread::of(own.iter().map(of));
        let ratios = all().filter(|(other, _)| *other != name).filter_map(|(other, theirs)| {
            let pairs = own.iter().zip(theirs).map(|(own, other)| own.cpu_us / other.cpu_us);
            Some(Ratio { to: other.clone(), spread: Spread::of(pairs)? })
        });
        Some(Row {
            name: name.clone(),
            cpu_us: spread(|sample| sample.cpu_us)?,
            rate: spread(|sample| sample.rate)?,
            pss: spread(|sample| sample.pss as f64)?,
            closed_p99_ms: spread(|sample| sample.closed_p99_ms)?.median,
            errors: own.iter().map(|sample| sample.errors).sum(),
            ratios: ratios.collect(),
            latency: None,
            samples: own.clone(),
        })
    };
    all().filter_map(row).collect()
}

/// Half of the slowest candidate's median rate: one that all of them can carry.
pub(super) fn fixed_rate(rows: &[Row]) -> Option<f64> {
    rows.iter().map(|row| row.rate.median / 2.0).min_by(f64::total_cmp).filter(|rate| *rate >= 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::certificate::{Side, Verdict};
    use crate::load::new_histogram;

    pub(in crate::compare) fn sample(cpu_us: f64, errors: u64) -> Sample {
        Sample { cpu_us, rate: 1e6 / cpu_us, requests: 1000, pss: 4 << 20, closed_p99_ms: 1.0, errors }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn spreads_are_order_statistics() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, q1: 1.75, median: 2.5, q3: 3.25, max: 4.0 });
        let one = Spread::of([7.0]).unwrap();
        assert!(close(one.min, 7.0) && close(one.q3, 7.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let names = ["floor".to_owned(), "other".to_owned()];
        let samples = vec![
            vec![sample(10.0, 0), sample(20.0, 0), sample(40.0, 0)],
            vec![sample(12.0, 1), sample(18.0, 0), sample(44.0, 2)],
        ];
        let rows = rows(&names, &samples);
        let ratio = rows[1].ratio_to("floor").unwrap();
        assert!(close(ratio.median, 1.1) && close(ratio.min, 0.9) && close(ratio.max, 1.2), "{ratio:?}");
        assert!(rows[0].ratio_to("floor").is_none() && rows[0].ratio_to("other").is_some());
        assert!(close(rows[1].cpu_us.min, 12.0) && close(rows[1].cpu_us.median, 18.0));
        assert_eq!(rows[1].errors, 3);
        // The slowest by its median: 18 us are 55,556 a second against 50,000 of 20 us.
        assert!(close(fixed_rate(&rows).unwrap(), 25_000.0));
    }

    #[test]
    fn a_round_that_was_cut_counts_for_those_who_finished_it() {
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let samples = vec![vec![sample(10.0, 0), sample(99.0, 0)], vec![sample(20.0, 0)], Vec::new()];
        let rows = rows(&names, &samples);
        assert_eq!(rows.len(), 2);
        assert!(close(rows[0].ratio_to("b").unwrap().max, 0.5));
        assert!(rows[0].ratio_to("c").is_none());
        assert_eq!(fixed_rate(&[]), None);
    }

    #[test]
    fn histograms_are_merged_not_their_percentiles() {
        let check = |verdict: Verdict| Check {
            name: "schedule lag p99".into(),
            side: Side::Generator,
            verdict: Some(verdict),
            measured: verdict.name().into(),
            limit: String::new(),
            reason: None,
        };
        let paced = |value: u64, times: u64, verdict: Verdict| {
            let mut response = new_histogram();
            response.record_n(value, times).unwrap();
            let mut lag = new_histogram();
            lag.record_n(20_000, times).unwrap();
            let trusted = verdict != Verdict::Invalid;
            Paced { response, lag, rate: 100.0, errors: 1, doubts: vec![check(verdict)], trusted }
        };
        let busy = Verdict::Degraded;
        // One round with 1 % of all requests at 50 ms: the mean of both p50 would be 25.5 ms.
        let latency = Latency::of(&[paced(1_000_000, 9900, busy), paced(50_000_000, 100, busy)]).unwrap();
        assert!((latency.all.p50_ms - 1.0).abs() < 0.01, "{latency:?}");
        assert!((latency.all.p999_ms - 50.0).abs() < 0.1 && (latency.rounds[1].p50_ms - 50.0).abs() < 0.1);
        assert_eq!((latency.requests, latency.errors, latency.doubts.len()), (10_000, 2, 1));
        // Half a microsecond is what the histograms tell apart.
        assert!((latency.lag_p99_us - 20.0).abs() < 0.6);
        assert!(latency.trusted);
        let lost = Latency::of(&[paced(1, 1, busy), paced(1, 1, Verdict::Invalid)]).unwrap();
        assert!(!lost.trusted && lost.doubts.len() == 1 && lost.doubts[0].measured == "INVALID", "{lost:?}");
        assert_eq!(Latency::of(&[]), None);
    }
}
