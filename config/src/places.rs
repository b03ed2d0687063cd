//! Where each key stood, and which keys were already found wrong.
//!
//! Filled by the walk, asked by the checks between keys, so that a check can point at a line and stays silent
//! about values that only stand in for refused ones.

use crate::report::{Diagnostic, Severity};
use crate::yaml::At;
use std::collections::{HashMap, HashSet};

/// Positions of the keys that the user wrote, by full path.
#[derive(Debug, Default)]
pub(crate) struct Places {
    files: Vec<String>,
    at: HashMap<String, At>,
    tainted: HashSet<String>,
}

impl Places {
    /// Names a file and gives its index for [`At`].
    pub(crate) fn add_file(&mut self, name: String) -> usize {
        self.files.push(name);
        self.files.len() - 1
    }

    /// In the order in which they were read.
    pub(crate) fn files(&self) -> &[String] {
        &self.files
    }

    pub(crate) fn set(&mut self, key: &str, at: At) {
        self.at.insert(key.to_owned(), at);
    }

    pub(crate) fn taint(&mut self, key: &str) {
        self.tainted.insert(key.to_owned());
    }

    /// Whether the user wrote this key (or the default was not what put it there).
    pub(crate) fn given(&self, key: &str) -> bool {
        self.at.contains_key(key)
    }

    /// Whether this key, or something that holds it, was refused.
    pub(crate) fn is_tainted(&self, key: &str) -> bool {
        ancestors(key).any(|k| self.tainted.contains(k))
    }

    /// Every key that the user wrote, with its place.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, At)> {
        self.at.iter().map(|(key, at)| (key.as_str(), *at))
    }

    /// The place of a key, or of the nearest thing around it that was written.
    pub(crate) fn find(&self, key: &str) -> Option<At> {
        ancestors(key).find_map(|k| self.at.get(k)).copied()
    }

    /// A finding at `at`.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        at: Option<At>,
        key: &str,
        texts: [&str; 3],
    ) -> Diagnostic {
        let (file, line, column) = match at {
            Some(at) => (self.files[at.file].clone(), at.line, at.column),
            None => ("(default)".to_owned(), 0, 0),
        };
        let [what, why, remedy] = texts.map(str::to_owned);
        Diagnostic { severity, file, line, column, key: key.to_owned(), what, why, remedy }
    }
}

/// `a.b[0].c`, `a.b[0]`, `a.b`, `a`.
fn ancestors(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |k| {
        let cut = k.rfind(['.', '['])?;
        Some(&k[..cut])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_what_holds_it() {
        assert_eq!(ancestors("a.b[10].c").collect::<Vec<_>>(), ["a.b[10].c", "a.b[10]", "a.b", "a"]);
        let mut places = Places::default();
        let file = places.add_file("f.yaml".into());
        places.set("a.b", At { file, line: 2, column: 3 });
        assert_eq!(places.find("a.b[1].c").map(|at| at.line), Some(2));
        assert_eq!(places.find("x"), None);
        places.taint("a.b[1]");
        assert!(places.is_tainted("a.b[1].c") && !places.is_tainted("a.b[2].c"));
    }
}
