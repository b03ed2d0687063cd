//! Cuts frames out of the bytes that carry them, with the rules of RFC 6455 section 5 that need no payload.
//!
//! Owns: where frames and payloads lie, and which frame may follow which. Never does: copying or unmasking a payload,
//! or bounding a message (see [`super::RelayCheck`], [`super::MessageReader`]). Each byte of a header is judged as soon
//! as it is there, so that a peer which sends garbage is not waited for.

use core::ops::Range;

use super::error::FrameError;
use super::frame::{CONTROL_BYTES_MAX, DataKind, FrameHeader, HEADER_BYTES_MAX, Opcode, Role};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// The length follows in two bytes.
const LENGTH_16: u8 = 126;
/// The length follows in eight bytes.
const LENGTH_64: u8 = 127;

/// What one call of [`FrameDecoder::decode`] found: at most one header, and payload of at most one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are dealt with, payload included; call again with the rest.
    pub consumed: usize,
    /// The header that this call completed.
    pub header: Option<FrameHeader>,
    /// Payload within the input, still masked; it belongs to the frame of the latest header.
    pub payload: Range<usize>,
    /// Where that payload begins within its frame: what [`super::apply_mask`] takes.
    pub payload_offset: u64,
    /// The frame ends with this payload.
    pub ended: bool,
}

/// State of one direction of a connection. An error is final: each later call repeats it.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    role: Role,
    state: State,
    /// The message that a continuation would go on with.
    message: Option<DataKind>,
}

// Part of every relay: it must stay small.
const _: () = assert!(size_of::<FrameDecoder>() <= 32);

#[derive(Clone, Copy, Debug)]
enum State {
    Header { bytes: [u8; HEADER_BYTES_MAX], len: u8 },
    Payload { done: u64, left: u64 },
    Failed(FrameError),
}

const START: State = State::Header { bytes: [0; HEADER_BYTES_MAX], len: 0 };

impl FrameDecoder {
    /// A decoder at the first byte behind the handshake, for whoever reads as `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, state: START, message: None }
    }

    /// No frame is under way: another may be inserted here, a data frame only if no message is under way either.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        matches!(self.state, State::Header { len: 0, .. })
    }

    /// The message whose frames have not all begun yet.
    #[must_use]
    pub const fn message(&self) -> Option<DataKind> {
        self.message
    }

    /// Takes the next piece from the start of `input`. All of it is consumed unless a frame ends before its end.
    ///
    /// # Errors
    /// The peer broke the protocol; what this call saw is lost and the connection must fail.
    #[inline]
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, FrameError> {
        let header = match &mut self.state {
            State::Payload { .. } => None,
            State::Failed(error) => return Err(*error),
            State::Header { bytes, len } => match take_header(self.role, self.message, bytes, len, input) {
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
                Ok((consumed, None)) => {
                    let payload = consumed..consumed;
                    return Ok(Decoded { consumed, header: None, payload, payload_offset: 0, ended: false });
                }
                Ok((consumed, Some(header))) => {
                    self.enter(header);
                    Some((consumed, header))
                }
            },
        };
        let (start, header) = header.map_or((0, None), |(start, header)| (start, Some(header)));
        let State::Payload { done, left } = &mut self.state else {
            // A header that ends a frame of no payload.
            return Ok(Decoded {
                consumed: start,
                header,
                payload: start..start,
                payload_offset: 0,
                ended: true,
            });
        };
        // At most the input's length: the cast keeps it.
        let taken = (*left).min((input.len() - start) as u64);
        let payload_offset = *done;
        *done += taken;
        *left -= taken;
        let ended = *left == 0;
        if ended {
            self.state = START;
        }
        let consumed = start + taken as usize;
        Ok(Decoded { consumed, header, payload: start..consumed, payload_offset, ended })
    }

    const fn enter(&mut self, header: FrameHeader) {
        match header.opcode {
            Opcode::Text if !header.fin => self.message = Some(DataKind::Text),
            Opcode::Binary if !header.fin => self.message = Some(DataKind::Binary),
            Opcode::Continuation if header.fin => self.message = None,
            _ => {}
        }
        self.state = match header.payload_len {
            0 => START,
            left => State::Payload { done: 0, left },
        };
    }
}

/// Moves header bytes from `input` to `bytes`; how many of them, and the header once it is whole.
fn take_header(
    role: Role,
    message: Option<DataKind>,
    bytes: &mut [u8; HEADER_BYTES_MAX],
    len: &mut u8,
    input: &[u8],
) -> Result<(usize, Option<FrameHeader>), FrameError> {
    let mut consumed = 0;
    for &byte in input {
        let at = usize::from(*len);
        bytes[at] = byte;
        *len += 1;
        consumed += 1;
        let extended = extended_len(bytes[1]);
        match at {
            0 => check_first(byte, message)?,
            1 => check_second(role, bytes[0], byte)?,
            _ if at + 1 == 2 + extended => check_length(payload_len(bytes))?,
            _ => {}
        }
        let masked = bytes[1] & MASKED != 0;
        if at >= 1 && at + 1 == 2 + extended + if masked { 4 } else { 0 } {
            return Ok((consumed, header(bytes)));
        }
    }
    Ok((consumed, None))
}

fn check_first(byte: u8, message: Option<DataKind>) -> Result<(), FrameError> {
    if byte & RESERVED != 0 {
        return Err(FrameError::ReservedBit);
    }
    match Opcode::from_bits(byte & OPCODE) {
        None => Err(FrameError::ReservedOpcode),
        Some(opcode) if opcode.is_control() && byte & FIN == 0 => Err(FrameError::ControlFragmented),
        Some(Opcode::Continuation) if message.is_none() => Err(FrameError::ContinuationUnexpected),
        Some(Opcode::Text | Opcode::Binary) if message.is_some() => Err(FrameError::MessageUnfinished),
        Some(_) => Ok(()),
    }
}

fn check_second(role: Role, first: u8, byte: u8) -> Result<(), FrameError> {
    match (role, byte & MASKED != 0) {
        (Role::Server, false) => return Err(FrameError::MaskMissing),
        (Role::Client, true) => return Err(FrameError::MaskUnexpected),
        _ => {}
    }
    let is_control = Opcode::from_bits(first & OPCODE).is_some_and(Opcode::is_control);
    if is_control && usize::from(byte & LENGTH) > CONTROL_BYTES_MAX {
        return Err(FrameError::ControlTooLong);
    }
    Ok(())
}

const fn check_length((len, extended): (u64, usize)) -> Result<(), FrameError> {
    match extended {
        2 if len < LENGTH_16 as u64 => Err(FrameError::LengthNotMinimal),
        8 if len <= u16::MAX as u64 => Err(FrameError::LengthNotMinimal),
        8 if len > i64::MAX as u64 => Err(FrameError::LengthTooLarge),
        _ => Ok(()),
    }
}

/// Bytes of the length behind the first two, by the second.
const fn extended_len(second: u8) -> usize {
    match second & LENGTH {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    }
}

/// The length of a header that is whole at least up to there, and in how many further bytes it stands.
fn payload_len(bytes: &[u8; HEADER_BYTES_MAX]) -> (u64, usize) {
    let extended = extended_len(bytes[1]);
    let len = match extended {
        0 => u64::from(bytes[1] & LENGTH),
        _ => bytes[2..2 + extended].iter().fold(0, |len, &byte| len << 8 | u64::from(byte)),
    };
    (len, extended)
}

/// Reads a header that is whole and passed every check.
fn header(bytes: &[u8; HEADER_BYTES_MAX]) -> Option<FrameHeader> {
    let (payload_len, extended) = payload_len(bytes);
    let mask = if bytes[1] & MASKED == 0 { None } else { bytes[2 + extended..].first_chunk().copied() };
    // The opcode was checked when its byte came: it is always there.
    let opcode = Opcode::from_bits(bytes[0] & OPCODE)?;
    Some(FrameHeader { fin: bytes[0] & FIN != 0, opcode, mask, payload_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(role: Role, input: &[u8]) -> Result<Vec<FrameHeader>, FrameError> {
        let mut decoder = FrameDecoder::new(role);
        let (mut at, mut headers) = (0, Vec::new());
        while at < input.len() {
            let decoded = decoder.decode(&input[at..])?;
            headers.extend(decoded.header);
            at += decoded.consumed;
        }
        Ok(headers)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let plain = |fin, opcode, payload_len| FrameHeader { fin, opcode, mask: None, payload_len };
        let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
        let read = |input: &[u8]| decode_all(Role::Client, input);
        assert_eq!(read(b"\x81\x05Hello"), Ok(vec![plain(true, Opcode::Text, 5)]));
        assert_eq!(
            decode_all(Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            Ok(vec![FrameHeader { fin: true, opcode: Opcode::Text, mask, payload_len: 5 }])
        );
        assert_eq!(
            read(b"\x01\x03Hel\x80\x02lo"),
            Ok(vec![plain(false, Opcode::Text, 3), plain(true, Opcode::Continuation, 2)])
        );
        assert_eq!(read(b"\x89\x05Hello"), Ok(vec![plain(true, Opcode::Ping, 5)]));
        assert_eq!(
            decode_all(Role::Server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            Ok(vec![FrameHeader { fin: true, opcode: Opcode::Pong, mask, payload_len: 5 }])
        );
        assert_eq!(read(b"\x82\x7e\x01\x00"), Ok(vec![plain(true, Opcode::Binary, 256)]));
        assert_eq!(
            read(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
            Ok(vec![plain(true, Opcode::Binary, 65_536)])
        );
    }

    #[test]
    fn each_rule_of_section_5_is_enforced_at_its_byte() {
        let table: &[(Role, &[u8], FrameError)] = &[
            (Role::Client, b"\xc1", FrameError::ReservedBit),
            (Role::Client, b"\xa1", FrameError::ReservedBit),
            (Role::Client, b"\x91", FrameError::ReservedBit),
            (Role::Client, b"\x83", FrameError::ReservedOpcode),
            (Role::Client, b"\x87", FrameError::ReservedOpcode),
            (Role::Client, b"\x8b", FrameError::ReservedOpcode),
            (Role::Client, b"\x8f", FrameError::ReservedOpcode),
            (Role::Client, b"\x08", FrameError::ControlFragmented),
            (Role::Client, b"\x09", FrameError::ControlFragmented),
            (Role::Client, b"\x80", FrameError::ContinuationUnexpected),
            (Role::Client, b"\x00", FrameError::ContinuationUnexpected),
            (Role::Client, b"\x01\x00\x01", FrameError::MessageUnfinished),
            (Role::Client, b"\x01\x00\x82", FrameError::MessageUnfinished),
            (Role::Client, b"\x01\x00\x80\x00\x80", FrameError::ContinuationUnexpected),
            (Role::Client, b"\x81\x80", FrameError::MaskUnexpected),
            (Role::Server, b"\x81\x00", FrameError::MaskMissing),
            (Role::Client, b"\x89\x7e", FrameError::ControlTooLong),
            (Role::Client, b"\x88\x7f", FrameError::ControlTooLong),
            (Role::Client, b"\x82\x7e\x00\x7d", FrameError::LengthNotMinimal),
            (Role::Server, b"\x82\xfe\x00\x7d", FrameError::LengthNotMinimal),
            (Role::Client, b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", FrameError::LengthNotMinimal),
            (Role::Client, b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", FrameError::LengthTooLarge),
        ];
        for (role, input, error) in table {
            assert_eq!(decode_all(*role, input), Err(*error), "{}", input.escape_ascii());
            let before = decode_all(*role, &input[..input.len() - 1]);
            assert!(before.is_ok(), "{} is refused too early", input.escape_ascii());
        }
        let longest_control = [b"\x89\x7d".as_slice(), &[0; 125]].concat();
        assert!(decode_all(Role::Client, &longest_control).is_ok());
        assert!(decode_all(Role::Client, b"\x82\x7e\x00\x7e").is_ok(), "126 needs two bytes");
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = FrameDecoder::new(Role::Client);
        assert_eq!(decoder.decode(b"\xff"), Err(FrameError::ReservedBit));
        assert_eq!(decoder.decode(b"\x81\x00"), Err(FrameError::ReservedBit));
        assert!(!decoder.at_boundary());
    }

    #[test]
    fn a_control_frame_between_fragments_leaves_the_message_open() {
        let mut decoder = FrameDecoder::new(Role::Client);
        for (input, message) in [
            (b"\x01\x01a".as_slice(), Some(DataKind::Text)),
            (b"\x89\x00", Some(DataKind::Text)),
            (b"\x00\x01b", Some(DataKind::Text)),
            (b"\x80\x01c", None),
        ] {
            let decoded = decoder.decode(input).expect("a good frame");
            assert_eq!((decoded.consumed, decoded.ended), (input.len(), true));
            assert_eq!(decoder.message(), message);
            assert!(decoder.at_boundary());
        }
    }
}
