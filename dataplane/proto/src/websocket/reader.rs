//! Reads messages for an endpoint: incremental, one message in memory at a time, bounded.

use super::close::{Close, parse_close};
use super::decoder::FrameDecoder;
use super::error::FrameError;
use super::frame::{CONTROL_BYTES_MAX, DataKind, FrameHeader, MaskKey, Opcode, Role};
use super::mask::apply_mask;
use super::utf8::Utf8Check;

/// Memory kept for the next message; what a longer one needed is given back.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A message or a control frame. Slices live until the reader is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'m> {
    /// A whole text message; checked to be UTF-8.
    Text(&'m [u8]),
    /// A whole binary message.
    Binary(&'m [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'m [u8]),
    /// Needs no answer.
    Pong(&'m [u8]),
    /// The peer sends nothing more; to be answered by a close frame. Further input is dropped.
    Close(Close<'m>),
}

/// An incremental reader of messages. An error is final: each later call repeats it.
#[derive(Debug)]
pub struct MessageReader {
    decoder: FrameDecoder,
    message_bytes_max: usize,
    /// The message so far, unmasked.
    message: Vec<u8>,
    kind: DataKind,
    text: Utf8Check,
    /// The control frame so far, unmasked.
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
    /// The frame under way.
    opcode: Opcode,
    fin: bool,
    mask: Option<MaskKey>,
    /// `message` was given out: clear it first.
    given: bool,
    closed: bool,
    failed: Option<FrameError>,
}

/// What ended with a frame.
enum Ended {
    Message,
    Control(Opcode),
}

impl MessageReader {
    /// A reader at the first byte behind the handshake; messages above `message_bytes_max` bytes are an error.
    #[must_use]
    pub const fn new(role: Role, message_bytes_max: usize) -> Self {
        Self {
            decoder: FrameDecoder::new(role),
            message_bytes_max,
            message: Vec::new(),
            kind: DataKind::Binary,
            text: Utf8Check::new(),
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
            opcode: Opcode::Binary,
            fin: true,
            mask: None,
            given: false,
            closed: false,
            failed: None,
        }
    }

    /// The peer's close frame was read.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes bytes from the front of `input` until a message is complete; `None` means that all of it was taken.
    ///
    /// # Errors
    /// The peer broke the protocol or the bound.
    pub fn next<'m, 'i: 'm>(&'m mut self, input: &mut &'i [u8]) -> Result<Option<Message<'m>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if core::mem::take(&mut self.given) {
            self.message.clear();
            if self.message.capacity() > KEPT_BYTES_MAX {
                self.message = Vec::new();
            }
        }
        match self.advance(input) {
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
            Ok(None) => Ok(None),
            Ok(Some(Ended::Message)) => {
                self.given = true;
                Ok(Some(match self.kind {
                    DataKind::Text => Message::Text(&self.message),
                    DataKind::Binary => Message::Binary(&self.message),
                }))
            }
            Ok(Some(Ended::Control(opcode))) => {
                let payload = &self.control[..usize::from(self.control_len)];
                Ok(Some(match opcode {
                    Opcode::Ping => Message::Ping(payload),
                    Opcode::Close => {
                        let close = parse_close(payload).inspect_err(|error| self.failed = Some(*error))?;
                        self.closed = true;
                        Message::Close(close)
                    }
                    _ => Message::Pong(payload),
                }))
            }
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Ended>, FrameError> {
        while !self.closed && !input.is_empty() {
            let decoded = self.decoder.decode(input)?;
            if let Some(header) = &decoded.header {
                self.begin(header)?;
            }
            self.take(&input[decoded.payload], decoded.payload_offset)?;
            *input = &input[decoded.consumed..];
            if !decoded.ended {
                continue;
            }
            if self.opcode.is_control() {
                return Ok(Some(Ended::Control(self.opcode)));
            }
            if self.fin {
                if !self.text.is_complete() {
                    return Err(FrameError::NotUtf8);
                }
                return Ok(Some(Ended::Message));
            }
        }
        *input = &[];
        Ok(None)
    }

    fn begin(&mut self, header: &FrameHeader) -> Result<(), FrameError> {
        self.opcode = header.opcode;
        self.mask = header.mask;
        match header.opcode {
            Opcode::Text => self.kind = DataKind::Text,
            Opcode::Binary => self.kind = DataKind::Binary,
            Opcode::Continuation => {}
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.control_len = 0;
                return Ok(());
            }
        }
        self.fin = header.fin;
        // What is there is within the bound.
        if header.payload_len > (self.message_bytes_max - self.message.len()) as u64 {
            return Err(FrameError::MessageTooLarge);
        }
        Ok(())
    }

    fn take(&mut self, payload: &[u8], offset: u64) -> Result<(), FrameError> {
        if self.opcode.is_control() {
            // The decoder lets no longer one pass: it fits, and so does its length.
            let start = usize::from(self.control_len);
            let part = &mut self.control[start..start + payload.len()];
            part.copy_from_slice(payload);
            if let Some(key) = self.mask {
                apply_mask(part, key, offset);
            }
            self.control_len += payload.len() as u8;
            return Ok(());
        }
        let start = self.message.len();
        self.message.extend_from_slice(payload);
        let part = &mut self.message[start..];
        if let Some(key) = self.mask {
            apply_mask(part, key, offset);
        }
        match self.kind {
            DataKind::Text => self.text.feed(part).map_err(|_| FrameError::NotUtf8),
            DataKind::Binary => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CloseCode;
    use super::super::write::{write_close, write_control, write_fragment, write_message};
    use super::*;

    #[test]
    fn messages_and_the_control_frames_between_their_fragments_are_read() {
        let mut bytes = Vec::new();
        write_fragment(&mut bytes, Some(DataKind::Text), false, None, "κό".as_bytes());
        write_control(&mut bytes, Opcode::Ping, None, b"are you there").expect("short");
        write_fragment(&mut bytes, None, true, None, "σμε".as_bytes());
        write_control(&mut bytes, Opcode::Pong, None, b"").expect("short");
        write_message(&mut bytes, DataKind::Binary, None, b"\xff");
        write_close(&mut bytes, None, Some(CloseCode::GOING_AWAY), "restart");
        write_message(&mut bytes, DataKind::Text, None, b"late");
        let mut reader = MessageReader::new(Role::Client, 1024);
        let mut input = bytes.as_slice();
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Ping(b"are you there"))));
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Text("κόσμε".as_bytes()))));
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Pong(b""))));
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Binary(b"\xff"))));
        let close = Close { code: Some(CloseCode::GOING_AWAY), reason: "restart" };
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Close(close))));
        assert!(reader.is_closed());
        assert_eq!(reader.next(&mut input), Ok(None));
        assert!(input.is_empty(), "what follows a close is dropped");
    }

    #[test]
    fn the_bound_holds_over_fragments_and_is_told_by_the_header() {
        let mut reader = MessageReader::new(Role::Client, 10);
        let mut input = b"\x02\x06abcdef\x80\x05".as_slice();
        assert_eq!(reader.next(&mut input), Err(FrameError::MessageTooLarge));
        assert_eq!(reader.next(&mut input), Err(FrameError::MessageTooLarge), "final");
        let mut reader = MessageReader::new(Role::Client, 11);
        let mut input = b"\x02\x06abcdef\x80\x05ghijk\x82\x0b01234567890".as_slice();
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Binary(b"abcdefghijk"))));
        assert_eq!(reader.next(&mut input), Ok(Some(Message::Binary(b"01234567890"))));
    }

    #[test]
    fn a_long_message_gives_its_memory_back() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, DataKind::Binary, None, &vec![0; 4 * KEPT_BYTES_MAX]);
        let mut reader = MessageReader::new(Role::Client, 1 << 20);
        let mut input = bytes.as_slice();
        assert!(matches!(reader.next(&mut input), Ok(Some(Message::Binary(_)))));
        assert_eq!(reader.next(&mut input), Ok(None));
        assert!(reader.message.capacity() <= KEPT_BYTES_MAX);
    }

    #[test]
    fn text_fails_at_the_first_byte_that_nothing_can_mend() {
        let mut reader = MessageReader::new(Role::Client, 1024);
        // The message goes on, and would for 90 bytes more.
        let mut input = b"\x81\x64\xce\xba\xed\xa0".as_slice();
        assert_eq!(reader.next(&mut input), Err(FrameError::NotUtf8));
        let mut reader = MessageReader::new(Role::Client, 1024);
        let mut input = b"\x81\x01\xce".as_slice();
        assert_eq!(reader.next(&mut input), Err(FrameError::NotUtf8), "cut inside a character");
    }
}
