//! Names behind the indices of access records, ready to stand in JSON, for every snapshot that may still be in use.

use std::collections::VecDeque;
use std::sync::Arc;

use erlmcp_dataplane::link::Snapshot;

/// Lists of routes kept: an exchange that began more reloads ago is logged without its route's name.
const LISTS_MAX: usize = 64;

/// A list of names as JSON strings, quotes included.
type Names = Arc<[Box<str>]>;

/// Names by index.
#[derive(Debug, Default)]
pub struct NameBook {
    /// Routes, with the first revision that has them, oldest first.
    routes: VecDeque<(u64, Names)>,
    nodes: Names,
    listeners: Names,
}

impl NameBook {
    /// The book with one more snapshot in it.
    pub(crate) fn with(&self, snapshot: &Snapshot) -> Self {
        let mut routes = self.routes.clone();
        let latest: Names = snapshot.routes.iter().map(|route| json(&route.name)).collect();
        if routes.back().is_none_or(|(_, names)| *names != latest) {
            routes.push_back((snapshot.revision, latest));
            if routes.len() > LISTS_MAX {
                routes.pop_front();
            }
        }
        // A slot keeps its name when its node goes: streams to it may still end.
        let mut nodes = self.nodes.to_vec();
        for endpoint in snapshot.groups.iter().flat_map(|group| &group.endpoints) {
            let index = usize::from(endpoint.id.0);
            if nodes.len() <= index {
                nodes.resize(index + 1, "null".into());
            }
            nodes[index] = json(&endpoint.name);
        }
        let listeners = snapshot.listeners.iter().map(|listener| json(&listener.name)).collect();
        Self { routes, nodes: nodes.into(), listeners }
    }

    /// A route's name in the snapshot of this revision.
    pub fn route(&self, revision: u64, index: u16) -> &str {
        let list = self.routes.iter().rev().find(|(first, _)| *first <= revision);
        list.and_then(|(_, names)| names.get(usize::from(index))).map_or("null", |name| name)
    }

    /// A node's name.
    pub fn node(&self, id: u16) -> &str {
        self.nodes.get(usize::from(id)).map_or("null", |name| name)
    }

    /// A listener's name.
    pub fn listener(&self, index: u16) -> &str {
        self.listeners.get(usize::from(index)).map_or("null", |name| name)
    }
}

fn json(text: &str) -> Box<str> {
    serde_json::Value::from(text).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::build_tests::snapshot;

    #[test]
    fn a_route_is_named_by_the_snapshot_that_served_it() {
        let book = NameBook::default().with(&snapshot(1, &["a", "b\""])).with(&snapshot(2, &["a", "b\""]));
        let book = book.with(&snapshot(3, &["c"]));
        assert_eq!((book.route(1, 1), book.route(2, 0), book.route(3, 0)), ("\"b\\\"\"", "\"a\"", "\"c\""));
        assert_eq!((book.route(0, 0), book.route(3, 7), book.route(9, u16::MAX)), ("null", "null", "null"));
        assert_eq!((book.node(0), book.node(9)), ("\"n\"", "null"));
        let many =
            (4..200).fold(book, |book, revision| book.with(&snapshot(revision, &[&revision.to_string()])));
        assert_eq!((many.routes.len(), many.route(199, 0), many.route(3, 0)), (LISTS_MAX, "\"199\"", "null"));
    }
}
