//! Which files there are, what stands at their top, and which section of [`Config`] each fills.
//!
//! [`Config`]: crate::Config

use crate::model::{
    balancer, cache, chaos, database, kubernetes, listeners, monitoring, network, pools, region, resilience,
    routes, runtime, sharding,
};
use crate::shape::{Field, Shape, join, sub};

/// A file that may stand in the folder.
pub(crate) struct FileSpec {
    /// Looked for in this order, relative to the folder.
    pub(crate) names: &'static [&'static str],
    /// Field of `Config`.
    pub(crate) section: &'static str,
    /// Goes before the keys at the file's top in every path, as in `runtime.driver`.
    pub(crate) prefix: &'static str,
    /// True: the section is what stands under the one key at the top. False: the section is the whole file.
    pub(crate) unwrap: bool,
    /// The keys at the top.
    pub(crate) keys: &'static [Field],
    /// The file as the embedded default has it.
    pub(crate) default: Option<&'static str>,
}

impl FileSpec {
    /// Its first name.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Its shape as a whole.
    pub(crate) fn shape(&self) -> Shape {
        Shape::Map(self.keys)
    }
}

const fn seed(names: &'static [&'static str], section: &'static str, keys: &'static [Field]) -> FileSpec {
    FileSpec { names, section, prefix: "", unwrap: true, keys, default: None }
}

const fn own(
    names: &'static [&'static str],
    prefix: &'static str,
    section: &'static str,
    keys: &'static [Field],
    default: &'static str,
) -> FileSpec {
    FileSpec { names, section, prefix, unwrap: false, keys, default: Some(default) }
}

/// Every file, in the order in which they are read and reported.
pub(crate) const FILES: &[FileSpec] = &[
    own(
        &["listeners.yaml"],
        "",
        "listeners",
        listeners::LISTENERS,
        include_str!("../default/listeners.yaml"),
    ),
    own(&["routes.yaml"], "", "routes", routes::ROUTES, include_str!("../default/routes.yaml")),
    own(&["runtime.yaml"], "runtime", "runtime", runtime::RUNTIME, include_str!("../default/runtime.yaml")),
    seed(
        &["load-balancer.yaml"],
        "load_balancer",
        &[sub("load_balancer", balancer::LOAD_BALANCER, "strategy, health checks, nodes, draining")],
    ),
    seed(&["pool.yaml"], "pools", &[sub("connection_pools", pools::POOLS, "pools of upstream connections")]),
    seed(
        &["sharding.yaml"],
        "sharding",
        &[sub("sharding", sharding::SHARDING, "which nodes hold which keys")],
    ),
    seed(&["cache.yaml"], "cache", &[sub("cache", cache::CACHE, "Redis, local cache, memcached")]),
    seed(
        &["database.yaml"],
        "database",
        &[sub("database", database::DATABASE, "PostgreSQL and its failover")],
    ),
    seed(
        &["network.yaml"],
        "network",
        &[sub("network", network::NETWORK, "regions, bandwidth, TLS, compression")],
    ),
    seed(
        &["resilience.yaml"],
        "resilience",
        &[sub("resilience", resilience::RESILIENCE, "breakers, retries, bulkheads, timeouts")],
    ),
    seed(
        &["monitoring.yaml"],
        "monitoring",
        &[sub("monitoring", monitoring::MONITORING, "metrics, thresholds, autoscaling")],
    ),
    seed(
        &["multi-region.yaml"],
        "multi_region",
        &[sub("multi_region", region::MULTI_REGION, "regions and failover between them")],
    ),
    seed(&["chaos.yaml"], "chaos", &[sub("chaos", chaos::CHAOS, "experiments and standing faults")]),
    seed(
        &["resources.yaml", "k8s/resources.yaml"],
        "resources",
        &[sub("resources", kubernetes::RESOURCES, "Kubernetes quantities and probes")],
    ),
];

/// Every leaf key of every file as a pattern (`groups[].nodes[].port`), with its line of help.
pub fn leaves() -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for file in FILES {
        for field in file.keys {
            field.shape.leaves(&join(file.prefix, field.key), &mut |key, doc| {
                let doc = if key == join(file.prefix, field.key) { field.doc } else { doc };
                all.push((key, doc));
            });
        }
    }
    all
}
