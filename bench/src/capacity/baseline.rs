//! An earlier result kept in a file, and whether today's is worse.
//!
//! Owns the file's format (JSON with a version) and the test. A metric has regressed when it is worse by more than a
//! threshold *and* the difference is significant: Mann and Whitney's U test, exact and one-sided, on per-trial values, and the
//! Hodges-Lehmann estimate as the size of the difference. Why ranks: a handful of values, skewed, with the occasional spoiled
//! trial. Their exact distribution needs no assumption about the shape, and one outlier moves a rank, not a mean; a bootstrap
//! of five values finds far too much (its intervals cover well below their level). Never compares different things: target,
//! goals, connections and rate of the reference trials have to be the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Version of the file's format.
pub const VERSION: u32 = 1;
/// Largest chance that a difference called significant is none.
const SIGNIFICANCE: f64 = 0.05;
/// Most values of a metric: the exact test counts in their product.
pub const VALUES_MAX: usize = 64;
/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A result as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`VERSION`].
    pub version: u32,
    /// What was measured.
    pub subject: Subject,
    /// Highest rate that met the goals and lowest that did not, requests per second.
    pub rate_bounds_per_s: [Option<f64>; 2],
    /// Per-trial values.
    pub metrics: Vec<Metric>,
    /// Where and when, for people.
    pub note: String,
}

/// What has to be the same in two results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// As the user wrote it.
    pub url: String,
    /// In their order.
    pub goals: Vec<String>,
    /// Of the reference trials.
    pub connections: u32,
    /// Rate of the reference trials, requests per second.
    pub reference_rate_per_s: f64,
    /// Their length, seconds.
    pub trial_s: f64,
}

/// One figure over the reference trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// With its unit, such as `response_p99_ms`.
    pub name: String,
    /// Whether more is worse.
    pub lower_is_better: bool,
    /// One a trial.
    pub values: Vec<f64>,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file cannot be read or written.
    #[error("baseline {path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is none.
    #[error("baseline {path}: {cause}; make one with `erlmcp plan --save {path}`")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The two measure different things.
    #[error(
        "the baseline is of another {what} ({then}, now {now}); compare like with like or make a new one with --save"
    )]
    Differs {
        /// In what.
        what: &'static str,
        /// Then.
        then: String,
        /// Now.
        now: String,
    },
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is too large, of another version, or holds figures that no measurement gives.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let file = |cause| BaselineError::File { path: path.to_owned(), cause };
        let format = |cause: String| BaselineError::Format { path: path.to_owned(), cause };
        let length = fs::metadata(path).map_err(file)?.len();
        if length > FILE_BYTES_MAX {
            return Err(format(format!("{length} bytes, a baseline has at most {FILE_BYTES_MAX}")));
        }
        let text = fs::read_to_string(path).map_err(file)?;
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
        if head.version != VERSION {
            return Err(format(format!("version {}, this program reads {VERSION}", head.version)));
        }
        let baseline: Self = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
        let bad = baseline.metrics.iter().find(|metric| {
            let values = &metric.values;
            values.is_empty()
                || values.len() > VALUES_MAX
                || values.iter().any(|v| !v.is_finite() || *v < 0.0)
        });
        match bad {
            Some(metric) => {
                Err(format(format!("`{}` needs 1 to {VALUES_MAX} values of at least 0", metric.name)))
            }
            None => Ok(baseline),
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let file = |cause| BaselineError::File { path: path.to_owned(), cause };
        let text = serde_json::to_string_pretty(self).map_err(|error| file(io::Error::other(error)))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        fs::write(&partial, text + "\n").map_err(file)?;
        fs::rename(&partial, path).map_err(file)
    }
}

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Worse by more than the threshold, and significantly.
    Regressed,
    /// Better by more than the threshold, and significantly.
    Improved,
    /// Neither.
    Same,
    /// Too few trials to ever be significant.
    Undecidable,
}

/// A metric then and now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricChange {
    /// With its unit.
    pub name: String,
    /// Median then.
    pub then: f64,
    /// Median now.
    pub now: f64,
    /// Hodges-Lehmann estimate of now over then, less 1: 0.1 is 10 % more.
    pub shift: f64,
    /// Chance of such a difference, in the direction found, if there were none.
    pub p_value: f64,
    /// The judgement.
    pub change: Change,
}

/// Two results compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Beyond which a difference matters, 0.05 for 5 %.
    pub threshold: f64,
    /// What became of the highest rate: bounds that do not overlap, further apart than the threshold.
    pub rate: Change,
    /// Bounds then and now.
    pub rate_bounds_per_s: [[Option<f64>; 2]; 2],
    /// Every metric that both have.
    pub metrics: Vec<MetricChange>,
    /// Whether anything regressed: the command exits 1.
    pub regressed: bool,
}

/// Compares.
///
/// # Errors
/// [`BaselineError::Differs`] when the two are not of the same subject.
pub fn compare(then: &Baseline, now: &Baseline, threshold: f64) -> Result<Comparison, BaselineError> {
    same_subject(&then.subject, &now.subject)?;
    let pairs = then.metrics.iter().filter_map(|old| {
        let new = now.metrics.iter().find(|new| new.name == old.name)?;
        Some(metric_change(old, new, threshold))
    });
    let metrics: Vec<MetricChange> = pairs.collect();
    let rate = rate_change(then.rate_bounds_per_s, now.rate_bounds_per_s, threshold);
    let regressed = rate == Change::Regressed || metrics.iter().any(|m| m.change == Change::Regressed);
    let rate_bounds_per_s = [then.rate_bounds_per_s, now.rate_bounds_per_s];
    Ok(Comparison { threshold, rate, rate_bounds_per_s, metrics, regressed })
}

/// Refuses to compare what differs in more than its address.
///
/// # Errors
/// [`BaselineError::Differs`], naming the first difference.
pub fn same_subject(then: &Subject, now: &Subject) -> Result<(), BaselineError> {
    let same = |what, then: String, now: String| {
        if then == now { Ok(()) } else { Err(BaselineError::Differs { what, then, now }) }
    };
    same("goal", then.goals.join(" and "), now.goals.join(" and "))?;
    same("number of connections", then.connections.to_string(), now.connections.to_string())?;
    let rate = |subject: &Subject| format!("{:.1}/s", subject.reference_rate_per_s);
    same("rate of the reference trials", rate(then), rate(now))?;
    let length = |subject: &Subject| format!("{:.1} s", subject.trial_s);
    same("length of the reference trials", length(then), length(now))
}

fn rate_change(then: [Option<f64>; 2], now: [Option<f64>; 2], threshold: f64) -> Change {
    let below = |upper: Option<f64>, lower: Option<f64>| match (upper, lower) {
        (Some(upper), Some(lower)) => upper < lower * (1.0 - threshold),
        _ => false,
    };
    // A server that met the goals at some rate and now meets them at none has regressed, whatever the bounds' distance.
    let lost = then[0].is_some() && now[0].is_none() && now[1].is_some();
    if below(now[1], then[0]) || lost {
        Change::Regressed
    } else if below(then[1], now[0]) {
        Change::Improved
    } else {
        Change::Same
    }
}

fn metric_change(then: &Metric, now: &Metric, threshold: f64) -> MetricChange {
    let shift = hodges_lehmann_ratio(&then.values, &now.values) - 1.0;
    let p_value = if shift >= 0.0 {
        mann_whitney_greater(&now.values, &then.values)
    } else {
        mann_whitney_greater(&then.values, &now.values)
    };
    let worse = (shift > 0.0) == then.lower_is_better;
    // The smallest chance that the test can give for these numbers of values.
    let reachable = 1.0 / binomial(then.values.len() + now.values.len(), then.values.len());
    let change = if reachable > SIGNIFICANCE {
        Change::Undecidable
    } else if p_value > SIGNIFICANCE || shift.abs() <= threshold {
        Change::Same
    } else if worse {
        Change::Regressed
    } else {
        Change::Improved
    };
    MetricChange {
        name: then.name.clone(),
        then: median(&then.values),
        now: median(&now.values),
        shift,
        p_value,
        change,
    }
}

/// Middle of the values; NaN without any.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => low.midpoint(*high),
        _ => f64::NAN,
    }
}

/// Median of all ratios of a value now to a value then: robust against every third value being spoiled.
fn hodges_lehmann_ratio(then: &[f64], now: &[f64]) -> f64 {
    let ratio = |now: f64, then: f64| if now == then { 1.0 } else { now / then };
    let ratios: Vec<f64> = now.iter().flat_map(|n| then.iter().map(move |t| ratio(*n, *t))).collect();
    median(&ratios)
}

/// Chance that `a` ranks as high above `b`, or higher, if both were alike: exact, ties counted as half.
fn mann_whitney_greater(a: &[f64], b: &[f64]) -> f64 {
    let twice_u: usize =
        a.iter().flat_map(|x| b.iter().map(move |y| if x > y { 2 } else { usize::from(x == y) })).sum();
    // With ties a half is rounded down, which makes the test more careful.
    let u = twice_u / 2;
    let ways = u_distribution(a.len(), b.len());
    let above: f64 = ways.iter().skip(u).sum();
    above / ways.iter().sum::<f64>()
}

/// Number of orders of `m` and `n` values by their U: coefficients of the Gaussian binomial (Mann, Whitney 1947).
fn u_distribution(m: usize, n: usize) -> Vec<f64> {
    let mut ways = vec![0.0; m * n + 1];
    ways[0] = 1.0;
    for i in 1..=m {
        // Times (1 - q^(n+i)), then over (1 - q^i).
        for u in (n + i..ways.len()).rev() {
            ways[u] -= ways[u - n - i];
        }
        for u in i..ways.len() {
            ways[u] += ways[u - i];
        }
    }
    ways
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Rng;

    fn baseline(values: &[f64], bounds: [Option<f64>; 2]) -> Baseline {
        let metric = |name: &str, lower_is_better| Metric {
            name: name.to_owned(),
            lower_is_better,
            values: values.to_vec(),
        };
        Baseline {
            version: VERSION,
            subject: Subject {
                url: "http://127.0.0.1:1/".to_owned(),
                goals: vec!["p99 < 5 ms".to_owned()],
                connections: 64,
                reference_rate_per_s: 700.0,
                trial_s: 5.0,
            },
            rate_bounds_per_s: bounds,
            metrics: vec![metric("response_p99_ms", true), metric("achieved_per_s", false)],
            note: String::new(),
        }
    }

    const BOUNDS: [Option<f64>; 2] = [Some(1_000.0), Some(1_050.0)];
    const THEN: [f64; 5] = [1.0, 1.02, 0.98, 1.01, 0.99];

    fn change(now: &[f64]) -> [Change; 2] {
        let result =
            compare(&baseline(&THEN, BOUNDS), &baseline(now, BOUNDS), 0.05).expect("the same subject");
        assert_eq!(result.regressed, result.metrics.iter().any(|metric| metric.change == Change::Regressed));
        [result.metrics[0].change, result.metrics[1].change]
    }

    /// Tables of the U distribution: 5 and 5 values, P(U >= 21) = 0.0476 (one-sided critical value 4 = 25 - 21).
    #[test]
    fn the_test_is_the_tabulated_one() {
        let ways = u_distribution(5, 5);
        assert_eq!(ways.iter().sum::<f64>(), 252.0);
        assert_eq!(ways.iter().skip(21).sum::<f64>(), 12.0);
        assert_eq!(u_distribution(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert!((mann_whitney_greater(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]) - 0.05).abs() < 1e-12);
        assert!((mann_whitney_greater(&[1.0, 1.0], &[1.0, 1.0]) - 4.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn a_significant_difference_beyond_the_threshold_is_a_regression_or_an_improvement() {
        assert_eq!(change(&[1.2, 1.25, 1.19, 1.3, 1.22]), [Change::Regressed, Change::Improved]);
        assert_eq!(change(&[0.8, 0.81, 0.79, 0.82, 0.8]), [Change::Improved, Change::Regressed]);
    }

    #[test]
    fn small_or_uncertain_differences_are_none() {
        assert_eq!(change(&[1.03, 1.04, 1.03, 1.04, 1.05]), [Change::Same; 2]);
        assert_eq!(change(&[0.7, 1.4, 0.9, 1.5, 1.2]), [Change::Same; 2]);
        assert_eq!(change(&[1.01, 0.99, 1.0, 1.02, 40.0]), [Change::Same; 2]);
        assert_eq!(change(&[2.0]), [Change::Undecidable; 2]);
    }

    /// Without a difference at most 5 % of the comparisons in either direction may find one; with the threshold fewer.
    #[test]
    fn noise_alone_rarely_regresses() {
        let mut random = Rng::new(11);
        let mut draw = || -> Vec<f64> { (0..5).map(|_| (0.2 * random.normal()).exp()).collect() };
        let found = (0..2_000)
            .filter(|_| {
                let [then, now] = [draw(), draw()];
                let metric = |values| Metric { name: String::new(), lower_is_better: true, values };
                metric_change(&metric(then), &metric(now), 0.0).change == Change::Regressed
            })
            .count();
        assert!((65..=125).contains(&found), "{found} of 2,000, 95 expected (4.8 %)");
    }

    #[test]
    fn the_highest_rate_regresses_when_its_bounds_part() {
        let rate = |now| {
            let result =
                compare(&baseline(&THEN, BOUNDS), &baseline(&THEN, now), 0.05).expect("the same subject");
            (result.rate, result.regressed)
        };
        assert_eq!(rate([Some(900.0), Some(945.0)]), (Change::Regressed, true));
        assert_eq!(rate([Some(930.0), Some(970.0)]), (Change::Same, false));
        assert_eq!(rate([Some(1_200.0), Some(1_250.0)]), (Change::Improved, false));
        assert_eq!(rate([None, Some(1.0)]), (Change::Regressed, true));
        assert_eq!(rate([None, None]), (Change::Same, false));
    }

    #[test]
    fn different_subjects_are_not_compared() {
        let mut other = baseline(&THEN, BOUNDS);
        other.subject.connections = 65;
        let error = compare(&baseline(&THEN, BOUNDS), &other, 0.05).expect_err("another subject");
        assert!(error.to_string().contains("number of connections (64, now 65)"), "{error}");
    }

    #[test]
    fn files_are_read_back_and_bad_ones_are_refused() {
        let folder = std::env::temp_dir().join(format!("erlmcp-baseline-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("baseline.json");
        let kept = baseline(&THEN, BOUNDS);
        kept.write(&path).expect("written");
        assert_eq!(Baseline::read(&path).expect("read"), kept);
        let text = fs::read_to_string(&path).expect("text");
        for (bad, cause) in [
            (text.replace("\"version\": 1", "\"version\": 2"), "version 2, this program reads 1"),
            (text.replace("\"note\"", "\"nota\""), "nota"),
            (text.replace("0.98", "-0.98"), "values of at least 0"),
            ("[]".to_owned(), "make one with"),
        ] {
            fs::write(&path, bad).expect("written");
            let error = Baseline::read(&path).expect_err(cause);
            assert!(error.to_string().contains(cause), "{cause}: {error}");
        }
        let missing = Baseline::read(&folder.join("none")).expect_err("no file");
        assert!(matches!(missing, BaselineError::File { .. }));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
