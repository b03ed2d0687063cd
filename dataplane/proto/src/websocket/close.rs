//! Close frames (RFC 6455 sections 5.5.1 and 7.4): which codes may be sent, and what a payload says.

use super::error::FrameError;
use super::frame::CONTROL_BYTES_MAX;
use super::utf8::Utf8Check;

/// Longest reason: a control frame's payload less the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// A close code that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down or the client leaves.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A message's payload does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule that no other code names.
    pub const POLICY: Self = Self(1008);
    /// A message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// The server failed.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts (IANA registry).
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded (IANA registry).
    pub const TRY_AGAIN: Self = Self(1013);
    /// A gateway got an invalid answer from its upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// `None` for what must not be sent, see [`is_valid_close_code`].
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if is_valid_close_code(code) { Some(Self(code)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Whether a code may stand in a close frame: registered ones (1000–1014 without 1004, 1005 and 1006), and 3000–4999.
#[must_use]
pub const fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What a close frame says. Without a code its payload was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'p> {
    /// The code.
    pub code: Option<CloseCode>,
    /// The reason, for people.
    pub reason: &'p str,
}

/// Reads an unmasked close payload.
///
/// # Errors
/// Half a code, a code that must not be sent, or a reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Close<'_>, FrameError> {
    match payload {
        [] => Ok(Close { code: None, reason: "" }),
        [_] => Err(FrameError::CloseCodeCut),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(code).ok_or(FrameError::CloseCodeInvalid)?;
            let reason = core::str::from_utf8(reason).map_err(|_| FrameError::CloseReasonNotUtf8)?;
            Ok(Close { code: Some(code), reason })
        }
    }
}

/// Checks a close payload that arrives in pieces, for readers that do not keep it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CloseCheck {
    high: Option<u8>,
    /// Once the code is known.
    reason: Option<Utf8Check>,
}

impl CloseCheck {
    /// Takes the next unmasked bytes.
    pub(super) fn feed(&mut self, mut payload: &[u8]) -> Result<(), FrameError> {
        while self.reason.is_none() {
            let Some((&byte, rest)) = payload.split_first() else { return Ok(()) };
            payload = rest;
            match self.high {
                None => self.high = Some(byte),
                Some(high) if is_valid_close_code(u16::from_be_bytes([high, byte])) => {
                    self.reason = Some(Utf8Check::new());
                }
                Some(_) => return Err(FrameError::CloseCodeInvalid),
            }
        }
        let fed = self.reason.as_mut().map_or(Ok(()), |reason| reason.feed(payload));
        fed.map_err(|_| FrameError::CloseReasonNotUtf8)
    }

    /// The payload has ended.
    pub(super) fn end(&self) -> Result<(), FrameError> {
        match (self.high, self.reason) {
            (Some(_), None) => Err(FrameError::CloseCodeCut),
            (_, Some(reason)) if !reason.is_complete() => Err(FrameError::CloseReasonNotUtf8),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(payload: &[u8], piece: usize) -> Result<(), FrameError> {
        let mut check = CloseCheck::default();
        for part in payload.chunks(piece) {
            check.feed(part)?;
        }
        check.end()
    }

    #[test]
    fn payloads_are_judged_alike_whole_and_in_pieces() {
        type Judged = Result<Option<u16>, FrameError>;
        let table: &[(&[u8], Judged)] = &[
            (b"", Ok(None)),
            (b"\x03", Err(FrameError::CloseCodeCut)),
            (b"\x03\xe8", Ok(Some(1000))),
            (b"\x03\xe8bye", Ok(Some(1000))),
            ("\u{3}\u{0}ü".as_bytes(), Err(FrameError::CloseCodeInvalid)),
            (b"\x0b\xb8\xce\xba\xe1\xbd\xb9", Ok(Some(3000))),
            (b"\x03\xe8\xce", Err(FrameError::CloseReasonNotUtf8)),
            (b"\x03\xe8\xff", Err(FrameError::CloseReasonNotUtf8)),
            (b"\x03\xe8\xed\xa0\x80", Err(FrameError::CloseReasonNotUtf8)),
            (b"\x00\x00", Err(FrameError::CloseCodeInvalid)),
        ];
        for (payload, expected) in table {
            let whole = parse_close(payload).map(|close| close.code.map(CloseCode::get));
            assert_eq!(whole, *expected, "{}", payload.escape_ascii());
            for piece in [1, 2, 3, 200] {
                assert_eq!(in_pieces(payload, piece), expected.map(drop), "{}", payload.escape_ascii());
            }
        }
    }

    #[test]
    fn codes_are_those_of_the_registry() {
        for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert!(CloseCode::new(bad).is_none(), "{bad}");
        }
        for good in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert_eq!(CloseCode::new(good).map(CloseCode::get), Some(good));
        }
    }
}
