//! Reads events for a client: incremental, one event in memory at a time, bounded.

use super::BOM;

/// An event, ready to be acted upon. Slices live until the parser is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'p> {
    /// The `event` field; empty means `message`. Not checked for UTF-8.
    pub name: &'p [u8],
    /// The `data` lines, joined by LF. Not checked for UTF-8.
    pub data: &'p [u8],
    /// The last `id` of the stream so far; empty when there was none.
    pub id: &'p [u8],
}

/// Why a stream cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is longer than the bound.
    #[error("event stream refused: an event is longer than {event_bytes_max} bytes")]
    EventTooLarge {
        /// The bound.
        event_bytes_max: usize,
    },
}

/// An incremental reader of events.
#[derive(Debug)]
pub struct EventParser {
    event_bytes_max: usize,
    /// Bytes of the block so far, line ends included.
    block_bytes: usize,
    /// The part of a line that earlier inputs brought.
    line: Vec<u8>,
    name: Vec<u8>,
    /// Each data line with an LF behind it.
    data: Vec<u8>,
    id: Vec<u8>,
    retry_ms: Option<u64>,
    after_cr: bool,
    first_line: bool,
    /// The event in `name` and `data` was given out: clear it first.
    given: bool,
    failed: bool,
}

impl EventParser {
    /// A parser at the start of a stream. Blocks above `event_bytes_max` bytes, line ends included, are an error.
    #[must_use]
    pub const fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            block_bytes: 0,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            id: Vec::new(),
            retry_ms: None,
            after_cr: false,
            first_line: true,
            given: false,
            failed: false,
        }
    }

    /// Begins another stream, as a new parser would; memory is kept.
    pub fn restart(&mut self) {
        let (mut line, mut name) = (core::mem::take(&mut self.line), core::mem::take(&mut self.name));
        let (mut data, mut id) = (core::mem::take(&mut self.data), core::mem::take(&mut self.id));
        for text in [&mut line, &mut name, &mut data, &mut id] {
            text.clear();
        }
        *self = Self { line, name, data, id, ..Self::new(self.event_bytes_max) };
    }

    /// The last `retry` field: how long to wait before reconnecting, in milliseconds.
    #[must_use]
    pub const fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The last `id` field, to be sent as `Last-Event-ID`; empty when there was none.
    #[must_use]
    pub fn last_event_id(&self) -> &[u8] {
        &self.id
    }

    /// Takes bytes from the front of `input` until an event is complete; `None` means that all of it was taken.
    ///
    /// # Errors
    /// [`SseError::EventTooLarge`]; it is final.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event<'_>>, SseError> {
        if self.given {
            self.given = false;
            self.name.clear();
            self.data.clear();
        }
        while !input.is_empty() {
            if core::mem::take(&mut self.after_cr) && input[0] == b'\n' {
                *input = &input[1..];
                continue;
            }
            let Some(len) = memchr::memchr2(b'\r', b'\n', input) else {
                self.count(input.len())?;
                self.line.extend_from_slice(input);
                *input = &[];
                break;
            };
            self.count(len + 1)?;
            let (line, rest) = input.split_at(len);
            self.after_cr = rest[0] == b'\r';
            *input = &rest[1..];
            if self.take_line(line) {
                self.given = true;
                return Ok(Some(self.event()));
            }
        }
        Ok(None)
    }

    fn event(&self) -> Event<'_> {
        let data = self.data.strip_suffix(b"\n").unwrap_or(&self.data);
        Event { name: &self.name, data, id: &self.id }
    }

    fn count(&mut self, bytes: usize) -> Result<(), SseError> {
        self.block_bytes = self.block_bytes.saturating_add(bytes);
        self.failed |= self.block_bytes > self.event_bytes_max;
        if self.failed {
            return Err(SseError::EventTooLarge { event_bytes_max: self.event_bytes_max });
        }
        Ok(())
    }

    /// Takes a line whose end is `tail`; true when it completes an event.
    fn take_line(&mut self, tail: &[u8]) -> bool {
        let mut held = core::mem::take(&mut self.line);
        let whole = if held.is_empty() {
            tail
        } else {
            held.extend_from_slice(tail);
            &held
        };
        let line = if core::mem::take(&mut self.first_line) {
            whole.strip_prefix(&BOM).unwrap_or(whole)
        } else {
            whole
        };
        let complete = line.is_empty() && self.end_block();
        if !line.is_empty() {
            self.take_field(line);
        }
        // Keep the allocation for the next line.
        held.clear();
        self.line = held;
        complete
    }

    /// A blank line: an event without data is dropped, as the standard says.
    fn end_block(&mut self) -> bool {
        self.block_bytes = 0;
        if self.data.is_empty() {
            self.name.clear();
            return false;
        }
        true
    }

    fn take_field(&mut self, line: &[u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"id" if memchr::memchr(0, value).is_none() => {
                self.id.clear();
                self.id.extend_from_slice(value);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = core::str::from_utf8(value).ok();
                // Digits beyond 64 bits are ignored, like any other value that makes no sense.
                self.retry_ms = text.and_then(|text| text.parse().ok()).or(self.retry_ms);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumable_stream_is_read() {
        let mut parser = EventParser::new(1024);
        let mut input: &[u8] =
            b"id: 1\nretry: 500\ndata:\n\nevent: message\ndata: {}\n\n: ping\n\nid\ndata: a\ndata: b\n\n";
        let priming = Event { name: b"", data: b"", id: b"1" };
        assert_eq!(parser.next(&mut input), Ok(Some(priming)));
        assert_eq!(parser.retry_ms(), Some(500));
        let message = Event { name: b"message", data: b"{}", id: b"1" };
        assert_eq!(parser.next(&mut input), Ok(Some(message)));
        assert_eq!(parser.last_event_id(), b"1");
        let reset = Event { name: b"", data: b"a\nb", id: b"" };
        assert_eq!(parser.next(&mut input), Ok(Some(reset)));
        assert_eq!(parser.next(&mut input), Ok(None));
        assert!(input.is_empty());
    }

    #[test]
    fn a_restarted_parser_knows_nothing_of_the_stream_before() {
        let streams: [&[u8]; 4] = [
            b"id: 1\nevent: e\nretry: 5\ndata: a\n\n",
            b"id: 1\nevent: e\ndata: half a li",
            b"data: a\r",
            b"data: longer than the bound of the parser allows",
        ];
        for before in streams {
            let mut parser = EventParser::new(40);
            let mut input = before;
            let _ = parser.next(&mut input);
            parser.restart();
            let mut input: &[u8] = b"\ndata: b\n\n";
            assert_eq!(parser.next(&mut input), Ok(Some(Event { name: b"", data: b"b", id: b"" })));
            assert_eq!(parser.retry_ms(), None);
        }
    }

    #[test]
    fn an_endless_event_ends_the_stream_for_good() {
        for piece in [1, 5, 100] {
            let mut parser = EventParser::new(20);
            let mut outcome = Ok(());
            for mut part in b"data: 1\n\ndata: 0123456789012345\n\ndata: 2\n\n".chunks(piece) {
                outcome = loop {
                    match parser.next(&mut part) {
                        Ok(Some(_)) => {}
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
            }
            assert_eq!(outcome, Err(SseError::EventTooLarge { event_bytes_max: 20 }), "pieces of {piece}");
        }
    }
}
