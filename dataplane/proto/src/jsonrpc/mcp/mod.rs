//! Names that MCP gives to methods, protocol versions and mirrored header values (both eras: up to 2025-11-25, and
//! 2026-07-28).
//!
//! Owns: tables and the header value encoding. Never does: deciding what a method may do; routing and caching read the
//! facts here and decide elsewhere.

mod header;
mod method;
mod version;

pub use header::{HeaderValueError, decode_header_value, encode_header_value, header_value_means};
pub use method::{Method, Mirror};
pub use version::Version;
