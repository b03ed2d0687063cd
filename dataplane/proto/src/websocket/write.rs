//! Writes frames into a buffer that the caller owns. Lengths come out minimal, control frames whole.

use super::close::{CLOSE_REASON_BYTES_MAX, CloseCode};
use super::frame::{CONTROL_BYTES_MAX, DataKind, FrameHeader, HEADER_BYTES_MAX, MaskKey, Opcode};
use super::mask::apply_mask;

/// A header as it goes onto the wire; dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl core::ops::Deref for FrameHeaderBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The payload of a control frame has more than 125 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control frame refused: its payload has more than {CONTROL_BYTES_MAX} bytes")]
pub struct ControlTooLong;

/// Writes a header, for payloads that are sent from where they lie.
#[must_use]
pub fn frame_header(header: &FrameHeader) -> FrameHeaderBytes {
    let mut out = FrameHeaderBytes { bytes: [0; HEADER_BYTES_MAX], len: 0 };
    let mut push = |part: &[u8]| {
        let at = usize::from(out.len);
        out.bytes[at..at + part.len()].copy_from_slice(part);
        // At most `HEADER_BYTES_MAX`.
        out.len += part.len() as u8;
    };
    push(&[u8::from(header.fin) << 7 | header.opcode.bits()]);
    let masked = u8::from(header.mask.is_some()) << 7;
    match header.payload_len {
        // Each cast keeps a number that its range allows.
        len @ 0..=125 => push(&[masked | len as u8]),
        len @ 126..=0xFFFF => {
            push(&[masked | 126]);
            push(&(len as u16).to_be_bytes());
        }
        len => {
            push(&[masked | 127]);
            push(&len.to_be_bytes());
        }
    }
    push(header.mask.as_ref().map_or(&[], |key| key.as_slice()));
    out
}

/// Appends a message in one frame.
#[inline]
pub fn write_message(out: &mut Vec<u8>, kind: DataKind, mask: Option<MaskKey>, payload: &[u8]) {
    write_frame(out, true, kind.opcode(), mask, payload);
}

/// Appends a part of a message: `kind` begins one, `None` goes on; `fin` ends it.
pub fn write_fragment(
    out: &mut Vec<u8>,
    kind: Option<DataKind>,
    fin: bool,
    mask: Option<MaskKey>,
    payload: &[u8],
) {
    write_frame(out, fin, kind.map_or(Opcode::Continuation, DataKind::opcode), mask, payload);
}

/// Appends a ping, or a pong with the payload of the ping that it answers (or a close frame, see [`write_close`]).
///
/// # Errors
/// The payload is too long; nothing was written.
pub fn write_control(
    out: &mut Vec<u8>,
    opcode: Opcode,
    mask: Option<MaskKey>,
    payload: &[u8],
) -> Result<(), ControlTooLong> {
    if payload.len() > CONTROL_BYTES_MAX {
        return Err(ControlTooLong);
    }
    write_frame(out, true, opcode, mask, payload);
    Ok(())
}

/// Appends a close frame. Without a code there is no reason either; a long reason is cut between characters.
pub fn write_close(out: &mut Vec<u8>, mask: Option<MaskKey>, code: Option<CloseCode>, reason: &str) {
    let Some(code) = code else { return write_frame(out, true, Opcode::Close, mask, b"") };
    let mut reason_len = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(reason_len) {
        reason_len -= 1;
    }
    let reason = &reason[..reason_len];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.get().to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    write_frame(out, true, Opcode::Close, mask, &payload[..2 + reason.len()]);
}

fn write_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, mask: Option<MaskKey>, payload: &[u8]) {
    let payload_len = payload.len() as u64;
    out.extend_from_slice(&frame_header(&FrameHeader { fin, opcode, mask, payload_len }));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(mask: Option<MaskKey>, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_message(&mut out, DataKind::Text, mask, payload);
        out
    }

    #[test]
    fn the_examples_of_the_rfc_are_written() {
        assert_eq!(message(None, b"Hello"), b"\x81\x05Hello");
        let key = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(message(Some(key), b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        let mut out = Vec::new();
        write_fragment(&mut out, Some(DataKind::Text), false, None, b"Hel");
        write_fragment(&mut out, None, true, None, b"lo");
        assert_eq!(out, b"\x01\x03Hel\x80\x02lo");
        out.clear();
        write_control(&mut out, Opcode::Ping, None, b"Hello").expect("short");
        assert_eq!(out, b"\x89\x05Hello");
    }

    #[test]
    fn lengths_are_minimal() {
        for (len, head) in [
            (125, b"\x81\x7d".as_slice()),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let out = message(None, &vec![b'a'; len]);
            assert_eq!(&out[..head.len()], head);
            assert_eq!(out.len(), head.len() + len);
        }
    }

    #[test]
    fn control_frames_stay_short() {
        let mut out = Vec::new();
        assert_eq!(write_control(&mut out, Opcode::Pong, None, &[0; 126]), Err(ControlTooLong));
        assert!(out.is_empty());
        write_close(&mut out, None, Some(CloseCode::NORMAL), &"ü".repeat(70));
        assert_eq!(out.len(), 2 + 2 + 122, "61 whole characters");
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xe8]);
        out.clear();
        write_close(&mut out, None, None, "unsaid");
        assert_eq!(out, b"\x88\x00");
    }
}
