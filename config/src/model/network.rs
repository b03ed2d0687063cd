//! `network.yaml`: regions as seen from here, bandwidth, TLS, compression.

use crate::shape::{Field, Shape, def, int, list, req, sub};
use crate::texts::REGION;
use serde::{Deserialize, Serialize};

/// `network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Regions, distances, bandwidth.
    pub topology: Topology,
    /// For listeners with a certificate.
    pub tls: Tls,
    /// Of replies.
    pub compression: Compression,
}

/// `network.topology`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Joined with `multi_region` by `name` = `location`.
    pub regions: Vec<NetworkRegion>,
    /// What counts as near.
    pub latency_thresholds: LatencyThresholds,
    /// None of them set: no shaping.
    pub bandwidth_allocation: BandwidthAllocation,
}

/// One of `network.topology.regions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRegion {
    /// Its name at the provider.
    pub name: String,
    /// Expected round trip, in milliseconds.
    pub latency_ms: u32,
    /// Lowest first.
    pub priority: u32,
    /// Where its gateway lies.
    pub availability_zone: String,
}

/// `network.topology.latency_thresholds`, in milliseconds; ascending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyThresholds {
    /// Up to here a region is fast.
    pub fast: u32,
    /// Up to here it is middling.
    pub medium: u32,
    /// Above here it is avoided.
    pub slow: u32,
}

/// `network.topology.bandwidth_allocation`: guaranteed Mbit/s per class, 0 for none. Their sum is the link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandwidthAllocation {
    /// Traffic between gateways and nodes that carries sessions.
    pub erlmcp_core: u32,
    /// Client traffic.
    pub transports: u32,
    /// Metrics, traces, logs.
    pub observability: u32,
}

/// `network.tls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Without a certificate: a warning, and plain listeners.
    pub enabled: bool,
    /// In order of preference.
    pub cipher_suites: Vec<CipherSuite>,
    /// TLS 1.2 uses the ECDHE suites with the same AEADs.
    pub protocol_versions: Vec<TlsVersion>,
    /// RFC 6066 section 8.
    pub ocsp_stapling: bool,
    /// RFC 8446 section 2.2, RFC 5077.
    pub session_resumption: bool,
}

/// TLS 1.3 cipher suites (RFC 8446 appendix B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CipherSuite {
    /// AES-256-GCM.
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256Gcm,
    /// AES-128-GCM.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128Gcm,
    /// ChaCha20-Poly1305.
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    Chacha20Poly1305,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "TLSv1.2")]
    V12,
    /// RFC 8446.
    #[serde(rename = "TLSv1.3")]
    V13,
}

/// `network.compression`. Event streams are never compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    /// Off by default: it costs CPU that the operator did not ask for.
    pub enabled: bool,
    /// In order of preference.
    pub algorithms: Vec<CompressionAlgorithm>,
    /// 1 is fast, 9 is small.
    pub level: u8,
    /// Bytes below which a reply stays as it is.
    pub min_size: u32,
}

/// Content codings (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressionAlgorithm {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

const NETWORK_REGION: Shape = Shape::Map(&[
    req("name", Shape::Text(REGION), "its name at the provider"),
    def("latency_ms", int(0, 60_000), "0", "expected round trip, in milliseconds"),
    def("priority", int(1, 1_000_000), "1", "lowest first"),
    req("availability_zone", Shape::Text(REGION), "where its gateway lies"),
]);

const SUITE: Shape =
    Shape::Choice(&["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]);
const VERSION: Shape = Shape::Choice(&["TLSv1.2", "TLSv1.3"]);
const ALGORITHM: Shape = Shape::Choice(&["gzip", "brotli", "zstd"]);
const MBITS: Shape = int(0, 10_000_000);
const LATENCY: Shape = int(0, 3_600_000);

pub(crate) const NETWORK: &[Field] = &[
    sub(
        "topology",
        &[
            def("regions", list(&NETWORK_REGION, 256), "[]", "joined with multi_region by name = location"),
            sub(
                "latency_thresholds",
                &[
                    def("fast", LATENCY, "10", "milliseconds up to which a region is fast"),
                    def("medium", LATENCY, "50", "milliseconds up to which it is middling"),
                    def("slow", LATENCY, "100", "milliseconds above which it is avoided"),
                ],
                "what counts as near",
            ),
            sub(
                "bandwidth_allocation",
                &[
                    def("erlmcp_core", MBITS, "0", "guaranteed Mbit/s between gateways and nodes; 0: none"),
                    def("transports", MBITS, "0", "guaranteed Mbit/s of client traffic; 0: none"),
                    def("observability", MBITS, "0", "guaranteed Mbit/s of metrics, traces, logs; 0: none"),
                ],
                "their sum is the link; idle shares are lent",
            ),
        ],
        "regions, distances, bandwidth",
    ),
    sub(
        "tls",
        &[
            def("enabled", Shape::Bool, "false", "without a certificate: a warning, and plain listeners"),
            def(
                "cipher_suites",
                list(&SUITE, 3),
                "[TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256]",
                "in order of preference",
            ),
            def(
                "protocol_versions",
                list(&VERSION, 2),
                "[TLSv1.2, TLSv1.3]",
                "TLS 1.2 uses the same AEADs with ECDHE",
            ),
            def("ocsp_stapling", Shape::Bool, "true", "RFC 6066 section 8"),
            def("session_resumption", Shape::Bool, "true", "RFC 8446 section 2.2"),
        ],
        "for listeners with a certificate",
    ),
    sub(
        "compression",
        &[
            def("enabled", Shape::Bool, "false", "of replies; event streams are never compressed"),
            def("algorithms", list(&ALGORITHM, 3), "[gzip, brotli]", "in order of preference"),
            def("level", int(1, 9), "6", "1 is fast, 9 is small"),
            def("min_size", int(0, 1 << 30), "1024", "bytes below which a reply stays as it is"),
        ],
        "of replies",
    ),
];
