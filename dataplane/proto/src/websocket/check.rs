//! What a relay runs beside frames that it forwards unchanged: the rules that need payloads, without keeping any.

use super::close::CloseCheck;
use super::decoder::FrameDecoder;
use super::error::FrameError;
use super::frame::{DataKind, FrameHeader, MaskKey, Opcode, Role};
use super::mask::apply_mask;
use super::utf8::Utf8Check;

/// Payload unmasked at a time, on the stack.
const SCRATCH_BYTES: usize = 512;

/// Checks one direction of a connection. An error is final: each later call repeats it.
///
/// Enforces what [`FrameDecoder`] does, a bound on messages, UTF-8 in text, and what a close frame may say.
#[derive(Clone, Debug)]
pub struct RelayCheck {
    decoder: FrameDecoder,
    message_bytes_max: u64,
    /// Declared payload of the message so far.
    message_bytes: u64,
    /// Of the frame under way.
    mask: Option<MaskKey>,
    inside: Inside,
    /// Text of the message so far; kept while control frames pass.
    text: Utf8Check,
    /// A close frame went by: nothing after it is forwarded.
    closed: bool,
    failed: Option<FrameError>,
}

// Part of every relay, twice: it must stay small.
const _: () = assert!(size_of::<RelayCheck>() <= 80);

/// What the frame under way is.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// Of a message; `last` ends it.
    Data {
        is_text: bool,
        last: bool,
    },
    /// A ping or a pong.
    Heartbeat,
    Close(CloseCheck),
}

/// What one call of [`RelayCheck::feed`] saw. All counts are of this call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of the input to forward: all, or those up to the end of the close frame.
    pub forward: usize,
    /// End of the last frame that ended, within the input: a control frame may be inserted there.
    pub boundary: Option<usize>,
    /// Messages that ended.
    pub messages: u32,
    /// Pings and pongs that ended.
    pub heartbeats: u32,
    /// A close frame has been seen, in this call or before.
    pub closed: bool,
}

impl RelayCheck {
    /// A check at the first byte behind the handshake; messages above `message_bytes_max` bytes are refused, fragments
    /// added up.
    #[must_use]
    pub const fn new(role: Role, message_bytes_max: u64) -> Self {
        Self {
            decoder: FrameDecoder::new(role),
            message_bytes_max,
            message_bytes: 0,
            mask: None,
            inside: Inside::Heartbeat,
            text: Utf8Check::new(),
            closed: false,
            failed: None,
        }
    }

    /// No frame is under way: a control frame may be inserted here.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.decoder.at_boundary()
    }

    /// Looks at the next bytes of the stream.
    ///
    /// # Errors
    /// The peer broke the protocol or a bound. Nothing of this input may be forwarded.
    pub fn feed(&mut self, input: &[u8]) -> Result<Checked, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.look(input).inspect_err(|error| self.failed = Some(*error))
    }

    fn look(&mut self, input: &[u8]) -> Result<Checked, FrameError> {
        let mut checked = Checked { closed: self.closed, ..Checked::default() };
        while !self.closed && checked.forward < input.len() {
            let rest = &input[checked.forward..];
            let message = self.decoder.message();
            let decoded = self.decoder.decode(rest)?;
            if let Some(header) = &decoded.header {
                self.begin(header, message)?;
            }
            self.look_into(&rest[decoded.payload], decoded.payload_offset)?;
            checked.forward += decoded.consumed;
            if decoded.ended {
                checked.boundary = Some(checked.forward);
                self.end(&mut checked)?;
            }
        }
        Ok(checked)
    }

    /// `message` is what was under way before this frame.
    fn begin(&mut self, header: &FrameHeader, message: Option<DataKind>) -> Result<(), FrameError> {
        self.mask = header.mask;
        let kind = match header.opcode {
            Opcode::Close => {
                self.inside = Inside::Close(CloseCheck::default());
                return Ok(());
            }
            Opcode::Ping | Opcode::Pong => {
                self.inside = Inside::Heartbeat;
                return Ok(());
            }
            Opcode::Text => Some(DataKind::Text),
            Opcode::Binary => Some(DataKind::Binary),
            Opcode::Continuation => message,
        };
        self.inside = Inside::Data { is_text: kind == Some(DataKind::Text), last: header.fin };
        // Both are below 2^63.
        self.message_bytes += header.payload_len;
        if self.message_bytes > self.message_bytes_max {
            return Err(FrameError::MessageTooLarge);
        }
        Ok(())
    }

    /// Checks payload that has a meaning here, unmasking it in a copy.
    fn look_into(&mut self, payload: &[u8], mut offset: u64) -> Result<(), FrameError> {
        if matches!(self.inside, Inside::Heartbeat | Inside::Data { is_text: false, .. }) {
            return Ok(());
        }
        let Some(key) = self.mask else { return self.take(payload) };
        let mut scratch = [0; SCRATCH_BYTES];
        for part in payload.chunks(SCRATCH_BYTES) {
            let plain = &mut scratch[..part.len()];
            plain.copy_from_slice(part);
            apply_mask(plain, key, offset);
            offset += part.len() as u64;
            self.take(plain)?;
        }
        Ok(())
    }

    fn take(&mut self, plain: &[u8]) -> Result<(), FrameError> {
        match &mut self.inside {
            Inside::Close(close) => close.feed(plain),
            Inside::Data { is_text: true, .. } => self.text.feed(plain).map_err(|_| FrameError::NotUtf8),
            Inside::Data { .. } | Inside::Heartbeat => Ok(()),
        }
    }

    fn end(&mut self, checked: &mut Checked) -> Result<(), FrameError> {
        match self.inside {
            Inside::Heartbeat => checked.heartbeats += 1,
            Inside::Close(close) => {
                close.end()?;
                self.closed = true;
                checked.closed = true;
            }
            Inside::Data { last: true, .. } if !self.text.is_complete() => return Err(FrameError::NotUtf8),
            Inside::Data { last: true, .. } => {
                checked.messages += 1;
                self.message_bytes = 0;
            }
            Inside::Data { last: false, .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::{write_close, write_control, write_fragment, write_message};
    use super::super::{CloseCode, Opcode};
    use super::*;

    const MASK: Option<MaskKey> = Some([1, 2, 3, 4]);

    fn control(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_control(&mut out, opcode, MASK, payload).expect("short enough");
        out
    }

    #[test]
    fn a_conversation_passes_and_nothing_behind_its_close() {
        let mut input = Vec::new();
        write_fragment(&mut input, Some(DataKind::Text), false, MASK, "ü".as_bytes());
        input.extend(control(Opcode::Ping, &[0xff; 125]));
        write_fragment(&mut input, None, true, MASK, b"");
        write_message(&mut input, DataKind::Binary, MASK, &[0xff; 2000]);
        write_close(&mut input, MASK, Some(CloseCode::NORMAL), "bye");
        let end = input.len();
        write_message(&mut input, DataKind::Text, MASK, b"late");
        let mut check = RelayCheck::new(Role::Server, 2000);
        let checked = check.feed(&input).expect("a good conversation");
        let expected =
            Checked { forward: end, boundary: Some(end), messages: 2, heartbeats: 1, closed: true };
        assert_eq!(checked, expected);
        assert_eq!(check.feed(b"\xff"), Ok(Checked { closed: true, ..Checked::default() }));
    }

    #[test]
    fn fragments_count_together_against_the_bound_before_their_payload() {
        let mut input = Vec::new();
        write_fragment(&mut input, Some(DataKind::Binary), false, MASK, &[0; 6]);
        write_fragment(&mut input, None, true, MASK, &[0; 5]);
        let second = input.len() - 5;
        let mut check = RelayCheck::new(Role::Server, 10);
        assert_eq!(check.feed(&input[..second]), Err(FrameError::MessageTooLarge), "told by the header");
        assert_eq!(check.feed(b""), Err(FrameError::MessageTooLarge), "final");
        assert!(RelayCheck::new(Role::Server, 11).feed(&input).is_ok());
    }

    #[test]
    fn text_is_checked_through_masks_fragments_and_scratch_ends() {
        let text = format!("{}ü{}", "a".repeat(SCRATCH_BYTES - 1), "b".repeat(9));
        for cut in [1, SCRATCH_BYTES - 1, SCRATCH_BYTES, SCRATCH_BYTES + 1] {
            let mut input = Vec::new();
            write_fragment(&mut input, Some(DataKind::Text), false, MASK, &text.as_bytes()[..cut]);
            write_fragment(&mut input, None, true, MASK, &text.as_bytes()[cut..]);
            assert!(RelayCheck::new(Role::Server, 1 << 20).feed(&input).is_ok(), "cut at {cut}");
        }
        let mut cut_off = Vec::new();
        write_message(&mut cut_off, DataKind::Text, MASK, &text.as_bytes()[..SCRATCH_BYTES]);
        assert_eq!(RelayCheck::new(Role::Server, 1 << 20).feed(&cut_off), Err(FrameError::NotUtf8));
    }
}
