//! `database.yaml`: PostgreSQL, its replicas, failover and pooler.

use crate::secret::Secret;
use crate::shape::{Field, MILLIS, Shape, def, int, list, opt, req};
use crate::texts::{HOST, LINE};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `database`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// None: durable records stay in the embedded store.
    pub postgresql: Option<Postgresql>,
}

/// `database.postgresql`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgresql {
    /// Where writes go.
    pub primary: Primary,
    /// Where reads may go.
    pub replicas: Vec<Replica>,
    /// What the servers are expected to be set to.
    pub replication: Replication,
    /// Who decides which server is primary.
    pub failover: DatabaseFailover,
    /// None: connections are direct.
    pub connection_pooler: Option<Pooler>,
}

/// `database.postgresql.primary`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primary {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Role.
    pub username: String,
    /// None: as `pg_hba.conf` lets in without one.
    pub password: Option<Secret>,
    /// Connections kept.
    pub pool_size: u32,
    /// Upper bound under pressure.
    pub max_connections: u32,
    /// Per query.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
}

/// One of `database.postgresql.replicas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Failover and read order, lowest first.
    pub priority: u32,
    /// Read only when no other is fit.
    pub backup: bool,
}

/// `database.postgresql.replication`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replication {
    /// Commits wait for a replica.
    pub synchronous: bool,
    /// Longest such wait.
    #[serde(with = "units::duration")]
    pub commit_timeout: Duration,
    /// `max_replication_slots`.
    pub replication_slots: u32,
    /// `wal_level`.
    pub wal_level: WalLevel,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
}

/// PostgreSQL's `wal_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalLevel {
    /// No replication.
    Minimal,
    /// Physical replication.
    Replica,
    /// Logical replication too.
    Logical,
}

/// `database.postgresql.failover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFailover {
    /// Who decides.
    pub manager: FailoverManager,
    /// Between looks at each server.
    #[serde(with = "units::duration")]
    pub health_check_interval: Duration,
    /// Longest switch-over.
    #[serde(with = "units::duration")]
    pub switchover_timeout: Duration,
    /// Follow a new primary without an operator.
    pub auto_failover: bool,
    /// Between looks at the whole.
    #[serde(with = "units::duration")]
    pub cluster_check_interval: Duration,
}

/// Who decides which server is primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailoverManager {
    /// Patroni's REST API is asked.
    Patroni,
    /// `pg_is_in_recovery()` is asked.
    None,
}

/// `database.postgresql.connection_pooler`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooler {
    /// Which program.
    #[serde(rename = "type")]
    pub kind: PoolerKind,
    /// When a server connection is given back.
    pub mode: PoolerMode,
    /// Server connections.
    pub pool_size: u32,
    /// Client connections.
    pub max_connections: u32,
    /// Parameters that the pooler drops.
    pub ignore_startup_parameters: Vec<String>,
}

/// Which pooler stands in front of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolerKind {
    /// PgBouncer.
    Pgbouncer,
}

/// When a pooler gives a server connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolerMode {
    /// After the session.
    Session,
    /// After the transaction: no prepared statements by name, no LISTEN.
    Transaction,
    /// After the statement.
    Statement,
}

const PRIMARY: Shape = Shape::Map(&[
    req("host", Shape::Text(HOST), "DNS name or IP address"),
    def("port", int(1, 65535), "5432", "TCP port"),
    req("database", Shape::Text(LINE), "database name"),
    req("username", Shape::Text(LINE), "role"),
    opt("password", Shape::Secret, "write `${VAR}`: the value comes from the environment"),
    def("pool_size", int(1, 100_000), "50", "connections kept"),
    def("max_connections", int(1, 100_000), "200", "upper bound under pressure"),
    def("timeout", MILLIS, "5000", "per query"),
]);

const REPLICA: Shape = Shape::Map(&[
    req("host", Shape::Text(HOST), "DNS name or IP address"),
    def("port", int(1, 65535), "5432", "TCP port"),
    def("priority", int(1, 1_000_000), "1", "failover and read order, lowest first"),
    def("backup", Shape::Bool, "false", "read only when no other is fit"),
]);

pub(crate) const DATABASE: &[Field] = &[opt(
    "postgresql",
    Shape::Map(&[
        req("primary", PRIMARY, "where writes go"),
        def("replicas", list(&REPLICA, 256), "[]", "where reads may go"),
        crate::shape::sub(
            "replication",
            &[
                def("synchronous", Shape::Bool, "false", "commits wait for a replica"),
                def("commit_timeout", MILLIS, "5000", "longest such wait"),
                def("replication_slots", int(0, 10_000), "10", "max_replication_slots"),
                def("wal_level", Shape::Choice(&["minimal", "replica", "logical"]), "replica", "wal_level"),
                def("max_wal_senders", int(0, 10_000), "5", "max_wal_senders"),
            ],
            "what the servers are expected to be set to",
        ),
        crate::shape::sub(
            "failover",
            &[
                def(
                    "manager",
                    Shape::Choice(&["patroni", "none"]),
                    "none",
                    "who decides which server is primary",
                ),
                def("health_check_interval", MILLIS, "5s", "between looks at each server"),
                def("switchover_timeout", MILLIS, "30s", "longest switch-over"),
                def("auto_failover", Shape::Bool, "true", "follow a new primary without an operator"),
                def("cluster_check_interval", MILLIS, "10s", "between looks at the whole"),
            ],
            "who decides which server is primary",
        ),
        opt(
            "connection_pooler",
            Shape::Map(&[
                def("type", Shape::Choice(&["pgbouncer"]), "pgbouncer", "which program"),
                def(
                    "mode",
                    Shape::Choice(&["session", "transaction", "statement"]),
                    "transaction",
                    "when a server connection is given back",
                ),
                def("pool_size", int(1, 100_000), "100", "server connections"),
                def("max_connections", int(1, 1_000_000), "1000", "client connections"),
                def(
                    "ignore_startup_parameters",
                    list(&Shape::Text(LINE), 64),
                    "[]",
                    "parameters that the pooler drops",
                ),
            ]),
            "none: connections are direct",
        ),
    ]),
    "none: durable records stay in the embedded store",
)];
