//! Looks into a JSON-RPC 2.0 message far enough to route it, without building a tree or allocating.
//!
//! Owns: [`scan`], which finds the method, the id and the few parameters that MCP mirrors in headers, and refuses what
//! two readers could understand differently; [`mcp`], the names that MCP gives to methods, versions and header values.
//! Never does: changing a message, or judging parameters that it does not route by.
//!
//! The grammar of all bytes seen is checked (RFC 8259), strings that are returned are valid UTF-8; others may not be.

mod batch;
mod cursor;
pub mod mcp;
mod scan;
mod text;

pub use batch::{BatchItems, batch_items};
pub use scan::{Id, Kind, Scan, scan};
pub use text::{Str, UnescapeError};

/// Deepest nesting that the scanner can follow at all: one bit of a `u128` per level.
pub const DEPTH_MAX: u8 = 128;

/// Bounds of a scan. The number of bytes is the caller's to bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Arrays and objects within each other; values above [`DEPTH_MAX`] mean that one.
    pub depth_max: u8,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { depth_max: 64 }
    }
}

/// Why a message is refused. Always the sender's fault; a retry cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("JSON refused: {}", self.reason())]
pub enum ScanError {
    /// Not JSON (RFC 8259).
    Syntax,
    /// Bytes other than white space follow the message.
    TrailingData,
    /// Nested deeper than the limit.
    TooDeep,
    /// A key that routing depends on occurs twice in one object: readers differ in which one counts.
    DuplicateKey,
    /// A string that routing depends on is not UTF-8.
    NotUtf8,
}

impl ScanError {
    /// Every variant, for counters.
    pub const ALL: [Self; 5] =
        [Self::Syntax, Self::TrailingData, Self::TooDeep, Self::DuplicateKey, Self::NotUtf8];

    /// A stable snake_case label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "json_syntax",
            Self::TrailingData => "json_trailing_data",
            Self::TooDeep => "json_too_deep",
            Self::DuplicateKey => "json_duplicate_key",
            Self::NotUtf8 => "json_not_utf8",
        }
    }
}
