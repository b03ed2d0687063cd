//! Where each key acts: one row per leaf key of every file, `vm.config`'s entries too.
//!
//! A test walks the shapes, the shipped cluster and this table, and fails when a key has no row or a row no key; another
//! one fails when a row names a file or a test that is not there. A key whose effect is not built yet says so, and
//! `check` warns for whoever writes it.

mod cluster;
mod shown;
mod traffic;

/// What a key does, where, and what shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Pattern: `[]` for an index of a list, `*` for the user's own keys.
    pub key: &'static str,
    /// File or folder in the repository that acts on it (or will).
    pub place: &'static str,
    /// The tests that show it, as `file::function`; none while it is not built.
    pub tests: &'static [&'static str],
    /// Whether it acts.
    pub status: Status,
    /// When a change is taken over.
    pub reload: Reload,
}

/// Whether a key acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Built,
    /// It is checked and kept; the named work gives it its effect.
    Later(&'static str),
}

/// When a changed key is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// With the next snapshot.
    Live,
    /// At the next start.
    Boot,
}

const fn built(key: &'static str, place: &'static str, tests: &'static [&'static str]) -> Effect {
    Effect { key, place, tests, status: Status::Built, reload: Reload::Live }
}

const fn later(key: &'static str, place: &'static str, topic: &'static str) -> Effect {
    Effect { key, place, tests: &[], status: Status::Later(topic), reload: Reload::Live }
}

impl Effect {
    const fn boot(mut self) -> Self {
        self.reload = Reload::Boot;
        self
    }
}

/// Every leaf key, in parts of one file's length.
pub const TABLE: [&[Effect]; 2] = [traffic::ROWS, cluster::ROWS];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Effect> {
    TABLE.into_iter().flatten()
}

/// The row of a key as messages write it (`groups[3].nodes[0].port`), or of the nearest key above it: a list of plain
/// values is one leaf.
pub fn find(key: &str) -> Option<&'static Effect> {
    let fits = all().filter_map(|row| Some((match_steps(row.key, key, true)?, row)));
    fits.max_by_key(|(steps, _)| *steps).map(|(_, row)| row)
}

/// When a change of `key` is taken over. A key with rows below it (an entry of a list that comes or goes) needs what
/// the strictest of them needs.
pub fn reload_of(key: &str) -> Reload {
    if let Some(row) = find(key) {
        return row.reload;
    }
    let boot = all().any(|row| row.reload == Reload::Boot && match_steps(row.key, key, false).is_some());
    if boot { Reload::Boot } else { Reload::Live }
}

/// Steps that a pattern and a key have in common, when the pattern (`whole`) or else the key is used up by them.
fn match_steps(pattern: &str, key: &str, whole: bool) -> Option<usize> {
    let (mut pattern, mut key) = (split(pattern), split(key));
    let mut steps = 0;
    loop {
        match (pattern.next(), key.next()) {
            (None, _) if whole => return Some(steps),
            (_, None) if !whole => return Some(steps),
            (Some(pattern), Some(step)) if pattern == "*" || pattern == step => steps += 1,
            _ => return None,
        }
    }
}

/// Steps of a path; an index becomes `[]`.
fn split(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').flat_map(|step| {
        let (name, indices) = step.find('[').map_or((step, ""), |at| step.split_at(at));
        std::iter::once(name).chain(indices.matches('[').map(|_| "[]"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_leaf_key_has_one_row_and_every_row_a_key() {
        let mut rows = BTreeSet::new();
        for row in all() {
            assert!(rows.insert(row.key.to_owned()), "{} stands twice", row.key);
        }
        let vm =
            crate::vm::COUNTERPARTS.iter().map(|known| format!("vm.{}.{}", known.application, known.name));
        let keys: BTreeSet<String> =
            crate::files::leaves().into_iter().map(|(key, _)| key).chain(vm).collect();
        let missing: Vec<_> = keys.difference(&rows).collect();
        let idle: Vec<_> = rows.difference(&keys).collect();
        assert!(
            missing.is_empty() && idle.is_empty(),
            "keys without row: {missing:#?}\nrows without key: {idle:#?}"
        );
    }

    #[test]
    fn every_row_names_what_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut shown: BTreeSet<&str> = BTreeSet::new();
        for row in all() {
            assert_eq!(row.status == Status::Built, !row.tests.is_empty(), "{}", row.key);
            if row.status == Status::Built {
                assert!(root.join(row.place).is_file(), "{}: {} is no file", row.key, row.place);
                shown.extend(row.tests);
            }
        }
        for test in shown {
            let (file, function) = test.split_once("::").unwrap_or_else(|| panic!("{test}: file::function"));
            let text =
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(has_test(&text, function), "{test}: there is no such test");
        }
    }

    /// Whether a test function of this name stands in a file: its attribute on a line above it, nothing between.
    fn has_test(text: &str, function: &str) -> bool {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let heads = [format!("fn {function}("), format!("async fn {function}(")];
        lines.iter().enumerate().any(|(at, line)| {
            let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            heads.iter().any(|head| line.starts_with(head.as_str()))
                && above
                    .into_iter()
                    .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        })
    }

    #[test]
    fn a_test_is_told_from_a_helper() {
        let text = "#[test]\nfn one() {}\n    #[tokio::test(x = 1)]\n    async fn two() {}\nfn three() {}\n#[test]\n\nfn four() {}";
        assert!(has_test(text, "one") && has_test(text, "two"));
        assert!(!has_test(text, "three") && !has_test(text, "four") && !has_test(text, "on"));
    }

    #[test]
    fn rows_are_found_by_concrete_keys() {
        assert_eq!(find("groups[3].nodes[0].port").map(|row| row.key), Some("groups[].nodes[].port"));
        assert_eq!(find("routes[0].match.methods[2]").map(|row| row.key), Some("routes[].match.methods"));
        assert_eq!(
            find("routes[0].rewrite.request_headers.set.x-a").map(|r| r.key),
            Some("routes[].rewrite.request_headers.set.*")
        );
        assert_eq!(find("nonsense"), None);
        assert_eq!(reload_of("runtime.driver"), Reload::Boot);
        assert_eq!(reload_of("listeners[1]"), Reload::Boot);
        assert_eq!(reload_of("groups[1].nodes[0]"), Reload::Live);
        assert_eq!(reload_of("listeners[0].limits.headers_max"), Reload::Live);
    }
}
