//! What other files call a node.

use super::Config;
use super::routes::Endpoint;
use std::collections::{BTreeSet, HashMap};

/// The nodes of every list by name and host. Made once, asked often.
#[derive(Clone, Debug, Default)]
pub struct NodeNames {
    /// Name and host of each; a Unix socket has no host.
    nodes: BTreeSet<(String, String)>,
    /// By host; None when several nodes have it.
    hosts: HashMap<String, Option<String>>,
}

impl NodeNames {
    /// The nodes of the load balancer and of all groups.
    pub fn of(config: &Config) -> Self {
        let mut names = Self::default();
        for node in &config.load_balancer.nodes {
            names.add(node.name.as_deref().unwrap_or(&node.host), &node.host);
        }
        for node in config.routes.groups.iter().flat_map(|group| &group.nodes) {
            match &node.endpoint {
                Endpoint::Host { host, .. } => names.add(&node.name, host),
                Endpoint::Unix(_) => names.add(&node.name, ""),
            }
        }
        names
    }

    fn add(&mut self, name: &str, host: &str) {
        if !self.nodes.insert((name.to_owned(), host.to_owned())) || host.is_empty() {
            return;
        }
        let one = self.hosts.entry(host.to_owned()).or_insert_with(|| Some(name.to_owned()));
        if one.as_deref() != Some(name) {
            *one = None;
        }
    }

    /// The name of the node that a reference means: the node of that name, else of that host, else the one host that
    /// ends with `-` and the reference. None when there is none, or more than one.
    pub fn find(&self, reference: &str) -> Option<&str> {
        let from = (reference.to_owned(), String::new());
        if let Some((name, _)) = self.nodes.range(from..).next().filter(|(name, _)| name == reference) {
            return Some(name);
        }
        if let Some(found) = self.hosts.get(reference) {
            return found.as_deref();
        }
        let ends = |host: &str| host.strip_suffix(reference).is_some_and(|head| head.ends_with('-'));
        let mut hosts = self.hosts.iter().filter(|(host, _)| ends(host));
        let (_, found) = hosts.next()?;
        found.as_deref().filter(|_| hosts.next().is_none())
    }
}

impl Config {
    /// The node that a reference from another file means; see [`NodeNames::find`].
    pub fn resolve_node(&self, reference: &str) -> Option<String> {
        NodeNames::of(self).find(reference).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nodes: &[(&str, &str)]) -> NodeNames {
        let mut names = NodeNames::default();
        nodes.iter().for_each(|(name, host)| names.add(name, host));
        names
    }

    #[test]
    fn names_come_before_hosts_and_hosts_before_their_ends() {
        let names =
            names(&[("one", "erlmcp-node-1"), ("node-2", "x-node-1"), ("sock", ""), ("a", "h"), ("b", "h")]);
        assert_eq!(names.find("one"), Some("one"));
        assert_eq!(names.find("x-node-1"), Some("node-2"));
        assert_eq!(names.find("node-2"), Some("node-2"));
        assert_eq!(names.find("sock"), Some("sock"));
        assert_eq!(names.find("node-1"), None, "two hosts end with it");
        assert_eq!(names.find("h"), None, "two nodes have it");
        assert_eq!(names.find("1"), None);
        assert_eq!(names.find("ode-1"), None, "only whole parts count");
        assert_eq!(names.find(""), None);
    }

    #[test]
    fn one_host_with_that_end_is_enough() {
        assert_eq!(names(&[("n", "erlmcp-node-1"), ("m", "erlmcp-node-11")]).find("node-1"), Some("n"));
    }
}
