//! The checked types, one module per file, each beside the description of its keys.
//!
//! Names of fields are the keys of the files. Values are complete: an `Option` means "off", "not there" or
//! "another level decides", never "default". Nothing here reads files or reports errors.

pub mod balancer;
pub mod cache;
pub mod chaos;
pub mod database;
pub mod kubernetes;
pub mod listeners;
pub mod monitoring;
pub mod names;
pub mod network;
pub mod pools;
pub mod region;
pub mod resilience;
pub mod routes;
pub mod runtime;
pub mod scenario;
pub(crate) mod scenario_values;
pub mod sharding;

use crate::shape::Shape;
use crate::vm::VmConfig;
use routes::{CLUSTER, Group, GroupNode, Route};
use serde::{Deserialize, Serialize};

/// Size of a body, 0 for unlimited.
pub(crate) const BODY: Shape = Shape::Bytes { min: 0, max: 1 << 50 };

/// Everything that was configured, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `load-balancer.yaml`.
    pub load_balancer: balancer::LoadBalancer,
    /// `pool.yaml`.
    pub pools: pools::Pools,
    /// `sharding.yaml`.
    pub sharding: sharding::Sharding,
    /// `cache.yaml`.
    pub cache: cache::Cache,
    /// `database.yaml`.
    pub database: database::Database,
    /// `network.yaml`.
    pub network: network::Network,
    /// `resilience.yaml`.
    pub resilience: resilience::Resilience,
    /// `monitoring.yaml`.
    pub monitoring: monitoring::Monitoring,
    /// `multi-region.yaml`.
    pub multi_region: region::MultiRegion,
    /// `chaos.yaml`.
    pub chaos: chaos::Chaos,
    /// `resources.yaml`, in the folder or in its `k8s`.
    pub resources: kubernetes::Resources,
    /// `listeners.yaml`.
    pub listeners: listeners::Listeners,
    /// `routes.yaml`.
    pub routes: routes::Routes,
    /// `runtime.yaml`.
    pub runtime: runtime::Runtime,
    /// `vm.config`, as read; it changes nothing. Empty when there is none.
    #[serde(skip)]
    pub vm: VmConfig,
}

impl Config {
    /// Whether the embedded node must be served.
    pub fn wants_embedded(&self) -> bool {
        match self.runtime.embedded.enabled {
            runtime::EmbeddedMode::Auto => self.routes.groups.is_empty(),
            runtime::EmbeddedMode::Always => true,
            runtime::EmbeddedMode::Never => false,
        }
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.routes.groups.iter().find(|group| group.name == name)
    }

    /// Makes `nodes` the group `name`, balanced as the load balancer says, and sends everything to it when there is
    /// no route. For `load_balancer.nodes`, `--upstream` and the embedded node.
    pub fn set_group(&mut self, name: &str, nodes: Vec<GroupNode>) {
        let group = Group::new(name, nodes, &self.load_balancer, &self.resilience.timeouts);
        self.routes.groups.retain(|other| other.name != name);
        self.routes.groups.push(group);
        if self.routes.routes.is_empty() {
            self.routes.routes.push(Route::everything_to(name));
        }
    }

    /// Nodes of `load_balancer` as a group, when no group is written; a default route when none is.
    pub(crate) fn derive_routes(&mut self) {
        if self.routes.groups.is_empty() && !self.load_balancer.nodes.is_empty() {
            let nodes = self.load_balancer.nodes.iter().map(GroupNode::from).collect();
            self.set_group(CLUSTER, nodes);
        }
        if let (true, Some(first)) = (self.routes.routes.is_empty(), self.routes.groups.first()) {
            self.routes.routes.push(Route::everything_to(&first.name.clone()));
        }
    }
}

impl From<&balancer::Node> for GroupNode {
    fn from(node: &balancer::Node) -> Self {
        let mut made = Self::new(routes::Endpoint::Host { host: node.host.clone(), port: node.port });
        made.name = node.name.clone().unwrap_or_else(|| node.host.clone());
        (made.weight, made.max_connections, made.status) = (node.weight, node.max_connections, node.status);
        made
    }
}
