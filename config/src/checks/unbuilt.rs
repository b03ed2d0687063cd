//! Warns for keys that the user wrote and that have no effect yet.
//!
//! One warning per highest mapping of which everything written waits for the same work (a whole file is one line), and
//! one for all neighbours that wait for the same.

use super::Checks;
use crate::effects::{self, Status};
use crate::report::Severity;
use std::collections::BTreeMap;

/// What such a warning says; nothing else says it.
pub const NO_EFFECT_YET: &str = "no effect yet";

pub(super) fn warn(checks: &mut Checks<'_>) {
    // Path → topic, when everything written below waits for that topic; None when it does not.
    let mut waits: BTreeMap<String, Option<&'static str>> = BTreeMap::new();
    for (key, _) in checks.places.keys().filter(|(key, _)| !checks.places.is_tainted(key)) {
        let Some(row) = effects::find(key) else { continue };
        let topic = match row.status {
            Status::Built => None,
            Status::Later(topic) => Some(topic),
        };
        for above in above(key) {
            waits
                .entry(above.to_owned())
                .and_modify(|known| *known = known.filter(|t| Some(*t) == topic))
                .or_insert(topic);
        }
    }
    let mut neighbours: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (key, topic) in &waits {
        let parent = above(key).nth(1);
        if let Some(topic) = topic
            && parent.is_none_or(|parent| waits.get(parent).is_none_or(Option::is_none))
        {
            // Whole files are told one by one.
            neighbours.entry((parent.unwrap_or(key), topic)).or_default().push(key);
        }
    }
    for ((parent, topic), keys) in neighbours {
        let place = |key: &&str| checks.places.find(key).map(|at| (at.line, at.column));
        let mut keys = keys;
        keys.sort_by_key(place);
        let [first, others @ ..] = &keys[..] else { continue };
        let name = |key: &&str| key.strip_prefix(parent).unwrap_or(key).trim_start_matches('.').to_owned();
        let key = match others {
            [] => (*first).to_owned(),
            _ => format!("{parent}.{{{}}}", keys.iter().map(name).collect::<Vec<_>>().join(", ")),
        };
        let why = format!("the work on {topic} brings it");
        let texts = [NO_EFFECT_YET, &why, "do not rely on it"];
        let found = checks.places.diagnostic(Severity::Warning, checks.places.find(first), &key, texts);
        checks.out.push(found);
    }
}

/// The key and everything that holds it, up to the top of its file.
fn above(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| Some(&key[..key.rfind(['.', '['])?]))
        .filter(|key| !matches!(*key, "runtime" | "vm"))
}
