//! The trailer section behind the last chunk (RFC 9112 section 7.1.2): checked always, kept only on request.

use super::error::BodyError;
use super::fields::is_token_byte;

/// Most bytes of a trailer section, line ends included.
pub const TRAILER_BYTES_MAX: u16 = 8192;

/// Reads the trailer section in any split; at most [`TRAILER_BYTES_MAX`] bytes.
#[derive(Debug)]
pub(super) struct TrailerScan {
    place: Place,
    bytes: u16,
    seen: u16,
    kept: Option<Box<Kept>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Name,
    Value,
    /// After the CR that ends a field.
    FieldLf,
    /// After the CR that ends the section.
    EndLf,
}

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<u8>,
    line_start: usize,
    dropping: bool,
}

impl TrailerScan {
    pub(super) const fn new() -> Self {
        Self { place: Place::LineStart, bytes: 0, seen: 0, kept: None }
    }

    pub(super) fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(super) const fn seen(&self) -> u16 {
        self.seen
    }

    pub(super) fn kept(&self) -> &[u8] {
        self.kept.as_deref().map_or(&[], |kept| &kept.lines)
    }

    /// Bytes taken, and whether the section has ended with them.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, bool), BodyError> {
        for (at, &byte) in input.iter().enumerate() {
            if self.bytes == TRAILER_BYTES_MAX {
                return Err(BodyError::TrailersTooLarge);
            }
            self.bytes += 1;
            self.place = match (self.place, byte) {
                (Place::EndLf, b'\n') => return Ok((at + 1, true)),
                (Place::LineStart, b'\r') => Place::EndLf,
                (Place::LineStart | Place::Name, byte) if is_token_byte(byte) => Place::Name,
                (Place::Name, b':') => {
                    self.seen += 1;
                    if let Some(kept) = &mut self.kept {
                        kept.judge_name();
                    }
                    Place::Value
                }
                (Place::Value, b'\r') => Place::FieldLf,
                (Place::Value, b'\t' | b' '..=0x7e | 0x80..) => Place::Value,
                (Place::FieldLf, b'\n') => Place::LineStart,
                (Place::LineStart | Place::Value, b'\n') => return Err(BodyError::BareLf),
                _ => return Err(BodyError::BadTrailer),
            };
            if let Some(kept) = &mut self.kept {
                kept.push(byte, self.place);
            }
        }
        Ok((input.len(), false))
    }
}

impl Kept {
    fn judge_name(&mut self) {
        if core::str::from_utf8(&self.lines[self.line_start..]).is_ok_and(|name| !is_forbidden_trailer(name))
        {
            return;
        }
        self.lines.truncate(self.line_start);
        self.dropping = true;
    }

    /// `place` is where `byte` led to.
    fn push(&mut self, byte: u8, place: Place) {
        if !self.dropping && place != Place::EndLf {
            self.lines.push(byte);
        }
        if place == Place::LineStart {
            self.line_start = self.lines.len();
            self.dropping = false;
        }
    }
}

/// Fields that must not be taken from trailers: framing, routing, authentication, content, hop-by-hop
/// (RFC 9110 section 6.5.1).
#[must_use]
pub fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 24] = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "vary",
        "via",
        "warning",
        "www-authenticate",
    ];
    let starts = |prefix: &str| {
        name.split_at_checked(prefix.len()).is_some_and(|(head, _)| head.eq_ignore_ascii_case(prefix))
    };
    super::is_hop_by_hop(name)
        || starts("if-")
        || starts("mcp-")
        || starts("x-forwarded-")
        || FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}
