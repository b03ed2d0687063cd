//! What must hold between keys and between files, once each key is right by itself.
//!
//! Each check names the keys that it compares; when one of them was refused already, the check stays silent, so that
//! one mistake is one message. Checks read; they change nothing.

mod cluster;
mod serving;
mod surroundings;
mod unbuilt;
mod vm;

pub use unbuilt::NO_EFFECT_YET;

use crate::model::Config;
use crate::places::Places;
use crate::report::{Diagnostic, Severity};
use std::collections::HashMap;
use std::time::Duration;

/// Runs every check over a complete configuration.
pub(crate) fn run(config: &Config, places: &Places, out: &mut Vec<Diagnostic>) {
    let mut checks = Checks { config, places, out };
    serving::listeners(&mut checks);
    serving::routes(&mut checks);
    serving::groups(&mut checks);
    serving::runtime(&mut checks);
    cluster::balancer(&mut checks);
    cluster::pools(&mut checks);
    cluster::sharding(&mut checks);
    cluster::resilience(&mut checks);
    cluster::regions(&mut checks);
    surroundings::cache(&mut checks);
    surroundings::database(&mut checks);
    surroundings::network(&mut checks);
    surroundings::monitoring(&mut checks);
    surroundings::chaos(&mut checks);
    surroundings::kubernetes(&mut checks);
    vm::counterparts(&mut checks);
    unbuilt::warn(&mut checks);
}

/// What, why, remedy.
type Texts<'t> = [&'t str; 3];

struct Checks<'a> {
    config: &'a Config,
    places: &'a Places,
    out: &'a mut Vec<Diagnostic>,
}

impl Checks<'_> {
    fn say(&mut self, severity: Severity, key: &str, others: &[&str], texts: Texts<'_>) {
        let tainted = |key: &str| self.places.is_tainted(key);
        if tainted(key) || others.iter().any(|other| tainted(other)) {
            return;
        }
        // A default may disagree with a key that was written: the written one is where to look.
        let at = if self.places.given(key) {
            self.places.find(key)
        } else {
            let written = others.iter().find(|other| self.places.given(other));
            written.and_then(|other| self.places.find(other)).or_else(|| self.places.find(key))
        };
        self.out.push(self.places.diagnostic(severity, at, key, texts));
    }

    fn error(&mut self, key: &str, others: &[&str], texts: Texts<'_>) {
        self.say(Severity::Error, key, others, texts);
    }

    fn warn(&mut self, key: &str, others: &[&str], texts: Texts<'_>) {
        self.say(Severity::Warning, key, others, texts);
    }

    fn note(&mut self, key: &str, texts: Texts<'_>) {
        self.say(Severity::Note, key, &[], texts);
    }

    /// `low < high`, both numbers under `prefix`.
    fn below<T: PartialOrd + std::fmt::Display>(
        &mut self,
        prefix: &str,
        low: (&str, T),
        high: (&str, T),
        why: &str,
    ) {
        if low.1 < high.1 {
            return;
        }
        self.bound(prefix, (low.0, low.1.to_string()), (high.0, high.1.to_string()), why, "be below");
    }

    /// `low <= high`, both numbers under `prefix`.
    fn at_most<T: PartialOrd + std::fmt::Display>(
        &mut self,
        prefix: &str,
        low: (&str, T),
        high: (&str, T),
        why: &str,
    ) {
        if low.1 <= high.1 {
            return;
        }
        self.bound(prefix, (low.0, low.1.to_string()), (high.0, high.1.to_string()), why, "not be above");
    }

    fn bound(&mut self, prefix: &str, low: (&str, String), high: (&str, String), why: &str, relation: &str) {
        let (low_key, high_key) = (format!("{prefix}.{}", low.0), format!("{prefix}.{}", high.0));
        let what = format!("{} must {relation} {}, which is {}", low.1, high.0, high.1);
        let remedy = format!("lower {} or raise {}", low.0, high.0);
        self.error(&low_key, &[&high_key], [&what, why, &remedy]);
    }

    /// Every name at most once; `keys[i]` is where name `i` stands.
    fn unique(&mut self, names: impl IntoIterator<Item = (String, String)>, thing: &str) {
        let mut seen: HashMap<String, String> = HashMap::new();
        for (key, name) in names {
            if let Some(first) = seen.get(&name) {
                let what = format!("{thing} `{name}` is also that of {first}");
                self.error(
                    &key,
                    &[&first.clone()],
                    [&what, "each must be told from the others", "rename one of them"],
                );
            } else {
                seen.insert(name, key);
            }
        }
    }

    /// A list that must not be empty.
    fn filled<T>(&mut self, key: &str, list: &[T], why: &str) {
        if list.is_empty() {
            self.error(key, &[], ["an empty list", why, "add an entry"]);
        }
    }
}

/// A duration as messages print it; ordered as durations are.
#[derive(PartialEq, PartialOrd)]
struct Span(Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::units::format_duration(self.0))
    }
}

/// A size as messages print it.
#[derive(PartialEq, PartialOrd)]
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::units::format_bytes(self.0))
    }
}
