//! Finds the ends of events in a stream that passes by, without keeping any of it.

use super::BOM;

/// What one call of [`EventFramer::feed`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Events completed in this input; blocks of comments alone are not counted.
    pub events: u32,
    /// Offset just after the last complete event or comment block of this input: something else may be inserted there.
    pub boundary: Option<usize>,
    /// An event, complete or not, exceeded the bound.
    pub oversized: bool,
}

/// Follows the block structure of an event stream.
#[derive(Clone, Debug)]
pub struct EventFramer {
    event_bytes_max: usize,
    /// Bytes since the last boundary, up to the end of the last input.
    event_bytes: usize,
    line: Line,
    /// The block holds a line that is no comment.
    has_field: bool,
    /// The last byte was a CR that ended a line of a block: an LF next belongs to it. Behind a CR that ended the block
    /// itself, an LF is as good as another blank line.
    after_cr: bool,
    /// Bytes of the byte order mark seen; 3 once it is seen or ruled out.
    bom: u8,
}

// Part of every relayed stream: it must stay small.
const _: () = assert!(size_of::<EventFramer>() <= 24);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Inside,
}

impl EventFramer {
    /// A framer at the start of a stream; events above `event_bytes_max` bytes are reported as oversized.
    #[must_use]
    pub const fn new(event_bytes_max: usize) -> Self {
        Self { event_bytes_max, event_bytes: 0, line: Line::Start, has_field: false, after_cr: false, bom: 0 }
    }

    /// No event is under way: a comment may be inserted here without breaking one.
    ///
    /// Also true before the first byte, where an insertion would push a byte order mark out of its place.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.event_bytes == 0
    }

    /// Looks at the next bytes of the stream.
    pub fn feed(&mut self, input: &[u8]) -> Fed {
        let mut fed = Fed::default();
        // Where the current block starts in this input; what came before is in `event_bytes`.
        let mut block_start = 0;
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if core::mem::take(&mut self.after_cr) && byte == b'\n' {
                at += 1;
                continue;
            }
            if self.bom < 3 {
                if byte == BOM[usize::from(self.bom)] {
                    self.bom += 1;
                    at += 1;
                    continue;
                }
                if self.bom > 0 {
                    self.enter_field();
                }
                self.bom = 3;
            }
            if self.line == Line::Start {
                match byte {
                    b'\r' | b'\n' => {
                        at += 1;
                        fed.oversized |= self.event_bytes + (at - block_start) > self.event_bytes_max;
                        fed.events += u32::from(self.has_field);
                        fed.boundary = Some(at);
                        block_start = at;
                        self.event_bytes = 0;
                        self.has_field = false;
                        continue;
                    }
                    b':' => self.line = Line::Inside,
                    _ => self.enter_field(),
                }
            }
            match memchr::memchr2(b'\r', b'\n', &input[at..]) {
                Some(len) => {
                    self.after_cr = input[at + len] == b'\r';
                    self.line = Line::Start;
                    at += len + 1;
                }
                None => at = input.len(),
            }
        }
        self.event_bytes = self.event_bytes.saturating_add(input.len() - block_start);
        fed.oversized |= self.event_bytes > self.event_bytes_max;
        fed
    }

    const fn enter_field(&mut self) {
        self.line = Line::Inside;
        self.has_field = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_lie_behind_each_block() {
        let table: &[(&[u8], u32, Option<usize>, bool)] = &[
            (b"data: a\n\n", 1, Some(9), true),
            (b"data: a\r\n\r\n", 1, Some(11), true),
            (b"data: a\r\r", 1, Some(9), true),
            (b"data: a\n\ndata: b", 1, Some(9), false),
            (b"data: a\n", 0, None, false),
            (b": ping\n\n", 0, Some(8), true),
            (b"data: a\n\n: ping\n\n\n", 1, Some(18), true),
            (b"\n\n\n", 0, Some(3), true),
            (b"\xEF\xBB\xBF: c\n\n", 0, Some(8), true),
            (b"\xEF\xBB: c\n\n", 1, Some(7), true),
            (b"", 0, None, true),
        ];
        for (input, events, boundary, at_boundary) in table {
            let mut framer = EventFramer::new(64);
            let fed = framer.feed(input);
            assert_eq!((fed.events, fed.boundary), (*events, *boundary), "{}", input.escape_ascii());
            assert_eq!(framer.at_boundary(), *at_boundary, "{}", input.escape_ascii());
            assert!(!fed.oversized);
        }
    }

    #[test]
    fn an_lf_behind_a_closing_cr_moves_the_boundary() {
        let mut framer = EventFramer::new(64);
        assert_eq!(framer.feed(b"data: a\r\n\r").boundary, Some(10));
        assert!(framer.at_boundary());
        assert_eq!(framer.feed(b"\ndata: b"), Fed { events: 0, boundary: Some(1), oversized: false });
        assert!(!framer.at_boundary());
    }

    #[test]
    fn the_bound_holds_for_finished_and_unfinished_events() {
        let mut framer = EventFramer::new(9);
        assert!(!framer.feed(b"data: a\n\n").oversized, "exactly the bound");
        assert!(framer.feed(b"data: ab\n\n").oversized);
        assert!(!framer.feed(b"data: abc").oversized);
        assert!(framer.feed(b"d").oversized);
        assert!(framer.feed(b"\n\n").oversized, "told again when it ends");
        assert!(!framer.feed(b"data: a\n\n").oversized);
    }
}
