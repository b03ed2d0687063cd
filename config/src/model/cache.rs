//! `cache.yaml`: Redis, the process's own cache, memcached.

use crate::shape::{Field, MILLIS, SECONDS, Shape, def, int, list, opt, req, sub};
use crate::texts::{HOST, HOST_PORT, LINE};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `cache`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The shared cache, and the process's own in front of it.
    pub redis: Redis,
    /// None: no memcached.
    pub memcached: Option<Memcached>,
}

/// `cache.redis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// None: no Redis.
    pub cluster: Option<RedisCluster>,
    /// In the process, over its shards.
    pub local_cache: LocalCache,
    /// How the levels work together.
    pub pattern: CachePattern,
}

/// `cache.redis.cluster`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisCluster {
    /// Where the topology is asked for.
    pub nodes: Vec<RedisNode>,
    /// Redis Cluster, or single servers.
    pub cluster_mode: bool,
    /// Checked against the topology found.
    pub cluster_nodes: u32,
    /// Checked against the topology found.
    pub replicas: u32,
    /// Per command.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Per command.
    pub max_retries: u32,
    /// Between attempts to connect.
    #[serde(with = "units::duration")]
    pub reconnect_delay: Duration,
}

/// One of `cache.redis.cluster.nodes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisNode {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database number; a cluster has only 0.
    pub db: u32,
}

/// `cache.redis.local_cache`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalCache {
    /// Entries, in the whole process.
    pub size: u64,
    /// Longest life of an entry.
    #[serde(with = "units::duration")]
    pub ttl: Duration,
    /// Which entry goes first.
    pub eviction_policy: EvictionPolicy,
    /// Bytes, in the whole process.
    #[serde(with = "units::bytes")]
    pub max_memory: u64,
}

/// Redis' names of eviction policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvictionPolicy {
    /// Least recently used.
    AllkeysLru,
    /// Least frequently used.
    AllkeysLfu,
    /// The next to expire.
    VolatileTtl,
    /// None: a full cache takes nothing new.
    Noeviction,
}

/// `cache.redis.pattern`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachePattern {
    /// A write goes to Redis too.
    pub write_through: bool,
    /// A miss asks Redis.
    pub read_through: bool,
    /// Milliseconds that a miss costs: weight of refresh-ahead.
    pub cache_miss_penalty: u32,
    /// Commands per pipeline.
    pub batch_size: u32,
}

/// `cache.memcached`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memcached {
    /// `host:port`.
    pub servers: Vec<String>,
    /// Of the client.
    pub configuration: MemcachedClient,
    /// What goes to memcached; None: nothing.
    pub hot_keys: Option<HotKeys>,
}

/// `cache.memcached.configuration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemcachedClient {
    /// Per command.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Per server.
    pub max_connections: u32,
    /// Ketama hashing over the servers; else modulo.
    pub ketama: bool,
}

/// `cache.memcached.hot_keys`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotKeys {
    /// Regular expression over keys.
    pub pattern: String,
    /// Life of an entry.
    #[serde(with = "units::duration")]
    pub ttl: Duration,
}

const REDIS_NODE: Shape = Shape::Map(&[
    req("host", Shape::Text(HOST), "DNS name or IP address"),
    def("port", int(1, 65535), "6379", "TCP port"),
    def("db", int(0, 1_000_000), "0", "database number; a cluster has only 0"),
]);

pub(crate) const CACHE: &[Field] = &[
    sub(
        "redis",
        &[
            opt(
                "cluster",
                Shape::Map(&[
                    req("nodes", list(&REDIS_NODE, 1024), "where the topology is asked for"),
                    def("cluster_mode", Shape::Bool, "true", "Redis Cluster, or single servers"),
                    def("cluster_nodes", int(1, 1024), "3", "checked against the topology found"),
                    def("replicas", int(0, 16), "1", "checked against the topology found"),
                    def("timeout", MILLIS, "3000", "per command"),
                    def("max_retries", int(0, 100), "3", "per command"),
                    def("reconnect_delay", SECONDS, "1", "between attempts to connect"),
                ]),
                "none: no Redis",
            ),
            sub(
                "local_cache",
                &[
                    def("size", int(0, 1_000_000_000), "1000", "entries, in the whole process"),
                    def("ttl", MILLIS, "60000", "longest life of an entry"),
                    def(
                        "eviction_policy",
                        Shape::Choice(&["allkeys-lru", "allkeys-lfu", "volatile-ttl", "noeviction"]),
                        "allkeys-lru",
                        "which entry goes first",
                    ),
                    def("max_memory", Shape::Bytes { min: 0, max: 1 << 44 }, "256MB", "in the whole process"),
                ],
                "in the process, over its shards",
            ),
            sub(
                "pattern",
                &[
                    def("write_through", Shape::Bool, "true", "a write goes to Redis too"),
                    def("read_through", Shape::Bool, "true", "a miss asks Redis"),
                    def("cache_miss_penalty", int(0, 3_600_000), "100", "milliseconds that a miss costs"),
                    def("batch_size", int(1, 100_000), "100", "commands per pipeline"),
                ],
                "how the levels work together",
            ),
        ],
        "the shared cache, and the process's own in front of it",
    ),
    opt(
        "memcached",
        Shape::Map(&[
            req("servers", list(&Shape::Text(HOST_PORT), 1024), "`host:port`"),
            sub(
                "configuration",
                &[
                    def("timeout", MILLIS, "1000", "per command"),
                    def("max_connections", int(1, 1_000_000), "100", "per server"),
                    def("ketama", Shape::Bool, "true", "ketama hashing over the servers; else modulo"),
                ],
                "of the client",
            ),
            opt(
                "hot_keys",
                Shape::Map(&[
                    req("pattern", Shape::Text(LINE), "regular expression over keys"),
                    def("ttl", SECONDS, "3600", "life of an entry"),
                ]),
                "what goes to memcached; none: nothing",
            ),
        ]),
        "none: no memcached",
    ),
];
