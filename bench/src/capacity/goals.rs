//! Goals that a load has to meet: "p99 < 5 ms", "errors < 0.01 %", several joined by "and".
//!
//! Owns their parsing and the judgement of one trial. Latency is the *response* time, from the intended start: a goal that
//! is judged by service time would be met by a server that stalls. Never decides from one trial alone: that is the search's.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::trial::Measured;

/// Most goals of one search; each is a bit of a [`Met`].
pub const GOALS_MAX: usize = 16;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Response time below which this share of the requests lies, `0 < q <= 1` (1 is the maximum).
    Quantile(f64),
    /// Mean response time.
    Mean,
    /// Failed requests over all that ended.
    Errors,
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// What is limited.
    pub metric: Metric,
    /// Nanoseconds for times, a fraction for errors.
    pub limit: f64,
    /// Whether the limit itself is still good (`<=`).
    pub inclusive: bool,
}

/// Why a text is no goal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("goal `{text}`: {cause}; write for example `p99 < 5 ms`, `max <= 1 s` or `errors < 0.01 %`")]
pub struct GoalError {
    /// The part that was not understood.
    pub text: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Goal {
    /// All goals of a text, in its order: `p99 < 5 ms and p99.9 < 20 ms, errors < 0.01 %`.
    ///
    /// # Errors
    /// The first part that is no goal, none at all, more than [`GOALS_MAX`], or one metric limited twice.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, GoalError> {
        let spaced = text.replace("&&", ",").replace(';', ",");
        let words = spaced.split(',').flat_map(|part| split_word(part, "and"));
        let goals = words
            .filter(|part| !part.is_empty())
            .map(|part| Self::parse(&part))
            .collect::<Result<Vec<_>, _>>()?;
        let error = |cause: String| Err(GoalError { text: text.trim().to_owned(), cause });
        if goals.is_empty() {
            return error("says nothing".to_owned());
        }
        if goals.len() > GOALS_MAX {
            return error(format!("{} goals, at most {GOALS_MAX} are searched at once", goals.len()));
        }
        let twice =
            goals.iter().enumerate().find(|(i, goal)| goals[..*i].iter().any(|g| g.metric == goal.metric));
        match twice {
            Some((_, goal)) => error(format!("limits {} twice; keep the lower limit", goal.name())),
            None => Ok(goals),
        }
    }

    /// One goal.
    ///
    /// # Errors
    /// When the metric, the comparison, the number or its unit is not understood.
    pub fn parse(text: &str) -> Result<Self, GoalError> {
        let error = |cause: String| GoalError { text: text.trim().to_owned(), cause };
        let Some(at) = text.find(['<', '≤', '>', '=', '≥']) else {
            return Err(error("has no comparison `<`".to_owned()));
        };
        let (name, rest) = text.split_at(at);
        let (inclusive, rest) = if let Some(rest) = rest.strip_prefix("<=").or(rest.strip_prefix('≤')) {
            (true, rest)
        } else if let Some(rest) = rest.strip_prefix('<') {
            (false, rest)
        } else {
            return Err(error("only upper limits (`<`, `<=`) are goals".to_owned()));
        };
        let metric = parse_metric(name.trim()).map_err(error)?;
        let rest = rest.trim();
        let digits =
            rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let number: f64 = match number.replace('_', "").parse() {
            Ok(number) => number,
            Err(_) => return Err(error(format!("`{rest}` does not begin with a number"))),
        };
        let limit = number * scale(metric, unit.trim()).map_err(error)?;
        if limit == 0.0 && !inclusive {
            return Err(error("nothing is below 0; write `<= 0`".to_owned()));
        }
        if metric == Metric::Errors && limit > 1.0 {
            return Err(error("more than all requests cannot fail".to_owned()));
        }
        Ok(Self { metric, limit, inclusive })
    }

    /// The metric as it is written: `p99.9`, `max`, `mean`, `errors`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.metric {
            Metric::Quantile(1.0) => "max".to_owned(),
            Metric::Quantile(q) => format!("p{}", tidy(q * 100.0)),
            Metric::Mean => "mean".to_owned(),
            Metric::Errors => "errors".to_owned(),
        }
    }

    /// What a trial shows of the metric, in the limit's unit; infinite where it shows none.
    #[must_use]
    pub fn measured(&self, trial: &Measured) -> f64 {
        let answered = !trial.response.is_empty();
        match self.metric {
            Metric::Quantile(q) if answered => trial.response.value_at_quantile(q) as f64,
            Metric::Mean if answered => trial.response.mean(),
            Metric::Quantile(_) | Metric::Mean => f64::INFINITY,
            Metric::Errors => trial.error_share(),
        }
    }

    /// Whether a trial meets it.
    #[must_use]
    pub fn met_by(&self, trial: &Measured) -> bool {
        let measured = self.measured(trial);
        measured < self.limit || (self.inclusive && measured <= self.limit)
    }

    /// Requests that a trial needs before the metric is more than chance: ten beyond the quantile, ten failures at the
    /// limit. Ten counts have a relative error of 1/sqrt(10), a third; fewer say nothing.
    #[must_use]
    pub fn samples_min(&self) -> u64 {
        const TAIL_MIN: f64 = 10.0;
        let tail = match self.metric {
            Metric::Quantile(q) if q < 1.0 => 1.0 - q,
            Metric::Errors if self.limit > 0.0 => self.limit,
            Metric::Quantile(_) | Metric::Mean | Metric::Errors => 0.1,
        };
        // The slack keeps 10 / (1 - 0.99) at a thousand, whatever binary fractions make of it.
        (TAIL_MIN / tail - 1e-6).ceil() as u64
    }

    /// The limit as a duration, for time-outs; `None` for errors.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        (self.metric != Metric::Errors).then(|| Duration::from_nanos(self.limit as u64))
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.inclusive { "<=" } else { "<" };
        let limit = match self.metric {
            Metric::Errors => format!("{} %", tidy(self.limit * 100.0)),
            Metric::Quantile(_) | Metric::Mean => time(self.limit),
        };
        write!(f, "{} {sign} {limit}", self.name())
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which goals a trial met: bit `i` is goal `i` of the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met(u16);

impl Met {
    /// Judges a trial. A server that leaves more unanswered than its connections may hold meets none: it does not keep
    /// up, however fast the replies are that it gives.
    #[must_use]
    pub fn judge(goals: &[Goal], trial: &Measured) -> Self {
        if !trial.keeps_up() {
            return Self(0);
        }
        let bits = goals.iter().take(GOALS_MAX).enumerate();
        Self(bits.fold(0, |bits, (i, goal)| bits | (u16::from(goal.met_by(trial)) << i)))
    }

    /// Whether all goals of `mask` are met.
    #[must_use]
    pub fn all_of(self, mask: u16) -> bool {
        self.0 & mask == mask
    }
}

/// A time in the unit that leaves one to three digits before the point.
#[must_use]
pub fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{} {unit}", tidy(value))
}

/// At most four significant digits after a rounding that hides binary fractions, without trailing zeros.
fn tidy(value: f64) -> String {
    let text = format!("{value:.4}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn split_word(text: &str, word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for token in text.split_whitespace() {
        if token.eq_ignore_ascii_case(word) {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(token);
        }
    }
    parts
}

fn parse_metric(name: &str) -> Result<Metric, String> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "" => return Err("names no metric".to_owned()),
        "max" => return Ok(Metric::Quantile(1.0)),
        "median" => return Ok(Metric::Quantile(0.5)),
        "mean" | "average" => return Ok(Metric::Mean),
        "errors" | "error" => return Ok(Metric::Errors),
        _ => {}
    }
    let unknown = || format!("`{name}` is none of p1 to p99.999, median, mean, max, errors");
    let percent: f64 = lower.strip_prefix('p').and_then(|rest| rest.parse().ok()).ok_or_else(unknown)?;
    if percent > 0.0 && percent <= 100.0 { Ok(Metric::Quantile(percent / 100.0)) } else { Err(unknown()) }
}

fn scale(metric: Metric, unit: &str) -> Result<f64, String> {
    match (metric, unit) {
        (Metric::Errors, "%") => Ok(0.01),
        (Metric::Errors, "ppm") => Ok(1e-6),
        (Metric::Errors, "") => Ok(1.0),
        (Metric::Errors, _) => Err(format!("`{unit}` is no unit of a share; use % or ppm")),
        (_, "ns") => Ok(1.0),
        (_, "us" | "µs" | "μs") => Ok(1e3),
        (_, "ms") => Ok(1e6),
        (_, "s") => Ok(1e9),
        (_, "") => Err("the time has no unit; use ns, us, ms or s".to_owned()),
        (_, _) => Err(format!("`{unit}` is no unit of time; use ns, us, ms or s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::trial::tests::measured;

    fn parsed(text: &str) -> Vec<String> {
        Goal::parse_all(text).expect(text).iter().map(Goal::to_string).collect()
    }

    #[test]
    fn goals_are_read_as_people_write_them() {
        let all = ["p99 < 5 ms", "p99.9 < 20 ms", "errors < 0.01 %"];
        assert_eq!(parsed("p99 < 5 ms and p99.9 < 20 ms and errors < 0.01 %"), all);
        assert_eq!(parsed("p99<5ms, P99.9<0.02s;errors<100ppm"), all);
        assert_eq!(parsed("p99 < 5000us && p99.9 < 20_000 µs AND errors < 0.0001"), all);
        assert_eq!(
            parsed("max ≤ 1 s, median <= 1500 us, mean < 800ns, errors <= 0"),
            ["max <= 1 s", "p50 <= 1.5 ms", "mean < 800 ns", "errors <= 0 %"]
        );
    }

    #[test]
    fn what_is_no_goal_is_said_with_its_cause() {
        for (text, cause) in [
            ("", "says nothing"),
            ("p99", "has no comparison"),
            ("p99 > 5 ms", "only upper limits"),
            ("p99 = 5 ms", "only upper limits"),
            ("p99 < fast", "does not begin with a number"),
            ("p99 < -5 ms", "does not begin with a number"),
            ("p99 < 1.2.3 ms", "does not begin with a number"),
            ("p99 < 5", "no unit"),
            ("p99 < 5 lightyears", "no unit of time"),
            ("errors < 5 ms", "no unit of a share"),
            ("errors < 101 %", "cannot fail"),
            ("p101 < 5 ms", "none of p1"),
            ("p0 < 5 ms", "none of p1"),
            ("speed < 5 ms", "none of p1"),
            ("< 5 ms", "names no metric"),
            ("p99 < 0 ms", "nothing is below 0"),
            ("p99 < 5 ms and p99 < 6 ms", "limits p99 twice"),
            ("p99 < 5 ms or p50 < 1 ms", "no unit of time"),
        ] {
            let error = Goal::parse_all(text).expect_err(text);
            assert!(error.to_string().contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn a_trial_is_judged_by_its_response_times_and_errors() {
        let goals = Goal::parse_all("p50 < 2 ms, p99 < 5 ms, errors < 1 %").expect("goals");
        let trial = measured(100.0, &[(1_000_000, 95), (9_000_000, 5)], 0);
        let met = Met::judge(&goals, &trial);
        assert!(met.all_of(0b101) && !met.all_of(0b010) && !met.all_of(0b111));
        let failing = measured(100.0, &[(1_000_000, 98)], 2);
        assert!(Met::judge(&goals, &failing).all_of(0b011) && !Met::judge(&goals, &failing).all_of(0b100));
        let silent = measured(100.0, &[], 0);
        assert!(!Met::judge(&goals, &silent).all_of(0b001));
    }

    #[test]
    fn a_server_that_does_not_keep_up_meets_nothing() {
        let goals = Goal::parse_all("errors < 1 %").expect("goals");
        let mut trial = measured(100.0, &[(1_000_000, 100)], 0);
        assert!(Met::judge(&goals, &trial).all_of(1));
        trial.due = 500;
        assert!(!Met::judge(&goals, &trial).all_of(1));
    }

    #[test]
    fn rare_events_ask_for_more_samples() {
        let samples = |text: &str| Goal::parse(text).expect(text).samples_min();
        assert_eq!(samples("p99 < 1 ms"), 1_000);
        assert_eq!(samples("p99.9 < 1 ms"), 10_000);
        assert_eq!(samples("errors < 0.01 %"), 100_000);
        assert_eq!(samples("max < 1 s"), 100);
    }
}
