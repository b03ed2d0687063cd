//! The Prometheus text format (version 0.0.4). Writes families of the catalogue and no others.

use std::fmt::Write as _;

use erlmcp_config::metrics::{self, Family, Kind};

use super::histogram::Durations;

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    /// Families begun, in order.
    pub(super) families: Vec<&'static str>,
}

/// Samples of one family.
pub(super) struct Samples<'a> {
    out: &'a mut String,
    family: &'static Family,
}

impl Text {
    /// Begins a family; a name that the catalogue does not know writes nothing, and a test finds it.
    pub(super) fn family(&mut self, name: &'static str, samples: impl FnOnce(&mut Samples<'_>)) {
        debug_assert!(metrics::find(name).is_some() && !self.families.contains(&name), "{name}");
        let Some(family) = metrics::find(name) else { return };
        self.families.push(name);
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind.as_str());
        samples(&mut Samples { out: &mut self.out, family });
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

impl Samples<'_> {
    /// One sample; label values in the catalogue's order.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Into<Number>) {
        debug_assert!(self.family.kind != Kind::Histogram, "{}", self.family.name);
        self.line("", labels, None, value.into());
    }

    /// A whole histogram.
    pub(super) fn durations(&mut self, labels: &[&str], durations: &Durations) {
        debug_assert!(self.family.kind == Kind::Histogram, "{}", self.family.name);
        for (bound_us, count) in durations.cumulative() {
            let bound = bound_us.map_or_else(|| "+Inf".to_owned(), |us| (us as f64 / 1e6).to_string());
            self.line("_bucket", labels, Some(&bound), Number::Count(count));
        }
        self.line("_sum", labels, None, Number::Real(durations.sum_seconds()));
        self.line("_count", labels, None, Number::Count(durations.count()));
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: Number) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let out = &mut *self.out;
        out.push_str(self.family.name);
        out.push_str(suffix);
        let own = self.family.labels.iter().copied().zip(labels.iter().copied());
        let mut open = '{';
        for (name, value) in own.chain(bound.map(|bound| ("le", bound))) {
            out.push(open);
            open = ',';
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if open == ',' {
            out.push('}');
        }
        let _ = match value {
            Number::Count(count) => writeln!(out, " {count}"),
            Number::Real(real) => writeln!(out, " {real}"),
        };
    }
}

/// A value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Count(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Number {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Count(u64::from(yes))
    }
}

impl From<f64> for Number {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

/// Escapes a label's value.
fn escape(value: &str, out: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn samples_are_spelled_as_the_format_says() {
        let mut text = Text::default();
        text.family("erlmcp_rejected_total", |samples| samples.add(&["a\"\\\nb"], 7u64));
        text.family("erlmcp_draining", |samples| samples.add(&[], true));
        let out = text.finish();
        assert!(out.starts_with("# HELP erlmcp_rejected_total "), "{out}");
        assert!(out.contains(
            "\n# TYPE erlmcp_rejected_total counter\nerlmcp_rejected_total{reason=\"a\\\"\\\\\\nb\"} 7\n"
        ));
        assert!(out.ends_with("\nerlmcp_draining 1\n"));
    }

    #[test]
    fn histograms_are_cumulative_and_in_seconds() {
        let mut durations = Durations::default();
        durations.record(Duration::from_millis(3));
        durations.record(Duration::from_secs(100));
        let mut text = Text::default();
        text.family("erlmcp_health_check_duration_seconds", |samples| {
            samples.durations(&["g", "n"], &durations)
        });
        let out = text.finish();
        for line in [
            "_bucket{group=\"g\",node=\"n\",le=\"0.0025\"} 0",
            "_bucket{group=\"g\",node=\"n\",le=\"0.005\"} 1",
            "_bucket{group=\"g\",node=\"n\",le=\"60\"} 1",
            "_bucket{group=\"g\",node=\"n\",le=\"+Inf\"} 2",
            "_sum{group=\"g\",node=\"n\"} 100.003",
            "_count{group=\"g\",node=\"n\"} 2",
        ] {
            assert!(
                out.contains(&format!("\nerlmcp_health_check_duration_seconds{line}\n")),
                "{line}\n{out}"
            );
        }
    }
}
