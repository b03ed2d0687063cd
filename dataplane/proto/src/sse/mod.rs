//! Server-sent events (WHATWG HTML, section 9.2): where events end, and what they say.
//!
//! Owns: [`EventFramer`], which a relay runs beside the bytes that it forwards unchanged; [`EventParser`], which a
//! client runs to read events; [`write_event`]. Never does: reconnecting, timing, or holding more than one event.
//! Lines end in CR, LF or CR LF, in any mixture; one leading byte order mark is skipped.

mod framer;
mod parser;
mod write;

pub use framer::{EventFramer, Fed};
pub use parser::{Event, EventParser, SseError};
pub use write::{KEEP_ALIVE, write_event};

/// Bound on one event that suits MCP: a tool result of a few megabytes passes.
pub const EVENT_BYTES_MAX_DEFAULT: usize = 16 * 1024 * 1024;

/// The byte order mark, in UTF-8.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];
