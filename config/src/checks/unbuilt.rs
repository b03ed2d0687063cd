//! Warns for keys that the user wrote and that have no effect yet.
//!
//! One warning per highest mapping of which everything written waits for the same work: a whole file is one line.

use super::Checks;
use crate::effects::{self, Status};
use std::collections::BTreeMap;

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
    let tops = waits.iter().filter(|(key, topic)| {
        let parent = above(key).nth(1);
        topic.is_some() && parent.is_none_or(|parent| waits.get(parent).is_none_or(Option::is_none))
    });
    let tops: Vec<(String, &'static str)> =
        tops.filter_map(|(key, topic)| Some((key.clone(), (*topic)?))).collect();
    for (key, topic) in tops {
        let why = format!("it is checked and kept until the work on {topic} gives it one");
        checks.warn(&key, &[], ["no effect yet", &why, "nothing to do; do not rely on it"]);
    }
}

/// The key and everything that holds it, up to the top of its file.
fn above(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| Some(&key[..key.rfind(['.', '['])?]))
        .filter(|key| !matches!(*key, "runtime" | "vm"))
}
