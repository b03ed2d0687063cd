//! `pool.yaml`: pools of upstream connections per protocol. What a key means is settled in `effects`.

use super::resilience::ExceptionKind;
use crate::shape::{Field, MILLIS, Shape, def, int, sub};
use crate::units;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `connection_pools`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    /// Raw TCP, and the size of every upstream group's pool.
    pub tcp_pool: TcpPool,
    /// HTTP/1.1 connections.
    pub http_pool: HttpPool,
    /// WebSockets.
    pub websocket_pool: WebsocketPool,
}

/// `connection_pools.tcp_pool`. Sizes are per gateway process and upstream group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpPool {
    /// Connections kept.
    pub size: u32,
    /// Connections above `size` under pressure, closed afterwards.
    pub max_overflow: u32,
    /// Check-out deadline, connecting included.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Idle time after which a connection is closed.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// Between two looks at idle connections.
    #[serde(with = "units::duration")]
    pub health_check_interval: Duration,
    /// When a connection cannot be made.
    pub retry_policy: PoolRetry,
    /// Overrides `resilience.circuit_breakers.default`.
    pub circuit_breaker: PoolBreaker,
}

/// `connection_pools.tcp_pool.retry_policy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRetry {
    /// The first one included.
    pub max_attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// Before the second attempt.
    #[serde(with = "units::duration")]
    pub base_delay: Duration,
}

/// How a delay grows from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// It does not.
    Constant,
    /// By the base.
    Linear,
    /// Doubling.
    Exponential,
}

/// `connection_pools.tcp_pool.circuit_breaker`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolBreaker {
    /// Failures within a sliding 10 s window.
    pub failure_threshold: u32,
    /// Open to half-open.
    #[serde(with = "units::duration")]
    pub recovery_timeout: Duration,
    /// What counts as a failure.
    pub expected_exception: ExceptionKind,
}

/// `connection_pools.http_pool`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPool {
    /// Per gateway process and upstream group.
    pub max_connections: u32,
    /// After which a connection is closed.
    pub max_requests_per_connection: u32,
    /// Idle time after which a connection is closed; keep it below the server's own.
    #[serde(with = "units::duration")]
    pub keep_alive: Duration,
    /// Until connected.
    #[serde(with = "units::duration")]
    pub connection_timeout: Duration,
    /// Until the reply's head.
    #[serde(with = "units::duration")]
    pub read_timeout: Duration,
    /// Age after which a connection is not reused.
    #[serde(with = "units::duration")]
    pub pool_recycle: Duration,
}

/// `connection_pools.websocket_pool`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebsocketPool {
    /// Per gateway process and upstream group.
    pub max_connections: u32,
    /// Bytes per message.
    pub max_size: u32,
    /// Until the upgrade is answered.
    #[serde(with = "units::duration")]
    pub connection_timeout: Duration,
    /// Between pings.
    #[serde(with = "units::duration")]
    pub ping_interval: Duration,
    /// Until the pong; below the interval.
    #[serde(with = "units::duration")]
    pub ping_timeout: Duration,
    /// Messages waiting per direction.
    pub queue_size: u32,
}

const CONNECTIONS: Shape = int(1, 10_000_000);

pub(crate) const POOLS: &[Field] = &[
    sub(
        "tcp_pool",
        &[
            def("size", CONNECTIONS, "1000", "connections kept, per gateway process and upstream group"),
            def("max_overflow", int(0, 10_000_000), "500", "connections above `size` under pressure"),
            def("timeout", MILLIS, "30000", "check-out deadline, connecting included"),
            def("keep_alive", MILLIS, "60000", "idle time after which a connection is closed"),
            def("health_check_interval", MILLIS, "5000", "between two looks at idle connections"),
            sub(
                "retry_policy",
                &[
                    def("max_attempts", int(1, 100), "3", "attempts, the first one included"),
                    def(
                        "backoff",
                        Shape::Choice(&["constant", "linear", "exponential"]),
                        "exponential",
                        "growth of the delay",
                    ),
                    def("base_delay", MILLIS, "100", "before the second attempt"),
                ],
                "when a connection cannot be made",
            ),
            sub(
                "circuit_breaker",
                &[
                    def(
                        "failure_threshold",
                        int(1, 1_000_000),
                        "50",
                        "failures within a sliding 10 s window",
                    ),
                    def("recovery_timeout", MILLIS, "30000", "open to half-open"),
                    def(
                        "expected_exception",
                        super::resilience::EXCEPTION,
                        "all",
                        "what counts as a failure",
                    ),
                ],
                "overrides resilience.circuit_breakers.default",
            ),
        ],
        "raw TCP, and the size of every upstream group's pool",
    ),
    sub(
        "http_pool",
        &[
            def("max_connections", CONNECTIONS, "500", "per gateway process and upstream group"),
            def(
                "max_requests_per_connection",
                int(1, 1_000_000_000),
                "100000",
                "after which a connection is closed",
            ),
            def(
                "keep_alive",
                MILLIS,
                "30000",
                "idle time after which a connection is closed; below the server's own",
            ),
            def("connection_timeout", MILLIS, "10000", "until connected"),
            def("read_timeout", MILLIS, "30000", "until the reply's head"),
            def("pool_recycle", MILLIS, "3600000", "age after which a connection is not reused"),
        ],
        "HTTP/1.1 connections",
    ),
    sub(
        "websocket_pool",
        &[
            def("max_connections", CONNECTIONS, "2000", "per gateway process and upstream group"),
            def("max_size", int(1, 1 << 30), "10000", "bytes per message"),
            def("connection_timeout", MILLIS, "10000", "until the upgrade is answered"),
            def("ping_interval", MILLIS, "30000", "between pings"),
            def("ping_timeout", MILLIS, "5000", "until the pong; below the interval"),
            def("queue_size", int(1, 1_000_000), "1000", "messages waiting per direction"),
        ],
        "WebSockets",
    ),
];
